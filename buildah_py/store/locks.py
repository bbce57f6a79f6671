"""Locks and leases between processes that share a store.

Both are flock(2) on files that a crashed process lets go of by dying: nothing has to be cleaned up to be correct.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import threading
import time
from typing import TYPE_CHECKING

from buildah_py import debug
from buildah_py.checksum import sha256_hex
from buildah_py.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_POLL_SECONDS = 0.02
_PATIENCE = 1.0
_STILLBORN = 3_600_000_000_000
_LEASE = r"\.?(\d{1,20})-\d+-\d+"


@contextlib.contextmanager
def named_lock(
    directory: str,
    name: str,
    cancelled: Callable[[], bool] = lambda: False,
    *,
    shared: bool = False,
    waiting: Callable[[], object] = lambda: None,
) -> Iterator[bool]:
    """Hold the lock `name`, against other threads and other processes; a `shared` one only against those that are not.

    Yields true where somebody else held it first. Waits without end, but for `cancelled()`, which raises Interrupted;
    `waiting` is called once when that has taken a second.
    """
    path = os.path.join(directory, sha256_hex(name.encode("utf-8", "surrogateescape")))
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    since: float | None = time.monotonic()
    waited = False
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while not try_flock(descriptor, kind):
                if not waited:
                    debug.log("waiting for the lock `%s`", name)
                waited = True
                if since is not None and time.monotonic() - since > _PATIENCE:
                    since = None
                    waiting()
                _pause(cancelled)
            if _is_still(path, descriptor):
                break
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    debug.log("took the %slock `%s`", "shared " if shared else "", name)
    try:
        yield waited
    finally:
        debug.log("gave the lock `%s` back", name)
        # The last of those that share it removes the file.
        if not shared or (try_flock(descriptor, fcntl.LOCK_EX) and _is_still(path, descriptor)):
            os.unlink(path)
        os.close(descriptor)


def _pause(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise Interrupted("interrupted while waiting for another pybuild")
    time.sleep(_POLL_SECONDS)


def try_flock(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    """Lock a file, unless somebody else holds it."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        return False
    return True


def _is_still(path: str, descriptor: int) -> bool:
    """Whether `path` still names the open file: its last holder removes it."""
    try:
        named = os.stat(path)
    except FileNotFoundError:
        return False
    opened = os.fstat(descriptor)
    return (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)


class Lease:
    """Says that this process uses the store since `started` (nanoseconds since 1970).

    Whatever was marked as used after a living lease's start belongs to its holder, so that collection leaves it alone.
    """

    def __init__(self, directory: str) -> None:
        self.started = time.time_ns()
        name = f"{self.started}-{os.getpid()}-{threading.get_ident()}"
        self._path = os.path.join(directory, name)
        new = os.path.join(directory, f".{name}")
        self._descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        # Locked before it is seen, so that a lease that nobody locks is one of the dead.
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        os.rename(new, self._path)

    @property
    def name(self) -> str:
        """A name that no other living or dead process on this store has."""
        return os.path.basename(self._path)

    def release(self) -> None:
        """Let go."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        os.close(self._descriptor)


def living_leases(directory: str) -> dict[str, int]:
    """Return the names of leases whose holders live, with their starts; files of the dead are removed."""
    found = {}
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        started = re.fullmatch(_LEASE, name)
        if started is None:  # of somebody else, such as what NFS leaves of a file that is gone and still open
            continue
        if name.startswith("."):  # not yet locked, or of a process that was killed before it could
            if int(started[1]) < time.time_ns() - _STILLBORN:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
            continue
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            if try_flock(descriptor):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
            else:
                found[name] = int(started[1])
        finally:
            os.close(descriptor)
    return found
