"""`pybuild prune`."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from buildah_py.cli.printing import complain, say, say_data
from buildah_py.cli.tables import FORMATS, count, human
from buildah_py.store.names import familiar_name

if TYPE_CHECKING:
    import argparse

    from buildah_py.store.collect import Collected

_SHOWN = 5  # names of images in a question


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options; spelled as `docker` and `buildah` spell them."""
    add = parser.add_argument
    add("-a", "--all", action="store_true", help="also images that have a name, what their builds need, and all logs")
    only = parser.add_mutually_exclusive_group()
    only.add_argument(
        "--images", action="store_true", help="only images, with layers that are not a step's: the cache stays"
    )
    only.add_argument(
        "--cache",
        action="store_true",
        help="only layers that no image holds, and cache mounts; with --all those too that builds of named images need",
    )
    only.add_argument("--containers", action="store_true", help="only what containers have left that ended")
    add("--dry-run", action="store_true", help="only tell what would be removed")
    add(
        "--filter",
        metavar="FILTER",
        action="append",
        default=[],
        help="until=24h: only what nobody has used since; label=KEY[=VALUE] or label!=…: only images that fit",
    )
    add("--max-used-space", metavar="SIZE", help="only until the whole state takes no more of the disk")
    add(
        "--keep-storage",
        "--reserved-space",
        metavar="SIZE",
        help="leave that much in any case",
    )
    add("--min-free-space", metavar="SIZE", help="only until the file system has so much free")
    add("-f", "--force", action="store_true", help="ask nobody: on a terminal it is asked otherwise")
    add("--format", choices=FORMATS, default="table", help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    """Remove unnamed images, and layers that neither an image nor its build needs; the least recently used first."""
    from buildah_py.api.prune import cached_layers, hold_builds, parse_filters
    from buildah_py.api.state import own_root
    from buildah_py.cli.stores import open_store
    from buildah_py.store import reserve
    from buildah_py.store.collect import collect
    from buildah_py.store.sizes import parse_size

    if args.containers:
        return _containers(args)
    sizes = [parse_size(text) for text in (args.max_used_space, args.keep_storage) if text]
    rules = parse_filters(args.filter, time.time_ns())._replace(
        named=args.all and not args.cache,
        cache_only=args.cache,
        keep=max(sizes) if sizes else None,
        min_free=parse_size(args.min_free_space) if args.min_free_space else None,
        dry_run=args.dry_run,
    )
    if args.images and rules.matching is None:
        rules = rules._replace(matching=lambda _: True)
    if not args.dry_run:
        reserve.spend(own_root())
    with open_store() as store:
        if args.images:
            rules = rules._replace(held=cached_layers(store))
        elif not args.all and rules.keep is None and rules.min_free is None:
            rules = hold_builds(rules, store)
        if _is_to_be_asked(args) and not _agrees(collect(store, rules._replace(dry_run=True))):
            complain("pybuild: nothing is removed")
            return 1
        done = collect(store, rules)
    images = [name if name.startswith("sha256:") else familiar_name(name) for name in done.images]
    if args.format == "json":
        say_data({**done._asdict(), "images": images})
    else:
        removed, freed, are = ("would remove", "free", "would be") if args.dry_run else ("removed", "freed", "are")
        for name in images:
            say(f"{removed} the image {name}")
        if done.containers:
            say(f"{removed} the status and log of {count(done.containers, 'container')} that had ended")
        say(
            f"{removed} {count(len(images), 'image')}, {count(done.layers, 'layer')} and "
            f"{count(done.cache_mounts, 'cache mount')}, {freed} {human(done.freed)}; {human(done.used)} {are} in use"
        )
    if done.goal is not None and done.used > done.goal:
        rest = "" if args.all else "; --all removes images that have a name too"
        complain(f"pybuild: what is left is in use, and more than {human(done.goal)}{rest}")
    return 0


def _containers(args: argparse.Namespace) -> int:
    """Remove what containers have left that ended."""
    from buildah_py.api.prune import parse_filters
    from buildah_py.api.state import own_root
    from buildah_py.cli.stores import open_store
    from buildah_py.errors import UsageError
    from buildah_py.store.collect import Collected, measure
    from buildah_py.store.containers import remove_ended

    limits = [name for name in ("max_used_space", "keep_storage", "min_free_space") if getattr(args, name)]
    rules = parse_filters(args.filter, time.time_ns())
    if limits or rules.matching is not None:
        what = f"--{limits[0].replace('_', '-')}" if limits else "--filter label"
        raise UsageError(f"{what} is not for --containers", hint="--filter until=24h leaves the newest")
    before = rules.before
    ended, freed = remove_ended(own_root(), before, dry_run=True)
    what = f"the status and log of {count(ended, 'container')} that had ended"
    if _is_to_be_asked(args) and not _is_agreed(f"This removes {what}, {human(freed)}."):
        complain("pybuild: nothing is removed")
        return 1
    if not args.dry_run:
        ended, freed = remove_ended(own_root(), before)
    if args.format == "json":
        with open_store() as store:
            used = measure(store).total
        say_data(Collected((), 0, 0, freed, used, None, ended)._asdict())
    else:
        say(f"would remove {what}, free {human(freed)}" if args.dry_run else f"removed {what}, freed {human(freed)}")
    return 0


def _is_to_be_asked(args: argparse.Namespace) -> bool:
    return not (args.force or args.dry_run) and os.isatty(0) and os.isatty(2)


def _agrees(plan: Collected) -> bool:
    """Ask whether that is to go."""
    named = [familiar_name(name) for name in plan.images if not name.startswith("sha256:")]
    parts = [count(len(plan.images), "image"), count(plan.layers, "layer"), count(plan.cache_mounts, "cache mount")]
    shown = f" ({', '.join(named[:_SHOWN])}{', …' if len(named) > _SHOWN else ''})" if named else ""
    return _is_agreed(f"This removes {parts[0]}{shown}, {parts[1]} and {parts[2]}, {human(plan.freed)}.")


def _is_agreed(what: str) -> bool:
    sys.stderr.write(f"{what} Go on? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
