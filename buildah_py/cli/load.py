"""`pybuild load`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.cli.printing import say, warn
from buildah_py.cli.tables import short

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("source", metavar="SOURCE", nargs="?", help="archive (compressed or not), or OCI layout; default: stdin")
    add("-i", "--input", metavar="SOURCE", help="the same, as docker has it")
    add("-t", "--tag", metavar="NAME[:TAG]", default="", help="name of the image instead of those in there")
    add("--platform", metavar="OS/ARCH", default="", help="which image of several; default: this machine's")
    add("-q", "--quiet", action="store_true", help="print nothing but ids")


def run(args: argparse.Namespace) -> int:
    """Load; print what was loaded."""
    from buildah_py.cli.stores import open_store
    from buildah_py.store.names import familiar_name
    from buildah_py.transfer.load import load

    with open_store() as store:
        for image in load(store, args.input or args.source or "-", name=args.tag, platform=args.platform):
            for name, other in image.taken.items():
                warn(f"{familiar_name(name)} was {short(other)} until now")
            if args.quiet:
                say(image.id)
            elif image.names:
                for name in image.names:
                    say(f"Loaded image: {familiar_name(name)}")
            else:
                say(f"Loaded image ID: {image.id}")
    return 0
