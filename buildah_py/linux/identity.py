"""Who this process is in its user namespace; see user_namespaces(7)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MARKER = "PYBUILD_USER_NAMESPACE"
"""The environment variable that says that this program has entered a user namespace: `full` or `single`."""

LAST = 4294967294
"""The highest id that there can be."""
LENT = 0xA80425FB
"""The mask of the capabilities that a container has by default, see sandbox/capabilities.py."""
_SYS_ADMIN, _SETGID, _SETUID, _CHOWN, _MKNOD, _DAC_OVERRIDE = 21, 6, 7, 0, 27, 1
_ALL = [(0, 0, LAST + 1)]


def id_ranges(kind: str = "uid") -> list[tuple[int, int, int]]:
    """Give the lines of /proc/self/uid_map, or gid_map: first id inside, first id outside, how many."""
    with open(f"/proc/self/{kind}_map", encoding="ascii") as file:
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
    return id_ranges() != _ALL


def has_single_id() -> bool:
    """Tell whether no file or process can have another owner here than this process.

    In a user namespace of one id nobody else exists; a user without privileges can give files to nobody.
    """
    ranges = id_ranges()
    return sum(count for _, _, count in ranges) == 1 or (ranges == _ALL and bool(os.geteuid()) and not _has(_CHOWN))


def may_make_devices() -> bool:
    """Tell whether this process may make device nodes."""
    return not in_user_namespace() and _has(_MKNOD)


def may_override_modes() -> bool:
    """Tell whether this process gets into its files whatever modes they have."""
    return _has(_DAC_OVERRIDE)


def uses_userxattr() -> bool:
    """Tell whether attributes of overlays are `user.overlay.*` here: setting `trusted.*` takes CAP_SYS_ADMIN."""
    return in_user_namespace() or not may_mount()


def needs_user_namespace(environ: Mapping[str, str]) -> bool:
    """Tell whether this program has to enter a user namespace before it can make containers, and has not."""
    return MARKER not in environ and not (os.geteuid() == 0 and may_mount())


def may_mount() -> bool:
    """Tell whether this process may make mounts and namespaces as root does: root of a container often may not."""
    return _has(_SYS_ADMIN)


def may_map_ids() -> bool:
    """Tell whether this process may give a user namespace all ids that it knows itself; user_namespaces(7)."""
    return os.geteuid() == 0 and _has(_SETGID) and _has(_SETUID)


def may_lend_all() -> bool:
    """Tell whether containers can have here what they have by default: this is root outside of user namespaces."""
    return not in_user_namespace() and not LENT & ~effective_capabilities()


def _has(capability: int) -> bool:
    return bool(effective_capabilities() >> capability & 1)


def effective_capabilities() -> int:
    """Give the mask of the capabilities that this process has."""
    with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
        (line,) = (line for line in file if line.startswith("CapEff:"))
    return int(line.split()[1], 16)
