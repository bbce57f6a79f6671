"""Control groups for containers that have limits, on the unified hierarchy and on those of version 1.

Used by the helper: a group is made before the container's first process, which joins it, and removed after its end.
"""

from __future__ import annotations

import errno
import os
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_PREFIX = "pybuild-"
_ROUNDS, _ATTEMPTS = 100, 30
_PERIOD = 100_000
"""Microseconds over which a share of the processors is counted."""


class Group:
    """The directories of one container's group: one, or one for each controller that has a hierarchy of its own."""

    __slots__ = ("directories",)

    def __init__(self, limits: dict[str, Any], name: str) -> None:
        """Make the group and set its limits. Raises OSError where this machine cannot."""
        self.directories: list[str] = []
        hierarchies = dict(_hierarchies(limits["cgroup_parent"]))
        settings = _settings(limits)
        for controller in settings:
            if controller not in hierarchies:
                raise OSError(errno.ENOTSUP, f"this machine has no control groups for {controller}")
        try:
            for controller, values in settings.items():
                parent, unified = hierarchies[controller]
                directory = self._directory(parent, name, controller, unified)
                for file, value in values[unified]:
                    _write(f"{directory}/{file}", value)
        except BaseException:
            self.remove()
            raise

    def _directory(self, parent: str, name: str, controller: str, unified: bool) -> str:
        if not unified:
            _make_parents(parent, controller)
        else:
            _enable(os.path.dirname(parent), controller)
            os.makedirs(parent, exist_ok=True)
            _enable(parent, controller)
        directory = f"{parent}/{name}"
        if directory not in self.directories:
            _sweep(parent)
            os.mkdir(directory)
            self.directories.append(directory)
            if controller == "cpuset" and not unified:
                _write(f"{directory}/cpuset.mems", _read(f"{parent}/cpuset.mems"))
        return directory

    def measured(self) -> tuple[int, int]:
        """Give the most memory that was used, in bytes, and how many processes were killed for want of it."""
        for directory in self.directories:
            if os.path.exists(f"{directory}/memory.events"):
                peak = f"{directory}/memory.peak"
                return int(_read(peak)) if os.path.exists(peak) else 0, _count(f"{directory}/memory.events")
            if os.path.exists(f"{directory}/memory.oom_control"):
                return int(_read(f"{directory}/memory.max_usage_in_bytes")), _count(f"{directory}/memory.oom_control")
        return 0, 0

    def remove(self) -> None:
        """Remove the group. With its first process a container loses all others; should one be left, it is ended."""
        for directory in self.directories:
            if not _remove(directory):
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), directory)
        self.directories.clear()


def join(directory: str) -> None:
    """Move the calling process into a group."""
    _write(f"{directory}/cgroup.procs", "0")


def end_all(directory: str) -> None:
    """End every process of a group, and whatever these fork meanwhile."""
    if os.path.exists(f"{directory}/cgroup.kill"):  # the unified hierarchy, since Linux 5.14
        _write(f"{directory}/cgroup.kill", "1")
        return
    freezer = f"{directory}/cgroup.freeze"
    if os.path.exists(freezer):
        _write(freezer, "1")
    for _ in range(_ROUNDS):
        pids = _read(f"{directory}/cgroup.procs").split()
        for pid in pids:
            try:
                os.kill(int(pid), 9)
            except ProcessLookupError:
                continue
        if not pids:
            break
    if os.path.exists(freezer):
        _write(freezer, "0")


def _remove(directory: str) -> bool:
    """Remove a group; False where its processes take longer to end than a moment."""
    for attempt in range(_ATTEMPTS):
        try:
            os.rmdir(directory)
        except FileNotFoundError:  # somebody else sweeps too
            return True
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            end_all(directory)
            select.select([], [], [], 0.001 * attempt)
        else:
            return True
    return False


def _hierarchies(chosen: str = "") -> Iterator[tuple[str, tuple[str, bool]]]:
    """Give for each controller the directory to make groups in, and whether it is of the unified hierarchy."""
    own = {}
    for line in _read("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            own[controller] = path
    for line in _read("/proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        root, place = before.split()[3:5]
        kind, _, options = after.split()[:3]
        if kind == "cgroup2":
            for controller in _read(f"{place}/cgroup.controllers").split():
                yield controller, (os.path.normpath(f"{place}/{chosen or 'pybuild'}"), True)
        elif kind == "cgroup":
            for controller in options.split(","):
                path = own.get(controller, "/")
                inside = os.path.relpath(path, root) if path.startswith(root) else "."
                yield controller, (os.path.normpath(f"{place}/{chosen or inside}"), False)


def _settings(limits: dict[str, Any]) -> dict[str, tuple[list[tuple[str, str]], list[tuple[str, str]]]]:
    """Give for each controller the files and values of version 1 and of version 2."""
    found: dict[str, tuple[list[tuple[str, str]], list[tuple[str, str]]]] = {}
    memory, swap = limits["memory"], limits["memory_swap"]
    if memory:
        first, second = [("memory.limit_in_bytes", str(memory))], [("memory.max", str(memory))]
        # As docker has it: swap is counted together with memory, and is as much again unless said otherwise.
        both = -1 if swap == -1 else max(swap or 2 * memory, memory)
        if swap:
            first.append(("memory.memsw.limit_in_bytes", str(both)))
        second.append(("memory.swap.max", "max" if both == -1 else str(both - memory)))
        second.append(("memory.oom.group", "0"))
        found["memory"] = (first, second)
    if limits["pids"] or limits["cgroup_parent"]:
        value = [("pids.max", str(limits["pids"] or "max"))]
        found["pids"] = (value, value)
    if limits["cpus"] or limits["cpu_shares"]:
        first, second = [], []
        if limits["cpus"]:
            quota = round(limits["cpus"] * _PERIOD)
            first += [("cpu.cfs_period_us", str(_PERIOD)), ("cpu.cfs_quota_us", str(quota))]
            second.append(("cpu.max", f"{quota} {_PERIOD}"))
        if limits["cpu_shares"]:
            first.append(("cpu.shares", str(limits["cpu_shares"])))
            weight = 1 + (max(2, min(limits["cpu_shares"], 262144)) - 2) * 9999 // 262142
            second.append(("cpu.weight", str(weight)))
        found["cpu"] = (first, second)
    if limits["cpuset_cpus"]:
        value = [("cpuset.cpus", limits["cpuset_cpus"])]
        found["cpuset"] = (value, value)
    return found


def _make_parents(directory: str, controller: str) -> None:
    """Make a group of version 1 with those above it; none has processors or memory of its own at first."""
    if os.path.isdir(directory):
        return
    above = os.path.dirname(directory)
    _make_parents(above, controller)
    os.makedirs(directory, exist_ok=True)
    if controller == "cpuset":
        for file in ("cpuset.cpus", "cpuset.mems"):
            _write(f"{directory}/{file}", _read(f"{above}/{file}"))


def _enable(directory: str, controller: str) -> None:
    if controller not in _read(f"{directory}/cgroup.subtree_control").split():
        _write(f"{directory}/cgroup.subtree_control", f"+{controller}")


def _sweep(parent: str) -> None:
    """Remove the groups of helpers that were killed; their processes died with them."""
    for name in os.listdir(parent):
        owner = name.removeprefix(_PREFIX).partition("-")[0]
        if name.startswith(_PREFIX) and owner.isdigit() and not os.path.exists(f"/proc/{owner}"):
            _remove(f"{parent}/{name}")  # what is not gone yet, the next one sweeps


def name_of(pid: int, number: int) -> str:
    """Name the group of the `number`th container of a helper."""
    return f"{_PREFIX}{pid}-{number}"


def _count(path: str) -> int:
    for line in _read(path).splitlines():
        key, _, value = line.partition(" ")
        if key == "oom_kill":
            return int(value)
    return 0


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def _write(path: str, value: str) -> None:
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(value)
    except OSError as error:  # of a write, it names no file
        raise OSError(error.errno, f"{error.strerror} for {value}", path) from None
