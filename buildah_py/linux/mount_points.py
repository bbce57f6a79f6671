"""Places where something is mounted; see proc_pid_mountinfo(5)."""

from __future__ import annotations


def mount_points() -> list[str]:
    """List the mount points that this process sees, but for the root."""
    with open("/proc/self/mountinfo", "rb") as file:
        places = [unescape(line.split(b" ", 5)[4]) for line in file]
    return [place.decode("utf-8", "surrogateescape") for place in places if place != b"/"]


def unescape(path: bytes) -> bytes:
    """Undo what /proc does to blanks, tabs, newlines and backslashes."""
    for code in (b"\\040", b"\\011", b"\\012", b"\\134"):
        path = path.replace(code, bytes([int(code[1:], 8)]))
    return path
