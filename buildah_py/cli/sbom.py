"""`pybuild sbom`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from buildah_py.cli import registry
from buildah_py.cli.printing import say, warn

if TYPE_CHECKING:
    import argparse

    from buildah_py.cli.arguments import Parser

_FORMATS = ("spdx", "cyclonedx", "table")


def configure(parser: Parser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("image", metavar="IMAGE", help="name or id; docker://NAME for what a registry has attached to it")
    add(
        "--format",
        choices=_FORMATS,
        default="",
        help="SPDX 2.3 or CycloneDX 1.6, as JSON, or a table; default: the attached list, else spdx",
    )
    add("--platform", metavar="OS/ARCH", default="", help="of several images of that name the one for a platform")
    add("--fresh", action="store_true", help="make the list now, also where one is attached")
    add("-o", "--output", metavar="FILE", default="-", help="file to write; default: the standard output")
    parser.bare["--tls-verify"] = "true"
    registry.configure(parser)


def run(args: argparse.Namespace) -> int:
    """Print what is in an image."""
    from buildah_py.attest.bill import sbom_of
    from buildah_py.cli.outputs import write_whole
    from buildah_py.cli.stores import open_store
    from buildah_py.transfer.provider import Registries

    form = "spdx" if args.format == "table" else args.format
    registries = Registries(options=lambda: registry.read(args))
    with registries, open_store(registries) as store:
        found = sbom_of(store, registries, args.image, warn, form=form, platform=args.platform, fresh=args.fresh)
    if args.format == "table":
        from buildah_py.cli.tables import table

        rows = [("PACKAGE", "VERSION", "TYPE")]
        for one in found["packages"]:
            for outside in one.get("externalRefs", ()):
                kind = str(outside["referenceLocator"]).removeprefix("pkg:").partition("/")[0]
                rows.append((one["name"], one.get("versionInfo", ""), kind))
        say(table(rows))
        return 0
    data = json.dumps(found, indent=2, ensure_ascii=False).encode() + b"\n"
    if args.output == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        write_whole(args.output, data)
    return 0
