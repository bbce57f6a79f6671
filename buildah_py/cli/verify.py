"""`pybuild verify`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from buildah_py.cli.printing import say, say_data
from buildah_py.cli.tables import FORMATS, short

if TYPE_CHECKING:
    import argparse

EXIT_DIFFERENT = 1


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("name", metavar="IMAGE", help="name or id of an image that was built here")
    add("--secret", metavar="SPEC", action="append", default=[], help="as the build was given it: it was not kept")
    add("--ssh", metavar="SPEC", action="append", default=[], help="as the build was given it")
    add("--ca-bundle", metavar="FILE|host", default="", help="default: as the build was given it")
    add(
        "--progress",
        choices=("auto", "tty", "plain", "json", "rawjson", "quiet"),
        default="auto",
        help="how to show the build; default: %(default)s",
    )
    add("--format", choices=FORMATS, default="table", help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    """Build an image again without the cache; 0 where the same came of it, 1 where something differs."""
    from buildah_py.cli.diff import show_differences
    from buildah_py.commands.verify import verify
    from buildah_py.progress.choose import renderer

    with renderer(args.progress, err=sys.stderr, out=sys.stderr, env=os.environ) as sink:
        found = verify(
            args.name, sink, secrets=args.secret, ssh=args.ssh, ca_bundle=args.ca_bundle, environ=dict(os.environ)
        )
    same = not found.changes and not found.properties
    if args.format == "json":
        say_data(
            {
                **found._asdict(),
                "same": same,
                "changes": [change._asdict() for change in found.changes],
                "properties": [one._asdict() for one in found.properties],
            }
        )
        return 0 if same else EXIT_DIFFERENT
    for note in found.notes:
        say(f"note: {note}")
    show_differences(found.changes, found.properties)
    say(f"{args.name} ({short(found.image)}): " + ("the same again" if same else "not the same again"))
    return 0 if same else EXIT_DIFFERENT
