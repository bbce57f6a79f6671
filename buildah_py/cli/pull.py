"""`pybuild pull`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.cli import registry
from buildah_py.cli.printing import complain, say

if TYPE_CHECKING:
    import argparse

    from buildah_py.cli.arguments import Parser


def configure(parser: Parser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("images", metavar="NAME[:TAG|@DIGEST]", nargs="+", help="image to get")
    add("-a", "--all-tags", action="store_true", help="get all tags of the repository")
    add("--platform", metavar="OS/ARCH", default="", help="platform of the image; default: this machine's")
    add("-q", "--quiet", action="store_true", help="print nothing but ids")
    parser.bare["--tls-verify"] = "true"
    registry.configure(parser)


def run(args: argparse.Namespace) -> int:
    """Get images with all their layers; prints their ids."""
    from buildah_py.cli.stores import open_store
    from buildah_py.commands.pull import pull
    from buildah_py.transfer.provider import Registries

    def tell(text: str) -> None:
        if not args.quiet:
            complain(text)

    registries = Registries(options=lambda: registry.read(args))
    with open_store(registries, tell=tell) as store:
        for name in args.images:
            for image in pull(store, registries, name, platform=args.platform, all_tags=args.all_tags, tell=tell):
                say(image)
    return 0
