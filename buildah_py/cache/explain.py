"""Why a step has no record: the nearest one there is, and what differs from it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.cache import input_lists
from buildah_py.cache.differences import Difference, differences, summary
from buildah_py.cache.nearest import choose
from buildah_py.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from buildah_py.cache.ingredients import Ingredients
    from buildah_py.cache.records import Cache, CachePolicy, Record

_ENOUGH = 0.5
"""The share of files that a step of another directory has to have in common to be compared with."""


class Explanation(NamedTuple):
    """One phrase, the record that the step was compared with, and the differences from it.

    `candidates` are the records that might have been compared with, None where none was looked for.
    """

    reason: str
    nearest: Record | None = None
    differences: tuple[Difference, ...] = ()
    candidates: tuple[Record, ...] | None = None


def explain(
    cache: Cache,
    wanted: Ingredients,
    key: str | None,
    lists: Mapping[str, Callable[[], bytes]],
    others: Collection[tuple[str, str]] = (),
) -> Explanation:
    """Say why there is no record of `key` (None where the key is not known), which `wanted` are the ingredients of.

    `lists` give what the inputs hold, by digest; `others` are stage and text of the build's other steps.
    """

    def load(digest: str) -> bytes | None:
        return lists[digest]() if digest in lists else cache.input_list(digest)

    collected = None if key is None else cache.collected(key)
    if collected is not None:
        return Explanation(f"collected on {_date(collected)}")
    near = tuple(
        record
        for record, own in cache.near(wanted.about, wanted.kind)
        if own or _has_much_in_common(record, wanted, cache.input_list, load)
    )
    nearest = choose(near, wanted, others)
    if nearest is None:
        first = cache.is_first_build()
        return Explanation("no record: first build" if first else "no record: new instruction", None, (), near)
    found = differences(nearest.ingredients, wanted, cache.input_list, load)
    if not found:
        return Explanation("the record has the same ingredients", nearest, (), near)
    return Explanation(summary(found), nearest, tuple(found), near)


def explain_miss(
    cache: Cache,
    policy: CachePolicy,
    wanted: Ingredients,
    key: str | None,
    lists: Mapping[str, Callable[[], bytes]],
    texts: Collection[tuple[str, str]],
) -> Explanation:
    """Say why there is no record of `key` that `policy` lets be used; the rest is as in `explain`."""
    known, usable = (None if key is None else cache.known(key)) or (None, True)
    stage = wanted.about.stage
    if policy.forbids(stage):
        option = "--no-cache" if policy.no_cache else f"--no-cache-filter {stage.partition('#')[0] or '0'}"
        return Explanation(option, known)
    if known is not None:
        if policy.is_too_old(known.made):
            age = _age(time.time_ns() - known.made)
            return Explanation(f"older than --cache-ttl {policy.ttl_text}: made {age} ago", known)
        if not usable:
            return Explanation(f"its record from {known.source} has no signature that counts", known)
        return Explanation("the layer of its record is missing", known)
    return explain(cache, wanted, key, lists, texts)


def _has_much_in_common(
    record: Record,
    wanted: Ingredients,
    old: Callable[[str], bytes | None],
    new: Callable[[str], bytes | None],
) -> bool:
    """Whether a record of a build that is only called the same may be one of this."""
    for name, digest in wanted.inputs.items():
        before = record.inputs.get(name)
        if digest is None or before is None or before == digest:
            continue
        try:
            one, other = old(before), new(digest)
            if one is None or other is None:
                continue
            few, many = sorted(data.count(b"\0") for data in (one, other))
            if few < _ENOUGH * many:  # the rest of the fields, and so of the files, is in one of them alone
                return False
            # Where most of the bytes stand in the same places, so do most of the files.
            if sum(map(len, input_lists.shorten(one, other))) < _ENOUGH * min(len(one), len(other)):
                continue
            if input_lists.alike(input_lists.parse(one), input_lists.parse(other)) < _ENOUGH:
                return False
        except CacheError:
            continue
    return True


def _date(seconds: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def _age(nanoseconds: int) -> str:
    """Show a time span in one number."""
    seconds = nanoseconds / 1e9
    for size, name in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s"
