"""Containers that a person started: one directory each, from their start until they are removed.

containers/<id>/  container.json   what it is
                  state.json       how it is; replaced as a whole
                  alive            locked by the process that looks after it, for as long as that lives
                  control          the socket on which that process is asked for things
                  log, log.1       what it has printed, the newest last in `log`

A directory is complete, and locked, before it gets its name. Whoever looks does not believe `state.json` alone: a
container whose `alive` nobody locks does not run, whatever stands there; after a crash or a power cut too.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import time
from typing import TYPE_CHECKING, Any, Final

from buildah_py.errors import NotFound, StoreError, UsageError
from buildah_py.store.disk_usage import disk_usage, remove_tree
from buildah_py.store.locks import try_flock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOM: Final = "containers"
RUNNING, EXITED, DEAD = "running", "exited", "dead"
KILLED: Final = 137
"""The status of a container whose keeper was ended by force, or by the machine: so was the container."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_LOCK = "lock"
_SHORT = 12


class KeptContainer:
    """A container as its directory tells of it; `state` and `alive` are those of the moment of the look."""

    def __init__(self, path: str) -> None:
        """Look. Raises FileNotFoundError where it has gone."""
        self.path = path
        self.id = os.path.basename(path)
        # First the lock: a container that ends meanwhile has said so by then.
        looked_after = _is_locked(self.file("alive"))
        self.about: dict[str, Any] = _read(self.file("container.json"))
        self.state: dict[str, Any] = _read(self.file("state.json"))
        self.alive = looked_after and self.state["status"] == RUNNING  # else what it needed is being taken away
        if not looked_after and self.state["status"] == RUNNING:
            self.state |= {"status": DEAD, "code": KILLED}

    def lives(self) -> bool:
        """Look again whether it runs."""
        try:
            self.alive = KeptContainer(self.path).alive
        except FileNotFoundError:  # it has been removed
            self.alive = False
        return self.alive

    def file(self, name: str) -> str:
        """Give the path of one of its files."""
        return os.path.join(self.path, name)

    @property
    def name(self) -> str:
        """Name that it was given, or that stands for it."""
        return str(self.about["name"])

    @property
    def short(self) -> str:
        """As much of the id as people read."""
        return self.id[:_SHORT]

    @property
    def ended(self) -> int:
        """Moment of its end, as far as it is known (ns since 1970)."""
        return int(self.state.get("finished") or self.about["created"])

    def remove(self, *, dry_run: bool = False) -> int:
        """Remove what an ended one has left; the bytes freed. With `dry_run` it stays."""
        with contextlib.suppress(FileNotFoundError):
            freed = disk_usage(self.path)
            if not dry_run:
                remove_tree(self.path)
            return freed
        return 0


class OwnContainer:
    """A container that this process looks after, until it `close`s it."""

    def __init__(self, path: str, alive: int) -> None:
        self.path = path
        self.id = os.path.basename(path)
        self._alive = alive

    def file(self, name: str) -> str:
        """Give the path of one of its files."""
        return os.path.join(self.path, name)

    def say(self, **state: Any) -> None:
        """Say how it is now."""
        _write(self.file("state.json"), state)

    def close(self, *, remove: bool) -> None:
        """Look after it no more."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.file("control"))
        if remove:
            with contextlib.suppress(FileNotFoundError):  # `pybuild rm` was as fast
                remove_tree(self.path)
        os.close(self._alive)


def check_name(root: str, name: str) -> None:
    """Raise UsageError for what cannot be a container's name, or is the name of another one."""
    if not name:
        return
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"--name {name}: this cannot be a container's name",
            hint="names begin with a letter or a digit; `_`, `.` and `-` may follow",
        )
    for other in containers(root):
        if other.name == name:
            hint = f"`pybuild rm {'-f ' if other.alive else ''}{name}` takes that one away"
            raise UsageError(f"--name {name}: the container {other.short} is called so", hint=hint)


def create(root: str, about: Mapping[str, Any]) -> OwnContainer:
    """Begin to look after a container; its `name` may be empty. Raises UsageError where another one has the name."""
    room = os.path.join(root, ROOM)
    os.makedirs(room, mode=0o700, exist_ok=True)
    lock = os.open(os.path.join(room, _LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        check_name(root, about["name"])
        _sweep(room)
        name = os.urandom(32).hex()
        new = os.path.join(room, f".{name}")
        os.mkdir(new, 0o700)
        alive = os.open(os.path.join(new, "alive"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(alive, fcntl.LOCK_EX)
        now = time.time_ns()
        own = {**about, "name": about["name"] or name[:_SHORT], "created": now, "version": 1}
        _write(os.path.join(new, "container.json"), own)
        _write(os.path.join(new, "state.json"), {"status": RUNNING, "started": now})
        path = os.path.join(room, name)
        os.rename(new, path)
    finally:
        os.close(lock)
    return OwnContainer(path, alive)


def _sweep(room: str) -> None:
    """Remove what was never complete; the room is locked."""
    for name in os.listdir(room):
        if name.startswith("."):
            remove_tree(os.path.join(room, name))


def containers(root: str) -> Iterator[KeptContainer]:
    """Give all containers, the newest first."""
    room = os.path.join(root, ROOM)
    try:
        names = os.listdir(room)
    except FileNotFoundError:
        return
    found = []
    for name in names:
        if len(name) == 64:
            with contextlib.suppress(FileNotFoundError):  # it has been removed meanwhile
                found.append(KeptContainer(os.path.join(room, name)))
    yield from sorted(found, key=lambda one: int(one.about["created"]), reverse=True)


def find_container(root: str, word: str) -> KeptContainer:
    """Return the container of a name, or whose id begins so. Raises NotFound, UsageError for one of several."""
    known = list(containers(root))
    found = [one for one in known if word in (one.name, one.id)] or [
        one for one in known if word and one.id.startswith(word)
    ]
    if not found:
        raise NotFound(f"there is no container `{word}`", hint="`pybuild ps -a` lists them")
    if len(found) > 1:
        raise UsageError(f"{len(found)} containers have ids that begin with {word}", hint="write more of the id")
    return found[0]


def remove_ended(root: str, before: int | None = None, *, dry_run: bool = False) -> tuple[int, int]:
    """Remove what containers have left that ended, `before` a moment if that is not None; how many, and bytes freed.

    With `dry_run` it stays.
    """
    ended = [one for one in containers(root) if not one.alive and (before is None or one.ended < before)]
    return len(ended), sum(one.remove(dry_run=dry_run) for one in ended)


def _is_locked(path: str) -> bool:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return not try_flock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _read(path: str) -> dict[str, Any]:
    with open(path, encoding="utf-8") as file:
        try:
            data = json.load(file)
        except ValueError as error:
            raise StoreError(f"{path} is damaged", hint="remove the directory that it lies in") from error
    return dict(data)


def _write(path: str, data: Mapping[str, Any]) -> None:
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        json.dump(data, file)
    os.replace(f"{path}.new", path)
