"""`pybuild advice`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.cli import build as building
from buildah_py.cli.printing import say, say_data

if TYPE_CHECKING:
    import argparse

    from buildah_py.cli.arguments import Parser


_SHOWN = 12


def configure(parser: Parser) -> None:
    """Declare the options: those of a build."""
    parser.add_argument("context", metavar="CONTEXT", nargs="?", default=".", help="default: %(default)s")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default: %(default)s")
    building.configure_options(parser)


def run(args: argparse.Namespace) -> int:
    """Tell what could be better; 0, whatever was found."""
    from buildah_py.cli.tables import one_line
    from buildah_py.commands.advice import find_advice

    found = find_advice(building.read_request(args))
    if args.format == "json":
        say_data({"advice": [one._asdict() for one in found]})
        return 0
    if not found:
        say("nothing to advise: what the steps read is what is copied for them")
    for one in found:
        say(f"{one_line(one.place)}: {one_line(one.text)}")
        for line in one.lines[:_SHOWN]:
            say(f"    {one_line(line)}")
        if len(one.lines) > _SHOWN:
            say(f"    … and {len(one.lines) - _SHOWN} more, which --format json lists")
    return 0
