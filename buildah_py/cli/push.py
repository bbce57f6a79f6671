"""`pybuild push`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from buildah_py.cli import registry, signing
from buildah_py.cli.printing import say

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("name", metavar="IMAGE", help="name of an image in the store, or its id")
    add(
        "destination",
        metavar="DESTINATION",
        nargs="?",
        default="",
        help="another name; or docker://NAME, oci:DIR[:NAME], oci-archive:FILE[:NAME], docker-archive:FILE[:NAME], "
        "docker-daemon:NAME",
    )
    add("-a", "--all-tags", action="store_true", help="push all tags of the repository IMAGE that the store has")
    add("--digestfile", metavar="FILE", help="write the digest of what was pushed to FILE")
    add("--compression-format", metavar="FORMAT", help="gzip (default), zstd or uncompressed, for layers built here")
    add("--compression-level", metavar="NUMBER", type=int)
    add("--force-compression", action="store_true", help="compress layers anew that came in another format")
    add("--format", metavar="oci|docker", choices=("oci", "docker"), help="media types of manifest and config")
    add("--platform", metavar="OS/ARCH", default="", help="of several images of that name the one for a platform")
    add("--sign", metavar="FILE", default="", help=signing.HELP)
    add("-q", "--quiet", action="store_true", help="print nothing but the digest")
    registry.configure(parser)


def run(args: argparse.Namespace) -> int:
    """Push an image; its digest goes to the standard output."""
    from buildah_py.cli.outputs import write_whole
    from buildah_py.cli.stores import open_store
    from buildah_py.commands.push import PushRequest, name_in_registry, push_stored
    from buildah_py.progress.choose import renderer
    from buildah_py.transfer.provider import Registries

    options = registry.read(args, name_in_registry(args.destination or args.name))
    request = PushRequest(
        name=args.name,
        destination=args.destination,
        all_tags=args.all_tags,
        compression=args.compression_format,
        level=args.compression_level,
        force_compression=args.force_compression,
        oci=None if args.format is None else args.format == "oci",
        platform=args.platform,
        sign=signing.read_key(args.sign),
    )
    mode = "quiet" if args.quiet else "plain"
    registries = Registries(options=lambda: options)
    with (
        open_store(registries) as store,
        renderer(mode, err=sys.stderr, out=sys.stderr, env=os.environ) as sink,
    ):
        pushed = push_stored(store, request, options, sink)
    say(pushed.digest)
    if args.digestfile:
        write_whole(args.digestfile, pushed.digest.encode("ascii"))
    return 0
