"""What root of a container may not do here, though elsewhere it may: a RUN has other results then, and another key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from buildah_py.linux.identity import LAST, effective_capabilities, has_single_id, id_ranges, in_user_namespace
from buildah_py.sandbox import capabilities
from buildah_py.sandbox.rungs import PROOT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from buildah_py.sandbox.idmap import Ranges

_USUAL: Final = 65536
"""How many ids a user namespace has by custom. All that have one more, for their own user, are alike."""


def restrictions(uids: Ranges = (), gids: Ranges = ()) -> str:
    """Say under which restrictions a container runs, "" for none; it has ids of its own if maps are given.

    In a user namespace no device nodes can be made, and there are only so many ids: changing owners to others fails.
    Where there is one id alone it does nothing. A root without all capabilities cannot lend them. Machines of which
    the same is said make the same of a step.
    """
    return " ".join(filter(None, (_namespace(uids, gids), _lacking())))


def _lacking() -> str:
    has = effective_capabilities()
    lacking = [f"CAP_{name}" for name in capabilities.DEFAULT_NAMES if not has >> capabilities.number(name) & 1]
    return f"without {', '.join(lacking)}" if lacking else ""


def without_container(rung: str) -> str:
    """Say under which restrictions a command runs that has no container: it sees the machine around it."""
    if rung == PROOT and has_single_id():
        return "below proot, by a user who owns all files"
    return " ".join(filter(None, ({"in-place": "in place", PROOT: "below proot"}[rung], _lacking())))


def _namespace(uids: Ranges, gids: Ranges) -> str:
    if has_single_id():
        return "in a user namespace of one id"
    if not uids and not in_user_namespace():
        return ""
    known = [_known(ranges) for ranges in (uids or id_ranges("uid"), gids or uids or id_ranges("gid"))]
    if known == ["", ""]:
        return "in a user namespace"
    return "in a user namespace of the ids " + " and ".join(dict.fromkeys(text or f"0-{_USUAL - 1}" for text in known))


def _known(ranges: Iterable[tuple[int, int, int]]) -> str:
    """Write down the ids that there are; "" for the usual ones, or all."""
    merged: list[tuple[int, int]] = []
    for first, end in sorted((inside, inside + count) for inside, _, count in ranges):
        if merged and merged[-1][1] == first:
            first = merged.pop()[0]
        merged.append((first, end))
    if len(merged) == 1 and merged[0][0] == 0:
        count = merged[0][1]
        if count // _USUAL == 1 or count > LAST:
            return ""
        if count > _USUAL:
            merged = [(0, count // _USUAL * _USUAL)]
    return ",".join(f"{first}-{end - 1}" for first, end in merged)
