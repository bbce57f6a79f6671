"""The options of a build about its cache: which records of it count, and what is shared with other machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from buildah_py.api.reuse import ReuseOptions
    from buildah_py.sharing.options import CacheOptions


def configure_reuse(parser: argparse.ArgumentParser) -> None:
    """Declare those that say which records count; spelled as `docker buildx build` and `buildah build` do."""
    add = parser.add_argument
    add("--no-cache", action="store_true", help="execute every step")
    add(
        "--no-cache-filter",
        metavar="STAGE[,STAGE]",
        action="append",
        default=[],
        help="execute every step of these stages, by name or number; may be repeated",
    )
    add(
        "--cache-ttl",
        metavar="DURATION",
        default="",
        help="execute again what was executed longer than that ago, such as 24h or 90m",
    )
    add(
        "--observe",
        choices=("auto", "on", "off"),
        default="auto",
        help="note what each RUN reads of copied files, so that it is a hit while nothing of that changes; "
        "default: %(default)s",
    )


def read_reuse(args: argparse.Namespace) -> ReuseOptions:
    """Return the options that were given."""
    from buildah_py.api.reuse import ReuseOptions

    stages = tuple(name.strip() for text in args.no_cache_filter for name in text.split(",") if name.strip())
    return ReuseOptions(no_cache=args.no_cache, no_cache_filter=stages, cache_ttl=args.cache_ttl, observe=args.observe)


def configure_sharing(parser: argparse.ArgumentParser) -> None:
    """Declare those that share the cache with other machines; spelled as `docker buildx build` spells them."""
    group = parser.add_argument_group("shared caches", "see `pybuild help caching`")
    add = group.add_argument
    add(
        "--cache-to",
        metavar="SPEC",
        action="append",
        default=[],
        help="where this build's cache goes: type=registry,ref=NAME; type=local,dest=DIR; type=inline; type=s3,…; "
        "type=gha; type=reapi,endpoint=grpcs://HOST; with mode=min|max, compression=…, sign=FILE, mounts=ID,…|all, "
        "ignore-error=true",
    )
    add(
        "--cache-from",
        metavar="SPEC",
        action="append",
        default=[],
        help="a cache to look steps up in: NAME or type=registry,ref=NAME; type=local,src=DIR; type=s3,…; type=gha; "
        "type=reapi,endpoint=grpcs://HOST; with verify=ed25519:KEY, mounts=ID,…|all",
    )
    configure_share(group)
    add(
        "--cache-mount",
        metavar="ID=DIR",
        action="append",
        default=[],
        help="back the cache mount ID by a directory of the host; ID,max=SIZE empties it when it has grown larger",
    )


def configure_share(group: argparse._ActionsContainer) -> None:
    """Declare the option that shares the steps of builds at the same time."""
    group.add_argument(
        "--share",
        metavar="SPEC",
        action="append",
        default=[],
        help="share steps with builds that run elsewhere at the same time, each claimed by one: NAME or "
        "type=registry,ref=NAME; type=local,dest=DIR; type=s3,…; type=gha; with claim-ttl=30s, compression=…, "
        "sign=FILE, verify=ed25519:KEY, mounts=ID,…|all",
    )


def read_sharing(args: argparse.Namespace) -> CacheOptions:
    """Read the options' values. Raises UsageError."""
    from buildah_py.sharing.options import CacheOptions

    return CacheOptions(tuple(args.cache_to), tuple(args.cache_from), tuple(args.cache_mount), tuple(args.share))
