"""`pybuild build`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from buildah_py.cli import cache_options, container, outputs, registry, sources
from buildah_py.cli.arguments import key_values
from buildah_py.cli.printing import warn
from buildah_py.errors import BuildFileError, PybuildError, StepFailed, UsageError
from buildah_py.frozen import replace
from buildah_py.image.numbers import boolean

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

    from buildah_py.api.request import BuildRequest, BuildResult
    from buildah_py.attest.keys import SigningKey
    from buildah_py.attest.options import AttestOptions
    from buildah_py.cli.arguments import Parser
    from buildah_py.progress.events import Event
    from buildah_py.progress.renderer import Renderer

NETWORKS = ("default", "none", "host")
_USUAL_NETWORKS = ("bridge", "private", "pasta", "slirp4netns")
MODES = ("auto", "tty", "plain", "json", "rawjson", "quiet")
_OF_OTHERS = ("BUILDX_", "BUILDKIT_", "BUILDAH_", "EXPERIMENTAL_BUILDKIT", "STORAGE_", "DOCKER_")
"""Beginnings of variables that steer other builders."""
_SOURCE_POLICY = "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY"
_INLINE_CACHE = "BUILDKIT_INLINE_CACHE"
_PLACES = {
    "oci-archive:": "-o type=oci,dest=FILE writes such an archive",
    "docker-archive:": "-o type=docker,dest=FILE writes such an archive",
    "docker-daemon:": "--load sends the image there",
    "docker://": "leave docker:// out, and add --push",
    "containers-storage:": "leave that out: the name is one in pybuild's own store",
}
_MOST_JOBS = 1000
_MOST_STATUS = 255
_LINT = "lint"
LOADS_INTO_NOTHING = (
    "--load: neither Docker nor Podman runs here: the image is in pybuild's own store alone, for `pybuild run`"
)


def configure(parser: Parser) -> None:
    """Declare the options; spelled as `docker buildx build` spells them."""
    parser.add_argument("context", metavar="CONTEXT", nargs="?", default=".", help=sources.CONTEXT)
    configure_options(parser)
    parser.add_argument(
        "--record", metavar="FILE", help="write to FILE what each step was made of, for `pybuild why --against`"
    )
    parser.add_argument(
        "--on-error",
        choices=("stop", "shell"),
        default="stop",
        help="shell: where a RUN failed, open a shell in what it left, on the terminal or a script that comes in",
    )
    parser.add_argument(
        "--exit-code", metavar="N", default="", help="status to end with where a RUN failed; default: the command's own"
    )
    parser.add_argument(
        "--report",
        metavar="FILE",
        help="write to FILE.html a page about the build, or to FILE.md what fits the summary of a CI job",
    )


def configure_options(parser: Parser) -> None:
    """Declare all but the context."""
    add = parser.add_argument
    add(
        "-f",
        "--file",
        metavar="FILE",
        help="build file; default: Buildfile, Dockerfile or Containerfile in CONTEXT; - for stdin, or a URL",
    )
    add("-t", "--tag", metavar="NAME[:TAG]", action="append", default=[], help="name of the image; may be repeated")
    add("--target", metavar="STAGE", default="", help="stage to build, by name or number; default: the last")
    add(
        "--build-arg",
        metavar="K=V",
        action="append",
        default=[],
        help="value of an ARG; `K` alone takes it from the environment",
    )
    add(
        "--env",
        metavar="K[=V]",
        action="append",
        default=[],
        help="variable of the image and of its steps, whatever ENV says; `K` alone takes it from the environment",
    )
    add("--network", type=network, choices=NETWORKS, default="default", help="network of RUN steps; default: default")
    add(
        "--allow",
        metavar="RIGHT",
        action="append",
        default=[],
        help="let the build file ask for network.host or security.insecure",
    )
    registry.configure_pull(parser)
    add(
        "--platform",
        metavar="OS/ARCH[,…]",
        action="joined",
        default="",
        help="platform of the image, or several, whose images get one name; default: this machine's",
    )
    add(
        "--secret",
        metavar="SPEC",
        action="append",
        default=[],
        help="id=ID,src=FILE or id=ID,env=NAME, for RUN --mount=type=secret; with key=digest another value is a miss",
    )
    add("--ssh", metavar="SPEC", action="append", default=[], help="default or ID=SOCKET, for RUN --mount=type=ssh")
    add("--jobs", metavar="N", default="", help="steps to execute at once; default: four and four for each processor")
    add("-q", "--quiet", action="store_true", help="print nothing but the image's id")
    add("--progress", type=progress_mode, choices=MODES, default="auto", help="how to show the build; default: auto")
    add(
        "--call",
        metavar="METHOD",
        default="build",
        help="build, check, outline, targets or graph; `,format=json` for programs, of a graph dot or mermaid too",
    )
    add("--check", action="store_true", help="the same as --call=check")
    sources.configure(parser)
    outputs.configure(parser)
    cache_options.configure_reuse(parser)
    container.configure(parser)
    cache_options.configure_sharing(parser)
    parser.further = _declare_further
    add("--extensions", action="store_true", help="allow pybuild's extensions of the language")


def _declare_further(parser: Parser) -> None:
    from buildah_py.cli.flags import declare

    declare(parser)


def network(text: str) -> str:
    """Give docker's and buildah's names of the usual network the one that it has here."""
    return "default" if text.partition(":")[0] in _USUAL_NETWORKS else text


def progress_mode(text: str) -> str:
    """Give docker's names of the ways to show progress those that they have here."""
    return {"none": "quiet"}.get(text, text)


def run(args: argparse.Namespace) -> int:
    """Build; 0 or an error that knows its exit status."""
    mode = "quiet" if args.quiet else args.progress
    try:
        return _run(args, mode)
    except BaseException as error:
        from buildah_py.cli.failures import tell_programs

        tell_programs(error, mode)
        raise


def _run(args: argparse.Namespace, mode: str) -> int:
    said: list[str] = []
    if "PYBUILD_DOCKER_PLUGIN" in os.environ:
        from buildah_py.cli.docker_plugin import settle

        said = settle(args)
    notes = [*getattr(args, "notes", ()), *said]
    if args.load and outputs.loads_into_nothing():
        args.load = False
        notes.append(LOADS_INTO_NOTHING)
    if args.report:
        from buildah_py.cli.report import check

        check(args.report, "--report")
    request = read_request(args, record=args.record or "")
    call = "check" if args.check else args.call.replace(_LINT, "check", 1)
    if call != "build":
        return look_at(call, request)
    return execute(request, args, mode, notes, lambda result: outputs.tell(args, result))


def execute(
    request: BuildRequest,
    args: argparse.Namespace,
    mode: str,
    notes: Sequence[str],
    tell: Callable[[BuildResult], None],
) -> int:
    """Do what is asked for, shown in a mode of --progress; `args` are the options of a build. Its exit status.

    `notes` are told first; `tell` is told of the image.
    """
    from buildah_py.api.build import build
    from buildah_py.progress.choose import renderer
    from buildah_py.progress.events import Warning as Told

    failed = _status(args.exit_code)
    notes = [*notes, *_of_variables(request)]
    if args.asked is not None and not notes:
        files, by_engine = [_docker_config(request.environ)], False
        if "PYBUILD_DOCKER_PLUGIN" in os.environ:
            from buildah_py.cli.docker_plugin import looked_at

            files, by_engine = [*files, *looked_at(os.environ)], True
        request = replace(request, command=args.asked._replace(mode=mode, files=tuple(files), by_engine=by_engine))
    is_json = mode in ("json", "rawjson")
    try:
        with renderer(mode, err=sys.stderr, out=outputs.stdout(args), env=os.environ) as shown:
            sink: Callable[[Event], None] = shown
            if "PYBUILD_DOCKER_PLUGIN" in os.environ:
                from buildah_py.cli.docker_plugin import with_ids_of_engine

                sink = with_ids_of_engine(shown)
            for text in notes:
                sink(Told(text))
            try:
                if args.report:
                    _build_and_report(request, shown, sink, args, (lambda text: sink(Told(text))) if is_json else warn)
                else:
                    build(request, sink, tell)
            except BaseException as error:
                if isinstance(error, StepFailed):
                    error.exit_status = failed or error.exit_status
                tell_last_event(error, shown, is_json=is_json)
                raise
    except StepFailed as error:
        if args.on_error == "shell" and error.kept:
            return _enter(error, request)
        raise
    return 0


def tell_last_event(error: BaseException, sink: Renderer, *, is_json: bool) -> None:
    """Have an error be the last event for who reads these, as nothing else is on the standard error."""
    if is_json and not isinstance(error, BrokenPipeError):
        from buildah_py.cli.failures import event_of

        sink(event_of(error))


def _of_variables(request: BuildRequest) -> list[str]:
    """Say what variables ask for that has no meaning here."""
    if not any(name.startswith(_OF_OTHERS) for name in (*request.environ, *request.build_args)):
        return []
    from buildah_py.cli.environment import without_effect

    return list(without_effect(request.environ, request.build_args))


def docker_proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the proxies that docker's configuration names, for RUN steps and containers. Raises UsageError."""
    if not os.path.exists(_docker_config(environ)):
        return {}
    from buildah_py.cli.docker_config import proxies

    return proxies(environ)


def _docker_config(environ: Mapping[str, str]) -> str:
    home = environ.get("DOCKER_CONFIG") or os.path.join(environ.get("HOME", "/"), ".docker")
    return os.path.join(home, "config.json")


def _build_and_report(
    request: BuildRequest,
    shown: Renderer,
    sink: Callable[[Event], None],
    args: argparse.Namespace,
    tell: Callable[[str], None],
) -> None:
    """Build, and report it, however it ends; what cannot be reported is warned of."""
    from buildah_py.api.build import build
    from buildah_py.cli.report import write

    paths: list[str] = []
    try:
        build(request, sink, lambda result: outputs.tell(args, result), paths.append)
    finally:
        shown.close()
        if paths:
            try:
                write(args.report, paths[0])
            except PybuildError as error:
                tell(f"there is no report of the build: {error.message}")


def _enter(error: StepFailed, request: BuildRequest) -> int:
    """Show what went wrong, and open a shell there; the status that the build ends with."""
    from buildah_py.cli.failures import tell
    from buildah_py.cli.printing import complain
    from buildah_py.running.failed import FailedShell, failed_shell

    name, error.kept = error.kept, ""
    status = tell(error)
    tty = os.isatty(0)
    shell = FailedShell(name=name, tty=tty, secrets=request.secrets, ssh=request.ssh, environ=request.environ)
    try:
        failed_shell(shell, warn, complain)
    except PybuildError as other:  # such as an image without a shell: the build's own failure stays what counts
        tell(other)
    return status


def read_request(args: argparse.Namespace, *, record: str = "") -> BuildRequest:
    """Give what the options ask for."""
    from buildah_py.api.epoch import read_epoch
    from buildah_py.api.request import BuildRequest
    from buildah_py.buildfile.variables import EPOCH, EPOCH_OF_CONTEXT

    if settle := getattr(args, "settle", None):
        settle(args)
    build_args = key_values(args.build_arg, "--build-arg", dict(os.environ))
    build_args = docker_proxies(os.environ) | build_args
    if boolean(build_args.get(_INLINE_CACHE, "").lower()) and not any("type=inline" in one for one in args.cache_to):
        args.cache_to = [*args.cache_to, "type=inline"]
    epoch = None if args.timestamp else read_epoch(args.source_date_epoch, build_args, os.environ)
    if epoch is not None:
        build_args.setdefault(EPOCH, str(epoch))
    return BuildRequest(
        context=args.context,
        file=args.file,
        names=_names(args.tag),
        target=args.target,
        build_args=build_args,
        env=key_values(args.env, "--env", dict(os.environ)),
        labels=key_values(args.label, "--label", bare=""),
        reuse=cache_options.read_reuse(args),
        network=args.network,
        allow=frozenset(args.allow),
        platform=_platforms(args.platform),
        outputs=outputs.read(args),
        extensions=args.extensions,
        container=container.read(args),
        caching=cache_options.read_sharing(args),
        secrets=tuple(args.secret),
        ssh=tuple(args.ssh),
        contexts=tuple(map(_context, args.build_context)),
        sources=sources.read(args),
        epoch=epoch if isinstance(epoch, int) else None,
        epoch_of_context=epoch == EPOCH_OF_CONTEXT,
        record=record,
        jobs=_jobs(args.jobs) or int(args.isolation == "in-place"),  # in the one root each change of stage costs
        attest=_attestations(args),
        sign=_signing_key(args),
        source_policy=getattr(args, "source_policy_file", "") or os.environ.get(_SOURCE_POLICY, ""),
        **registry.read_pull(args),
        environ=dict(os.environ),
    )


def _attestations(args: argparse.Namespace) -> AttestOptions | None:
    """Return what is to be attested; the options are declared where one of them is given."""
    given = [getattr(args, name, None) for name in ("attest", "provenance", "sbom")]
    if not any(given):
        return None
    from buildah_py.attest.options import read_attestations

    return read_attestations(given[0] or (), given[1] or "", given[2] or "")


def _signing_key(args: argparse.Namespace) -> SigningKey | None:
    """Return the key that --sign names."""
    path = getattr(args, "sign", "")
    if not path:
        return None
    from buildah_py.cli.signing import read_key

    return read_key(path)


def _platforms(text: str) -> str:
    """Give `local`, docker's name of this machine's platform, as what that is."""
    if "local" not in text.split(","):
        return text
    from buildah_py.image import platform as platforms

    own = str(platforms.host())
    return "" if text == "local" else ",".join(own if one == "local" else one for one in text.split(","))


def _context(text: str) -> str:
    """Return a further context, with buildah's words for an image in docker's spelling."""
    name, equals, value = text.partition("=")
    for scheme in ("container-image://", "docker://"):
        if value.startswith(scheme):
            value = f"docker-image://{value.removeprefix(scheme)}"
    return f"{name}{equals}{value}"


def _names(tags: list[str]) -> tuple[str, ...]:
    """Return the names, none of which is one of buildah's places. Raises UsageError."""
    for tag in tags:
        for place, instead in _PLACES.items():
            if tag.startswith(place):
                raise UsageError(f"-t {tag}: this is a place, and -t gives an image a name", hint=instead)
    return tuple(tags)


def _status(text: str) -> int:
    from buildah_py.image.numbers import decimal

    if text and not 0 < decimal(text) <= _MOST_STATUS:
        raise UsageError(f"--exit-code {text} is not a status of a failure", hint=f"from 1 to {_MOST_STATUS}")
    return int(text or 0)


def _jobs(text: str) -> int:
    from buildah_py.image.numbers import decimal

    if text and not 0 < decimal(text) <= _MOST_JOBS:
        raise UsageError(f"--jobs {text} is not a number of steps", hint=f"from 1 to {_MOST_JOBS}")
    return int(text or 0)


def look_at(call: str, request: BuildRequest, answer: Callable[[dict[str, Any]], object] | None = None) -> int:
    """Do what --call asks for instead of building; `answer` is told what would be printed as JSON."""
    from buildah_py.api.checks import ignored_by
    from buildah_py.api.opening import agents_of, reach_of, readers_of
    from buildah_py.api.state import opened
    from buildah_py.cli.call import Asked, run_call
    from buildah_py.cli.check import report_fault
    from buildah_py.contexts.main import parse_build_file
    from buildah_py.contexts.named import parse_contexts

    with (
        agents_of(request) as agents,
        opened(
            request.context,
            request.file,
            request.environ,
            reach=reach_of(request, agents, readers_of(request)),
            text=request.text,
        ) as main,
    ):
        try:
            build_file = parse_build_file(main, extensions=request.extensions)
        except BuildFileError as error:
            return report_fault(error, "json" if "format=json" in call.split(",") else "text", answer)
        ignored = ignored_by(main.ignore(request.sources.ignore_file))
    asked = Asked(
        request.build_args,
        request.target or None,
        request.platform,
        parse_contexts(request.contexts),
        request.env,
        ignored,
    )
    return run_call(call, build_file, asked, answer)
