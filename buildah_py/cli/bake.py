"""`pybuild bake`: build the targets of a bake file, all in one graph."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from buildah_py.cli import registry
from buildah_py.cli.arguments import key_values
from buildah_py.cli.printing import SCHEMA, complain, say, say_data, say_exactly, warn
from buildah_py.errors import NotFound, PybuildError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from buildah_py.bake.overriding import Override
    from buildah_py.bake.resolving import Baked
    from buildah_py.baking.bake import Bake
    from buildah_py.baking.files import BakeFile, BakeFiles
    from buildah_py.baking.opening import BakeItem
    from buildah_py.cli.arguments import Parser
    from buildah_py.cli.bake_requests import TargetRequest
    from buildah_py.cluster.address import ClusterOptions
    from buildah_py.progress.events import Event

_LISTS: Final = ("targets", "variables")
_PASSED: Final = ("tls_verify", "authfile", "cert_dir", "creds", "jobs", "builder")
"""Options that hold for the build of each target as they are."""


def configure(parser: Parser) -> None:
    """Declare the options; spelled as `docker buildx bake` spells them."""
    add = parser.add_argument
    add(
        "targets",
        metavar="[URL] TARGET",
        nargs="*",
        default=[],
        help="targets, groups, patterns; default: `default`. With the URL of a repository, of its bake file",
    )
    add(
        "-f",
        "--file",
        metavar="FILE",
        action="append",
        default=[],
        help="bake file in HCL, JSON or YAML, or Compose file; - for stdin; may be repeated",
    )
    add("--set", metavar="TARGET.KEY=VALUE", action="append", default=[], help="set an attribute of matching targets")
    add("--var", metavar="NAME=VALUE", action="append", default=[], help="set a variable of the bake file")
    add("--print", action="store_true", help="print what would be built, as JSON")
    add("--list", metavar="WHAT", default="", help="list `targets` or `variables`; with `,format=json` for programs")
    add(
        "--changed-since",
        metavar="GITREF",
        default="",
        help="build no more than the targets whose keys are others than in that commit",
    )
    add("--shards", metavar="N/M", default="", help="build the N-th of M shares, which take about the same time")
    add("--shard-plan", metavar="M", default="", help="print how targets are shared out among M runners, as JSON")
    add(
        "--durations",
        metavar="FILE",
        action="append",
        default=[],
        help="what steps take, for shares: a file that --shard-plan has printed, or `history` for earlier builds; "
        "the first of several that knows a step counts",
    )
    add(
        "--cluster",
        metavar="ADDRESS",
        default="",
        help="have the workers of a Dask scheduler execute the steps: tls://HOST:PORT, or tcp:// on this machine",
    )
    add("--cluster-ca", metavar="FILE", default="", help="authority that has signed the scheduler's certificate")
    add("--cluster-cert", metavar="FILE", default="", help="certificate for the scheduler")
    add("--cluster-key", metavar="FILE", default="", help="key of that certificate")
    add(
        "--cluster-workers",
        metavar="KIND",
        default="",
        help="what the workers are: root (the default), or userns for root of a user namespace; keys of RUN differ",
    )
    add(
        "--cluster-resource",
        metavar="[TARGET.]NAME=AMOUNT",
        action="append",
        default=[],
        help="what a step takes of a worker's resources (`dask worker --resources`)",
    )
    add(
        "--call",
        metavar="METHOD",
        default="",
        help="what to do with build files: build, check, outline, targets, graph",
    )
    add("--check", action="store_true", help="the same as --call=check")
    add("--push", action="store_true", help="have images pushed where their outputs allow it")
    add("--load", action="store_true", help="have images loaded into a running Docker or Podman, too")
    add("--no-cache", action="store_true", help="execute every step")
    add("--attest", metavar="SPEC", action="append", default=[], help="attestation of all targets")
    add("--provenance", metavar="VALUE", default="", help="the same as --attest=type=provenance,…")
    add("--sbom", metavar="VALUE", default="", help="the same as --attest=type=sbom,…")
    add(
        "--allow",
        metavar="RIGHT",
        action="append",
        default=[],
        help="allow network.host, security.insecure, ssh, or paths elsewhere: fs=DIR, fs.read=DIR, fs.write=DIR",
    )
    add("--metadata-file", metavar="FILE", help="write what was made of each target to FILE as JSON")
    add("--report", metavar="FILE", help="write a page about the build to FILE.html, or a summary to FILE.md")
    from buildah_py.cli.build import MODES, progress_mode

    add("--progress", type=progress_mode, choices=MODES, default="auto", help="how to show the build; default: auto")
    add("-q", "--quiet", action="store_true", help="print nothing but the images' ids")
    add("--jobs", metavar="N", default="", help="steps to execute at once; default: four and four for each processor")
    add("--extensions", action="store_true", help="allow pybuild's extensions of the language of build files")
    add("--builder", metavar="NAME", default="", help="builder, as `pybuild buildx` knows them")
    from buildah_py.cli.cache_options import configure_share

    configure_share(parser)
    registry.configure_pull(parser)
    parser.bare |= {"--provenance": "true", "--sbom": "true"}


class _Work(NamedTuple):
    """A definition with all that is asked of it; `asked` are the requests of its targets by name."""

    file: BakeFile
    baked: Baked
    asked: dict[str, TargetRequest]


def run(args: argparse.Namespace) -> int:
    """Bake; 0 or an error that knows its exit status."""
    mode = "quiet" if args.quiet else args.progress
    try:
        return _run(args, mode)
    except BaseException as error:
        from buildah_py.cli.failures import tell_programs

        tell_programs(error, mode)
        raise


def _run(args: argparse.Namespace, mode: str) -> int:
    if args.load and not (args.print or args.list):
        from buildah_py.cli import build, outputs

        if "PYBUILD_DOCKER_PLUGIN" not in os.environ and outputs.loads_into_nothing():
            args.load = False
            warn(build.LOADS_INTO_NOTHING)
    cluster = _cluster(args)
    overrides = _overrides(args)
    url, names = _words(args.targets)
    file = _read(args, url)
    if args.list:
        return _list(args.list, file)
    from buildah_py.bake.resolving import resolve

    baked = resolve(file.evaluated, names, overrides, fetched=bool(file.home.url))
    if args.print:
        from buildah_py.bake.printing import as_data, to_text

        say_exactly(to_text(as_data(baked)))
        return 0
    for place, what in file.evaluated.unknown:
        warn(f"{place}: {what} have no meaning, and are left out")
    from buildah_py.bake.rights import parse_allowed, refuse

    refuse(baked.targets.values(), file.home, parse_allowed(args.allow), os.environ)
    work = _requests(args, file, baked)
    looked = [name for name in baked.asked if work.asked[name].call != "build"]
    if looked:
        return _look(work, looked)
    return _build(args, work, mode, cluster)


def _cluster(args: argparse.Namespace) -> ClusterOptions | None:
    """Read the options of a cluster, None for none. Raises UsageError, NotFound."""
    further = (args.cluster_ca, args.cluster_cert, args.cluster_key, args.cluster_resource, args.cluster_workers)
    if not args.cluster:
        if any(further):
            raise UsageError("--cluster-… says how to reach a cluster, and none is named", hint="add --cluster=ADDRESS")
        return None
    from buildah_py.cluster.address import ROOT, read_options

    ca, certificate, key, resources, workers = further
    return read_options(
        args.cluster, ca=ca, certificate=certificate, key=key, resources=resources, workers=workers or ROOT
    )


def _words(words: list[str]) -> tuple[str, list[str]]:
    """Tell a definition's URL from the targets."""
    from buildah_py.sources.urls import context_url

    if words and (url := context_url(words[0])):
        return url, words[1:]
    return "", words


def _read(args: argparse.Namespace, url: str) -> BakeFile:
    from contextlib import ExitStack
    from functools import cache

    from buildah_py.baking.files import read_bake
    from buildah_py.cli.stores import open_store
    from buildah_py.sources.reach import Reach

    with ExitStack() as stack:
        store = cache(lambda: stack.enter_context(open_store()))
        return read_bake(_files(args, url), os.environ, store, Reach(tell=complain))


def _files(args: argparse.Namespace, url: str) -> BakeFiles:
    from buildah_py.baking.files import BakeFiles, named_files

    variables = key_values(args.var, "--var", dict(os.environ))
    return BakeFiles(named_files(args.file, os.environ), url, variables)


def _overrides(args: argparse.Namespace) -> list[Override]:
    """Read `--set`s, and the options that are short for some. Raises UsageError."""
    from buildah_py.bake.entries import attestation_of, text_of
    from buildah_py.bake.overriding import Override, parse_sets

    found = parse_sets(args.set, os.environ)
    short: list[tuple[str, str]] = [
        (name, "true") for name in ("push", "load", "no-cache") if getattr(args, name.replace("-", "_"))
    ]
    if args.pull != "missing":
        short.append(("pull", "true" if args.pull == "always" else "false"))
    short += [("attest", text) for text in args.attest]
    for name in ("sbom", "provenance"):
        if value := getattr(args, name):
            short.append(("attest", text_of("attestations", attestation_of(name, value))))
    if call := "check" if args.check else args.call:
        short.append(("call", call.partition(",")[0].replace("check", "lint") if args.print else call))
    return [*found, *(Override("*", name, "", value, False, f"--{name}") for name, value in short)]


def _list(what: str, file: BakeFile) -> int:
    from buildah_py.bake import printing
    from buildah_py.suggest import did_you_mean

    values = dict(part.partition("=")[::2] for part in what.split(","))
    kind = values.pop("type", "") or next((one for one in values if one in _LISTS), what.partition(",")[0])
    values.pop(kind, None)
    form = values.pop("format", "text")
    if kind not in _LISTS or values or form not in ("text", "json"):
        hint = did_you_mean(kind, _LISTS) or "write --list=targets or --list=variables, and ,format=json behind it"
        raise UsageError(f"--list={what}: this cannot be listed", hint=hint)
    if kind == "targets":
        listed = printing.list_targets(file.evaluated)
        rows = printing.target_rows(listed)
    else:
        listed = printing.list_variables(file.evaluated)
        rows = printing.variable_rows(listed)
    if form == "json":
        say_exactly(printing.to_text(listed))
    else:
        say(printing.table(rows))
    return 0


def _requests(args: argparse.Namespace, file: BakeFile, baked: Baked) -> _Work:
    from buildah_py.baking.opening import image_of
    from buildah_py.cli.bake_requests import request_of

    images = {name: image_of(name) for name in baked.targets}
    options = [
        f"--{name.replace('_', '-')}={value}" for name in _PASSED if (value := getattr(args, name)) not in ("", None)
    ]
    options += ["--extensions"] if args.extensions else []
    options += [f"--share={spec}" for spec in args.share]
    options += [f"--pull={args.pull}"] if args.pull in ("newer", "never") else []
    asked = {name: request_of(target, file.home, options, images) for name, target in baked.targets.items()}
    return _Work(file, baked, asked)


def _look(work: _Work, names: list[str]) -> int:
    """Do what targets ask for instead of being built; the status is that of the worst."""
    from buildah_py.cli.build import look_at

    calls = {name: work.asked[name].call for name in work.baked.asked}
    if len(set(calls.values())) > 1:
        shown = ", ".join(f"{name}: {call}" for name, call in calls.items())
        raise UsageError(f"the targets ask for different things ({shown})", hint="add --call=METHOD for all of them")
    call = calls[names[0]]
    status = 0
    answers: dict[str, Any] = {}
    for place, name in enumerate(names):
        tell = partial(_keep, answers, name) if "format=json" in call.split(",") else None
        if tell is None and len(names) > 1:
            say(f"{chr(10) if place else ''}# {name}")
        status = max(status, look_at(call, work.asked[name].request, tell))
    if answers:
        say_data({"target": answers})
    return status


def _keep(answers: dict[str, Any], name: str, value: dict[str, Any]) -> None:
    answers[name] = {"schema": SCHEMA, **value}


def _build(args: argparse.Namespace, work: _Work, mode: str, cluster: ClusterOptions | None) -> int:
    from buildah_py.baking.bake import bake
    from buildah_py.cli import outputs
    from buildah_py.cli.build import tell_last_event
    from buildah_py.progress.choose import renderer
    from buildah_py.progress.events import Warning as Told

    if args.metadata_file:
        outputs.forget(args.metadata_file)
    if args.report:
        from buildah_py.cli.report import check

        check(args.report, "--report")
    items = _items(work)
    if args.changed_since:
        items = _changed(args, work, items)
        if not items:
            complain(f"pybuild: no target has changed since {args.changed_since}")
            if args.metadata_file:
                outputs.write_json(args.metadata_file, {})
            return 0
    if args.shards or args.shard_plan or args.durations:
        found = _shared_out(args, items)
        if found is None:
            return 0
        items = found
    notes = _notes({item.name: work.asked[item.name].notes for item in items})
    paths: list[str] = []
    specs = [spec for item in items if item.exported for spec in item.request.outputs.specs]
    is_json = mode in ("json", "rawjson")
    try:
        with renderer(mode, err=sys.stderr, out=outputs.free_stdout(specs), env=os.environ) as shown:
            sink: Callable[[Event], None] = shown
            if "PYBUILD_DOCKER_PLUGIN" in os.environ:
                from buildah_py.cli.docker_plugin import with_ids_of_engine

                sink = with_ids_of_engine(shown)
            for text in notes:
                sink(Told(text))
            try:
                bake(items, work.file.name, sink, lambda done: _tell(args, done), paths.append, cluster)
            except BaseException as error:
                tell_last_event(error, shown, is_json=is_json)
                raise
    finally:
        if args.report and paths:
            _report(args.report, paths[0])
    return 0


def _notes(given: dict[str, tuple[str, ...]]) -> list[str]:
    """Say what has no effect: what is so of all targets once, else with the targets' names."""
    found: dict[str, list[str]] = {}
    for name, notes in given.items():
        for note in notes:
            found.setdefault(note, []).append(name)
    return [note if len(names) == len(given) else f"{', '.join(names)}: {note}" for note, names in found.items()]


def _items(work: _Work) -> list[BakeItem]:
    """Put targets in the order in which they are built."""
    from buildah_py.bake.resolving import TARGET, build_order
    from buildah_py.baking.opening import BakeItem
    from buildah_py.cli.bake_requests import fault

    targets = work.baked.targets
    return [
        BakeItem(
            name,
            work.asked[name].request,
            tuple(
                value.removeprefix(TARGET)
                for value in targets[name].map("contexts").values()
                if value.startswith(TARGET)
            ),
            name in work.baked.asked,
            partial(fault, targets[name]),
        )
        for name in build_order(targets)
    ]


def _changed(args: argparse.Namespace, work: _Work, items: list[BakeItem]) -> list[BakeItem]:
    """Leave the targets that have changed since a commit, and those that these need."""
    from buildah_py.bake.resolving import resolve
    from buildah_py.baking.changes import changed_since, tree_of

    if work.file.home.url:
        raise UsageError("--changed-since compares with a commit of this directory's repository", hint="leave URL out")
    with tree_of(args.changed_since) as directory:
        before: list[BakeItem] = []
        try:
            from buildah_py.baking.files import read_bake
            from buildah_py.sources.reach import NOWHERE

            asked = _files(args, "")._replace(directory=directory)
            file = read_bake(asked, os.environ, _no_store, NOWHERE)
            known = {*file.evaluated.targets, *file.evaluated.groups}
            wanted = [item.name for item in items if item.exported and item.name in known]
            overrides = _overrides(args)
            if wanted:
                baked = resolve(file.evaluated, wanted, overrides)
                before = _items(_requests(args, file, baked))
        except PybuildError as error:
            warn(f"the bake file of {args.changed_since} says nothing of now: {error.message}")
        changed = changed_since(items, before)
    needed = set(changed)
    for item in reversed(items):
        if item.name in needed:
            needed.update(item.takes)
    return [item._replace(exported=item.name in changed) for item in items if item.name in needed]


def _shared_out(args: argparse.Namespace, items: list[BakeItem]) -> list[BakeItem] | None:
    """Leave the targets of one share, with those that they need; None where there is nothing to be built."""
    from buildah_py.api.state import own_root
    from buildah_py.baking.sharding import durations_of, items_of, plan_shares, read_count, read_share

    if args.shards and args.shard_plan:
        raise UsageError("--shard-plan prints what --shards builds: give one of both")
    if not (args.shards or args.shard_plan):
        raise UsageError("--durations is for shares", hint="add --shards=N/M or --shard-plan=M")
    number, count = read_share(args.shards) if args.shards else (0, read_count(args.shard_plan))
    durations = durations_of(args.durations, own_root())
    shares = plan_shares(items, count, durations, next((item.request.jobs for item in items), 0))
    if args.shard_plan:
        say_data(shares.to_data())
        return None
    names = shares.plan.shares[number - 1].targets
    if names:
        complain(f"pybuild: share {args.shards}: {', '.join(names)}")
        return items_of(items, names)
    complain(f"pybuild: share {args.shards} has no target")
    if args.metadata_file:
        from buildah_py.cli import outputs

        outputs.write_json(args.metadata_file, {})
    return None


def _no_store() -> Any:
    raise NotFound("nothing of another commit is fetched")


def _tell(args: argparse.Namespace, done: Bake) -> None:
    if args.metadata_file:
        from buildah_py.cli import outputs

        found = {name: outputs.metadata(result) for name, result in done.results.items()}
        outputs.write_json(args.metadata_file, found)


def _report(path: str, record: str) -> None:
    from buildah_py.cli.report import write

    try:
        write(path, record)
    except PybuildError as error:
        warn(f"there is no report of the build: {error.message}")
