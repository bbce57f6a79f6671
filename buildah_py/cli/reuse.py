"""The options that say which records of the cache count."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from buildah_py.api.reuse import ReuseOptions


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare them; spelled as `docker buildx build` and `buildah build` do."""
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


def read(args: argparse.Namespace) -> ReuseOptions:
    """What was given."""
    from buildah_py.api.reuse import ReuseOptions

    stages = tuple(name.strip() for text in args.no_cache_filter for name in text.split(",") if name.strip())
    return ReuseOptions(no_cache=args.no_cache, no_cache_filter=stages, cache_ttl=args.cache_ttl)
