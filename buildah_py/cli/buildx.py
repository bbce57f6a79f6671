"""`pybuild buildx`: what docker's buildx has commands for and pybuild has no words of its own for.

All others are said in pybuild's words before they come here: see cli/buildx_table.py.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from buildah_py.cli import registry
from buildah_py.cli.arguments import Parser
from buildah_py.cli.printing import say, say_exactly, warn
from buildah_py.docker import builders
from buildah_py.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from buildah_py.docker.builders import Builder

_NO_EFFECT: Final = (
    ("--append", "", "there is one node, this machine"),
    ("--node", "NAME", "there is one node, this machine"),
    ("--leave", "", "there is one node, this machine"),
    ("--buildkitd-config", "FILE", "there is no buildkitd; `pybuild config` has defaults, registries.conf mirrors"),
    ("--config", "FILE", "there is no buildkitd; `pybuild config` has defaults, registries.conf mirrors"),
    ("--buildkitd-flags", "TEXT", "there is no buildkitd; a build's rights are given to it: --allow"),
    ("--driver-opt", "OPTION", "builds are done by this program, not in a container or elsewhere"),
    ("--platform", "PLATFORMS", "what can be run here decides"),
)
"""Options of `create` that are accepted, and what is said of them."""
_HEADS: Final = ("NAME/NODE", "DRIVER/ENDPOINT", "STATUS", "BUILDKIT", "PLATFORMS")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands and their options."""
    parts = parser.add_subparsers(dest="part", required=True, metavar="COMMAND", parser_class=Parser)

    def part(name: str, text: str, below: Any = parts) -> Parser:
        made: Parser = below.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False
        )
        made.add_argument("--builder", metavar="NAME", default="", help="a name that `create` gave")
        return made

    for name, text in _ELSEWHERE.items():
        parts.add_parser(name, help=text, add_help=False, allow_abbrev=False)
    create = part("create", "give the builder a further name")
    create.add_argument("endpoint", metavar="CONTEXT|ENDPOINT", nargs="?", default="", help="accepted")
    create.add_argument("--name", metavar="NAME", default="", help="default: a new one, which is printed")
    create.add_argument("--driver", metavar="DRIVER", default="docker-container", help="docker or docker-container")
    create.add_argument("--use", action="store_true", help="choose it for later builds")
    create.add_argument("--bootstrap", action="store_true", help="accepted: nothing has to start")
    create.add_argument("--timeout", metavar="DURATION", default="", help="accepted: nothing has to start")
    for option, value, text in _NO_EFFECT:
        kind: Any = {"metavar": value, "action": "append", "default": []} if value else {"action": "store_true"}
        create.add_argument(option, help=f"without effect: {text}", **kind)

    inspect = part("inspect", "show a builder")
    inspect.add_argument("name", metavar="NAME", nargs="?", default="")
    inspect.add_argument("--bootstrap", action="store_true", help="accepted: nothing has to start")
    inspect.add_argument("--timeout", metavar="DURATION", default="", help="accepted: nothing has to start")

    listing = part("ls", "list the names that the builder has")
    listing.add_argument("--format", metavar="FORMAT", default="table", help="table (default), json, or a template")
    listing.add_argument("--no-trunc", action="store_true", help="accepted: nothing is cut short")
    listing.add_argument("--timeout", metavar="DURATION", default="", help="accepted: nothing has to start")

    using = part("use", "choose a name for later builds")
    using.add_argument("name", metavar="NAME")
    using.add_argument("--default", action="store_true", help="accepted: there is one engine")
    using.add_argument("--global", action="store_true", help="accepted: there is one engine")

    removing = part("rm", "forget names of the builder")
    removing.add_argument("names", metavar="NAME", nargs="*")
    removing.add_argument("--all-inactive", action="store_true", help="all of them")
    removing.add_argument("-f", "--force", action="store_true", help="accepted: nobody is asked")
    for option in ("--keep-daemon", "--keep-state"):
        removing.add_argument(option, action="store_true", help="accepted: the cache is kept in any case")
    removing.add_argument("--timeout", metavar="DURATION", default="", help="accepted: nothing has to end")

    part("stop", "do nothing: nothing runs between builds").add_argument("name", metavar="NAME", nargs="?")
    part("version", "print the version, as buildx does")
    for name in ("install", "uninstall"):
        part(name, "do nothing: `docker build` is this program's already")
    tools = parts.add_parser("imagetools", help="look at images of registries, and put them together")
    below = tools.add_subparsers(dest="tool", required=True, metavar="COMMAND", parser_class=Parser)
    making = part("create", "put images of registries together under a name", below)
    making.add_argument("sources", metavar="SOURCE", nargs="*", help="names, digests, or descriptors as JSON")
    making.add_argument("-t", "--tag", metavar="NAME", action="append", default=[], help="what it is called")
    making.add_argument("-f", "--file", metavar="FILE", action="append", default=[], help="sources, a line each")
    making.add_argument("--append", action="store_true", help="add to what the name has already")
    making.add_argument("--dry-run", action="store_true", help="print what would be pushed")
    making.add_argument("--annotation", metavar="K=V", action="append", default=[], help="annotation of the index")
    making.add_argument("--platform", metavar="OS/ARCH", action="append", default=[], help="only images for these")
    making.add_argument("--prefer-index", metavar="true|false", default="true", help="an index of one image too")
    making.add_argument("--metadata-file", metavar="FILE", help="write what was made to FILE as JSON")
    making.add_argument("--progress", metavar="HOW", default="auto", help="accepted: it says a line for each")
    making.bare["--prefer-index"] = "true"
    showing = part("inspect", "show what a registry has under a name", below)
    showing.add_argument("name", metavar="NAME")
    showing.add_argument("--raw", action="store_true", help="print it byte by byte")
    showing.add_argument("--format", metavar="TEMPLATE", default="", help="such as '{{json .Manifest}}'")
    for one in (making, showing):
        one.bare["--tls-verify"] = "true"
        registry.configure(one)


_ELSEWHERE: Final = {
    "build": "the same as `pybuild build`",
    "bake": "the same as `pybuild bake`",
    "du": "the same as `pybuild du`",
    "history": "`pybuild builds` and `pybuild logs`",
    "prune": "the same as `pybuild prune --cache`",
}
"""Options that are said in other words before it comes here; named for the help."""


def run(args: argparse.Namespace) -> int:
    """Do what was asked for."""
    if args.part == "imagetools":
        from buildah_py.cli import imagetools

        return imagetools.create(args) if args.tool == "create" else imagetools.inspect(args)
    parts = {"create": _create, "inspect": _inspect, "ls": _ls, "use": _use, "rm": _rm, "version": _version}
    if args.part not in parts:
        from buildah_py.cli.buildx_table import find

        found, _ = find([args.part])
        assert found is not None
        warn(f"`buildx {args.part}` has no effect: {found.text}")
        return 0
    return parts[args.part](args)


def _create(args: argparse.Namespace) -> int:
    if args.driver not in builders.DRIVERS:
        raise UsageError(
            f"--driver {args.driver}: builds are done on this machine, by this program",
            hint="leave it out; where builds are to be done elsewhere, run pybuild there",
        )
    for option, value, text in _NO_EFFECT:
        given = getattr(args, option.removeprefix("--").replace("-", "_"))
        for one in given if isinstance(given, list) else [given] if given else []:
            warn(f"{f'{option}={one}' if value else option} has no effect: {text}")
    if args.leave:
        return 0
    made = builders.create_builder(os.environ, args.name, args.driver, endpoint=args.endpoint, use=args.use)
    say(made.name)
    return 0


def _inspect(args: argparse.Namespace) -> int:
    found = builders.find_builder(os.environ, args.name or args.builder)
    rows = [("Name:", found.name), ("Driver:", found.driver)]
    if found.used:
        rows.append(("Last Activity:", _when(found.used)))
    node = _node(found)
    lines = [f"{name:<14} {value}" for name, value in rows]
    lines += ["", "Nodes:"]
    shown = ("Name", "Endpoint", "Status", "pybuild version", "Platforms")
    values = (node["Name"], node["Endpoint"], node["Status"], node["Version"], ", ".join(node["Platforms"]))
    lines += [f"{name + ':':<16} {value}" for name, value in zip(shown, values, strict=True)]
    say("\n".join(lines))
    return 0


def _ls(args: argparse.Namespace) -> int:
    current = builders.find_builder(os.environ, args.builder).name
    known = builders.builders(os.environ)
    if args.format not in ("table", ""):
        _ls_in_form(args.format, known, current)
        return 0
    from buildah_py.cli.tables import table

    rows = [_HEADS]
    for one in known:
        node = _node(one)
        rows.append((f"{one.name}{'*' if one.name == current else ''}", one.driver, "", "", ""))
        version, platforms = node["Version"], ", ".join(node["Platforms"])
        rows.append((rf" \_ {node['Name']}", rf" \_ {node['Endpoint']}", node["Status"], version, platforms))
    say(table(rows))
    return 0


def _ls_in_form(form: str, known: list[Builder], current: str) -> None:
    """Print a line for each builder, in the names that buildx gives these facts."""
    import json

    for one in known:
        node = _node(one)
        facts = {
            "Name": one.name,
            "Driver": one.driver,
            "DriverEndpoint": one.driver,
            "Current": one.name == current,
            "Dynamic": False,
            "LastActivity": _when(one.used, "T", "Z") if one.used else None,
            "Nodes": [node],
            "Status": node["Status"],
            "Platforms": ", ".join(node["Platforms"]),
        }
        if form == "json":
            say_exactly(json.dumps(facts))
        else:
            from buildah_py.cli.template_rows import render_rows

            say_exactly(render_rows(form, [facts]))


def _node(builder: Builder) -> dict[str, Any]:
    from buildah_py.api.facts import runnable_platforms
    from buildah_py.version import __version__

    return {
        "Name": builder.name if builder.name == builders.DEFAULT else f"{builder.name}0",
        "Endpoint": builder.endpoint or builders.DEFAULT,
        "Status": "running",
        "Version": __version__,
        "Platforms": runnable_platforms(),
    }


def _when(moment: float, between: str = " ", end: str = " +0000 UTC") -> str:
    from buildah_py.image import timestamp

    return timestamp.to_text(int(moment) * 10**9).replace("T", between).replace("Z", end)


def _use(args: argparse.Namespace) -> int:
    builders.use_builder(os.environ, args.name)
    return 0


def _rm(args: argparse.Namespace) -> int:
    names = args.names or [args.builder] * bool(args.builder)
    if args.all_inactive:
        names = [one.name for one in builders.builders(os.environ) if one.name != builders.DEFAULT]
    elif not names:
        names = [builders.find_builder(os.environ).name]
    for name in names:
        builders.remove_builder(os.environ, name)
        say(f"{name} removed")
    return 0


def _version(_args: argparse.Namespace) -> int:
    from buildah_py.docker.plugin import VERSION
    from buildah_py.version import __version__

    say(f"github.com/docker/buildx {VERSION} pybuild-{__version__}")
    return 0
