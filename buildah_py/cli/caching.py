"""The options of a build that share its cache with other machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from buildah_py.sharing.options import CacheOptions


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options; spelled as `docker buildx build` spells them."""
    group = parser.add_argument_group("shared caches", "see docs/caching.md")
    add = group.add_argument
    add(
        "--cache-to",
        metavar="SPEC",
        action="append",
        default=[],
        help="where this build's cache goes: type=registry,ref=NAME; type=local,dest=DIR; type=inline; type=s3,…; "
        "type=gha; with mode=min|max, compression=…, sign=FILE, mounts=ID,…|all, ignore-error=true",
    )
    add(
        "--cache-from",
        metavar="SPEC",
        action="append",
        default=[],
        help="a cache to look steps up in: NAME or type=registry,ref=NAME; type=local,src=DIR; type=s3,…; type=gha; "
        "with verify=ed25519:KEY, mounts=ID,…|all",
    )
    add(
        "--cache-mount",
        metavar="ID=DIR",
        action="append",
        default=[],
        help="back the cache mount ID by a directory of the host; ID,max=SIZE empties it when it has grown larger",
    )


def read(args: argparse.Namespace) -> CacheOptions:
    """Read the options' values. Raises UsageError."""
    from buildah_py.sharing.options import CacheOptions

    return CacheOptions(tuple(args.cache_to), tuple(args.cache_from), tuple(args.cache_mount))
