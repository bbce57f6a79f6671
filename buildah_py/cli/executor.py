"""`pybuild executor`: kaniko's command line, and its ways, for whoever comes from there.

It reads kaniko's options as those of `pybuild build` that say the same. The program called by the name `executor`, as
in kaniko's image, is this command.
"""

from __future__ import annotations

import argparse
import os
from hashlib import sha256
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from buildah_py.cli import executor_context, executor_registries
from buildah_py.cli.executor_flags import TABLE, declare
from buildah_py.errors import UsageError
from buildah_py.frozen import replace
from buildah_py.image import numbers, reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildah_py.api.request import BuildRequest, BuildResult
    from buildah_py.cli.arguments import Parser
    from buildah_py.registry import RegistryOptions

DIRECTORY: Final = "/kaniko"
_ALWAYS: Final = "always"
_QUIET: Final = ("panic", "fatal", "error", "warn")
_LOUD: Final = ("debug", "trace")
_VAR_RUN: Final = "/var/run"
_DIGESTS: Final = ("digest_file", "image_name_with_digest_file", "image_name_tag_with_digest_file")
_OF_CACHE: Final = ("cache_repo", "no_push_cache")
_LAYOUT: Final = "oci:"


def configure(parser: Parser) -> None:
    """Declare the options."""
    group = parser.add_argument_group("of pybuild")
    group.add_argument(
        "--isolation",
        metavar="HOW",
        default=argparse.SUPPRESS,  # the configuration says it then
        help="how steps are kept apart, as `pybuild build --isolation`",
    )
    declare(parser)


def run(args: argparse.Namespace) -> int:
    """Build and push; 0, or an error, whose status the program makes 1."""
    from buildah_py import debug
    from buildah_py.cli import build
    from buildah_py.cli.executor_variables import without_effect

    _settle_environment(args)
    _check(args)
    if args.verbosity in _LOUD:
        debug.switch_on()
    found = executor_context.find(args.context, args.context_sub_path, args.dockerfile, args.git, os.environ)
    notes = [*args.notes, *without_effect(os.environ), *([found.note] if found.note else []), *_unused(args)]
    with TemporaryDirectory(prefix="pybuild-executor-") as scratch:
        inner = _build_options(args, found, scratch)
        if args.log_format == "text":
            os.environ["NO_COLOR"] = "1"
        mode = _mode(args, inner)
        request = build.read_request(inner)
        request = replace(
            request,
            file=found.file,
            text=found.text,
            registries=_registries(args, request.registries),
            left=_places(args),
            outputs=replace(request.outputs, shape=replace(request.outputs.shape, without=_without(args))),
        )
        _try_pushes(args, request)
        return build.execute(request, inner, mode, notes, lambda result: _tell(args, result))


def _settle_environment(args: argparse.Namespace) -> None:
    """Have credentials be read where kaniko's image has them."""
    args.kaniko_dir = args.kaniko_dir or os.environ.get("KANIKO_DIR") or DIRECTORY
    folder, named = os.path.join(args.kaniko_dir, ".docker"), os.environ.get("DOCKER_CONFIG", "")
    if not (named and _has_config(named)) and _has_config(folder):
        os.environ["DOCKER_CONFIG"] = folder
    args.no_push = args.no_push or bool(numbers.boolean(os.environ.get("KANIKO_NO_PUSH", "")))


def _has_config(folder: str) -> bool:
    return os.path.isfile(os.path.join(folder, "config.json"))


def _check(args: argparse.Namespace) -> None:
    """Refuse what does not fit together. Raises UsageError."""
    if not args.destination and not args.no_push:
        raise UsageError(
            "--destination is missing: the image is pushed nowhere", hint="add --destination NAME, or --no-push"
        )
    for option in ("tar_path", *_DIGESTS[1:]):
        if getattr(args, option) and not args.destination:
            name = f"--{option.replace('_', '-')}"
            raise UsageError(f"{name}: the image has no name", hint="add --destination NAME; --no-push pushes nothing")
    if args.cache and not args.cache_repo and not args.destination:
        raise UsageError("--cache: there is no repository to keep it in", hint="add --cache-repo REPO")
    for name in args.destination:
        if reference.parse(name).digest:
            raise UsageError(f"--destination {name} is pinned to a digest, which only its content decides")
    if args.compression_level != "-1" and numbers.decimal(args.compression_level) < 0:
        raise UsageError(f"--compression-level {args.compression_level} is not a level", hint="-1 is the usual one")
    for option in _DIGESTS:
        if file := getattr(args, option):
            _empty(file, f"--{option.replace('_', '-')}")


def _unused(args: argparse.Namespace) -> list[str]:
    """Say what has no effect beside the other options."""
    found = []
    if args.git and not args.context.startswith(executor_context.GIT):
        found.append("--git has no effect: the context is not a repository")
    if args.cache and args.cache_run_layers:
        return found
    given = [f"--{one.replace('_', '-')}" for one in _OF_CACHE if getattr(args, one)]
    return [*found, *(f"{one} has no effect without --cache=true and --cache-run-layers=true" for one in given)]


def _build_options(
    args: argparse.Namespace, found: executor_context.ContextAndFile, scratch: str
) -> argparse.Namespace:
    """Read the command line of a build that says the same."""
    from buildah_py.cli import build
    from buildah_py.cli.arguments import fill, make_parser

    words = [*_meant(args), *_outputs(args, scratch), *_cache(args), "--exit-code=1"]
    words += [f"--tag={name}" for name in args.destination]
    if isolation := getattr(args, "isolation", ""):
        words.append(f"--isolation={isolation}")
    if args.reproducible:
        words.append("--timestamp=0")
    if args.compression_level != "-1":
        words.append(f"--compression-level={args.compression_level}")
    if args.custom_platform and "," in args.custom_platform:
        raise UsageError("--custom-platform names one platform", hint="`pybuild build --platform` takes several")
    parser = make_parser("build", "build")
    build.configure(parser)
    inner = parser.parse_args([*words, "--", found.context])
    inner.pull = _ALWAYS  # as kaniko; the configuration may say something else
    fill(inner, parser.given, "build", os.environ)
    inner.asked = None
    return inner


def _meant(args: argparse.Namespace) -> list[str]:
    """Give the options that take the values of kaniko's as they are."""
    words = []
    for flag in TABLE:
        value = getattr(args, flag.name.replace("-", "_"), None)
        if not flag.means or not value:
            continue
        if value is True:
            words.append(flag.means)
        else:
            words += [f"{flag.means}={one}" for one in (value if flag.many else [value])]
    return words


def _outputs(args: argparse.Namespace, scratch: str) -> list[str]:
    words = [] if args.no_push else ["--push"]
    if args.tar_path:
        words.append(f"--output={_attributes('type=docker', f'dest={args.tar_path}')}")
    if args.oci_layout_path:
        words.append(f"--output={_attributes('type=oci', f'dest={args.oci_layout_path}', 'tar=false')}")
    if not words and any(getattr(args, one) for one in _DIGESTS):
        # Its digest in a registry is known once its layers are compressed.
        layout = os.path.join(scratch, "layout")
        words.append(f"--output={_attributes('type=oci', f'dest={layout}', 'tar=false')}")
    return words


def _attributes(*parts: str) -> str:
    """Join attributes of an output; one with a comma or a quotation mark stands in quotation marks."""
    return ",".join('"' + one.replace('"', '""') + '"' if set(',"') & set(one) else one for one in parts)


def _cache(args: argparse.Namespace) -> list[str]:
    if not args.cache or not args.cache_run_layers:
        return ["--no-cache"]
    place = cache_place(args)
    words = [f"--cache-from={place}", f"--cache-ttl={args.cache_ttl}"]
    if not args.no_push_cache:
        # A cache that cannot be written is no failure with kaniko either; a warning says so.
        words.append(f"--cache-to={place.replace('src=', 'dest=')},mode=max,ignore-error=true")
    return words


def cache_place(args: argparse.Namespace) -> str:
    """Return where the cache is, as --cache-from names it.

    Many builds may share one repository, in which kaniko has a tag for each layer. Here each kind of build has one: by
    the repository that it goes to, or else its build file, and its target and platform.
    """
    repo = args.cache_repo or f"{reference.parse(args.destination[0]).name}/cache"
    kind = reference.parse(args.destination[0]).name if args.destination else f"{args.context} {args.dockerfile}"
    parts = (kind, args.context_sub_path, os.path.basename(args.dockerfile), args.target, args.custom_platform)
    tag = f"pybuild-{sha256(chr(0).join(parts).encode()).hexdigest()[:16]}"
    if repo.startswith(_LAYOUT):
        return _attributes("type=local", f"src={repo.removeprefix(_LAYOUT)}", f"tag={tag}")
    if reference.parse(repo).tag or reference.parse(repo).digest:
        raise UsageError(f"--cache-repo {repo} is an image, not a repository", hint="leave the tag out")
    return f"type=registry,ref={repo}:{tag}"


def _places(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the paths that are used beside those of a build: files of certificates, of credentials and of digests."""
    certificates = (one.partition("=")[2] for one in (*args.registry_certificate, *args.registry_client_cert))
    found = [args.kaniko_dir, *(path for text in certificates for path in text.split(","))]
    found += [path for one in _DIGESTS if (path := getattr(args, one))]
    return tuple(os.path.abspath(path) for path in found)


def _pushed(args: argparse.Namespace) -> list[str]:
    names = [*args.destination]
    if args.cache and args.cache_repo and not args.cache_repo.startswith(_LAYOUT):
        names.append(args.cache_repo)
    return names


def _registries(args: argparse.Namespace, known: Callable[[], RegistryOptions] | None) -> Callable[[], RegistryOptions]:
    assert known is not None
    made = executor_registries.with_options(known(), args, _pushed(args), args.kaniko_dir)
    return lambda: made


def _without(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the paths that are left out of the image, clean ones. Raises UsageError for all of it."""
    given = [*args.ignore_path, *([_VAR_RUN] if args.ignore_var_run else [])]
    found = [os.path.normpath(f"/{path}").strip("/") for path in given]
    if "" in found:
        raise UsageError("--ignore-path / would leave nothing")
    return tuple(dict.fromkeys(found))


def _try_pushes(args: argparse.Namespace, request: BuildRequest) -> None:
    """See that what is built can be pushed, before it is built. Raises RegistryError."""
    if args.no_push or args.skip_push_permission_check:
        return
    from buildah_py.registry import Registry

    assert request.registries is not None
    with Registry(request.registries()) as registry:
        places = {one.name: one for one in map(reference.parse, args.destination)}
        for place in places.values():
            registry.try_push(place)


def _mode(args: argparse.Namespace, inner: argparse.Namespace) -> str:
    if args.log_format == "json":
        return "json"
    if args.verbosity in _QUIET:
        return "quiet"
    progress: str = inner.progress
    return progress


def _empty(path: str, option: str) -> None:
    """See that a file can be written, and that it does not tell of an earlier image. Raises UsageError."""
    try:
        with open(path, "ab") as file:
            if file.seekable():
                file.truncate(0)
    except OSError as error:
        raise UsageError(f"{option} {path} cannot be written: {error.strerror}") from error


def _tell(args: argparse.Namespace, result: BuildResult) -> None:
    """Write the files of digests, in place: Kubernetes mounts some of them. Raises OutputError."""
    if not any(getattr(args, one) for one in _DIGESTS):
        return
    from buildah_py.outputs.target import naming

    assert result.descriptor is not None
    digest = result.descriptor.digest
    names = [reference.parse(name).with_default_tag() for name in args.destination]
    texts = (
        digest,
        "".join(f"{one.name}@{digest}\n" for one in names),
        "".join(f"{one.name}:{one.tag}@{digest}\n" for one in names),
    )
    for option, text in zip(_DIGESTS, texts, strict=True):
        if file := getattr(args, option):
            with naming(file), open(file, "w", encoding="utf-8") as opened:
                opened.write(text)
