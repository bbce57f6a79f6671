"""Processes below this one, where no PID namespace keeps them together."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection


def children() -> list[int]:
    """List the processes whose parent this one is, those that were given to it as a subreaper among them."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except FileNotFoundError:  # the kernel was built without CONFIG_PROC_CHILDREN
        return _search(os.getpid())


def _search(parent: int) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                continue
            if int(fields[1]) == parent:
                found.append(int(name))
    return found


def end_children(spared: Collection[int] = ()) -> None:
    """Kill all children but those spared, and theirs as they are given to this process, and wait for their ends.

    It has to be a subreaper, of a single thread.
    """
    while True:
        found = [pid for pid in children() if pid not in spared]
        if not found:
            return
        for pid in found:
            os.kill(pid, 9)  # a child that nobody has waited for has its number for itself
        for pid in found:
            os.waitpid(pid, 0)
