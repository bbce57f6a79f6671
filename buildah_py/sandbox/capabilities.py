"""The names of Linux capabilities, and the fourteen that a container has by default; see capabilities(7)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

NAMES = (
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
)
"""In the order of their numbers."""

ALL = (1 << len(NAMES)) - 1

DEFAULT_NAMES = (
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
)


def number(name: str) -> int:
    """Give the number of a capability, with or without its CAP_. Raises ValueError for an unknown name."""
    plain = name.upper().removeprefix("CAP_")
    if plain not in NAMES:
        raise ValueError(f"unknown capability {name!r}")
    return NAMES.index(plain)


def mask(names: Iterable[str]) -> int:
    """Give the bit mask of some capabilities; ALL stands for every one."""
    result = 0
    for name in names:
        result |= ALL if name.upper() in {"ALL", "CAP_ALL"} else 1 << number(name)
    return result


DEFAULT = mask(DEFAULT_NAMES)
