"""Who this process is in its user namespace; see user_namespaces(7)."""

from __future__ import annotations

import os

_ALL = 4294967295


def id_ranges() -> list[tuple[int, int, int]]:
    """Give the lines of /proc/self/uid_map: first id inside, first id outside, how many."""
    with open("/proc/self/uid_map", encoding="ascii") as file:
        lines = [line.split() for line in file]
    return [(int(inside), int(outside), int(count)) for inside, outside, count in lines]


def outer_uid() -> int:
    """Give this process's user id as it is outside of its user namespace."""
    own = os.geteuid()
    for inside, outside, count in id_ranges():
        if inside <= own < inside + count:
            return outside + own - inside
    return own


def in_user_namespace() -> bool:
    """Tell whether this is another user namespace than the machine's first."""
    return id_ranges() != [(0, 0, _ALL)]


def has_single_id() -> bool:
    """Tell whether only one id exists here, so that no file can have another owner."""
    return sum(count for _, _, count in id_ranges()) == 1
