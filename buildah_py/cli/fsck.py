"""`pybuild fsck`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.cli.printing import complain, say, say_data
from buildah_py.cli.tables import FORMATS, count

if TYPE_CHECKING:
    import argparse

EXIT_FAULTY = 1


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--repair",
        action="store_true",
        help="make good what can be made good, and remove the rest: builds make it anew",
    )
    parser.add_argument("--format", choices=FORMATS, default="table", help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    """Check the store; 0 where all is well or was repaired, 1 where something is wrong."""
    from buildah_py.api.state import own_root
    from buildah_py.query.fsck import fsck

    found = fsck(own_root(), repair=args.repair, tell=complain)
    if args.format == "json":
        say_data({**found._asdict(), "faults": [fault._asdict() for fault in found.faults]})
    else:
        for fault in found.faults:
            say(f"{fault.what} {fault.name}: {fault.problem}" + (f" ({fault.done})" if fault.done else ""))
        looked = ", ".join([count(found.layers, "layer"), count(found.images, "image"), count(found.records, "record")])
        say(f"{looked}: {count(len(found.faults), 'fault') if found.faults else 'clean'}")
        if found.faults and not args.repair:
            say("`pybuild fsck --repair` repairs the store")
    return EXIT_FAULTY if found.faults and not args.repair else 0
