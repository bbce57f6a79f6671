"""Giving files to users, and saying which ids are missing where that cannot be: see user_namespaces(7)."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from buildah_py.errors import NoSuchId
from buildah_py.linux.identity import has_single_id

if TYPE_CHECKING:
    from collections.abc import Sequence

HINT: Final = (
    "give this user more ids (65536 are usual): one line each in /etc/subuid and /etc/subgid, or, as root,"
    " usermod --add-subuids FIRST-LAST --add-subgids FIRST-LAST USER; `pybuild doctor` counts them"
)


def give(target: int | str, uid: int, gid: int, path: str, *, directory: int | None = None) -> None:
    """Give an open file, or a name in the open `directory`, to a user and a group; `path` is what messages call it.

    Raises NoSuchId where one of them does not exist in this user namespace, OSError that names `path` for the rest.
    """
    try:
        if isinstance(target, int):
            os.fchown(target, uid, gid)
        else:
            os.chown(target, uid, gid, dir_fd=directory, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.EPERM and has_single_id():  # all is this user's, and stays that
            return
        if error.errno == errno.EINVAL:
            raise no_such_id(path, uid, gid) from error
        raise OSError(error.errno, error.strerror, path) from error


def no_such_id(what: str, uid: int, gid: int) -> NoSuchId:
    """Make the error for a user and a group of which one does not exist here."""
    kinds = (("user", uid, _ranges("/proc/self/uid_map")), ("group", gid, _ranges("/proc/self/gid_map")))
    missing = [f"{kind} id {number}" for kind, number, there in kinds if not _holds(there, number)]
    there = ", ".join(f"{first} to {first + count - 1}" if count > 1 else f"{first}" for first, count in kinds[0][2])
    named = " and ".join(missing) or f"{uid}:{gid}"
    return NoSuchId(f"{what}: {named} cannot be given here: there are the ids {there}", hint=HINT)


def count_ids() -> int:
    """Count the ids that exist both as users and as groups here."""
    return min(sum(count for _, count in _ranges(f"/proc/self/{kind}_map")) for kind in ("uid", "gid"))


def _ranges(path: str) -> list[tuple[int, int]]:
    """Give the first id and the number of ids of each range that exists in this namespace."""
    with open(path, encoding="ascii") as file:
        return [(int(first), int(count)) for first, _, count in map(str.split, file)]


def _holds(ranges: Sequence[tuple[int, int]], number: int) -> bool:
    return any(first <= number < first + count for first, count in ranges)
