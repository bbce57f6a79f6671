"""`pybuild save`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.cli import registry
from buildah_py.cli.printing import warn

if TYPE_CHECKING:
    import argparse

    from buildah_py.cli.arguments import Parser

_FORMATS = ("docker-archive", "oci-archive", "oci-dir")


def configure(parser: Parser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("images", metavar="IMAGE", nargs="+", help="name or id")
    add("-o", "--output", metavar="FILE", default="-", help="file, or directory for oci-dir; default: stdout")
    add("--format", choices=_FORMATS, default=_FORMATS[0], help="default: %(default)s")
    add("--platform", metavar="OS/ARCH", default="", help="of several images of that name the one for a platform")
    add("--compression", metavar="FORMAT", help="gzip (default), zstd or uncompressed, for layers built here")
    parser.bare["--tls-verify"] = "true"
    registry.configure(parser)


def run(args: argparse.Namespace) -> int:
    """Save."""
    from buildah_py.cli.stores import open_store
    from buildah_py.transfer.provider import Registries
    from buildah_py.transfer.save import save

    options = registry.read(args)
    with open_store(Registries(options=lambda: options)) as store:
        save(
            store,
            args.images,
            args.output,
            options,
            form=args.format,
            compression=args.compression,
            platform=args.platform,
            warn=warn,
        )
    return 0
