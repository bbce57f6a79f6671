"""User namespaces for containers of root: the ids of a container are others on the machine.

On the disk all files keep the container's ids: layers, and what is mounted from the store, are seen through mounts that
map ids (mount_setattr(2), MOUNT_ATTR_IDMAP). So a layer is the same whether there was a user namespace or not.

The process that mounts stays in the first user namespace, with all capabilities, but makes files as the container's
root: a file that it makes through such a mount has to belong to somebody who exists there.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` itself takes 3 ms for its enums
import errno
import os

from buildah_py.linux import mounts, namespaces, process
from buildah_py.linux.identity import LAST, id_ranges

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Ranges = tuple[tuple[int, int, int], ...]
    """First id inside, first id outside, how many."""


def new_user_namespace(uids: Ranges, gids: Ranges) -> int:
    """Make a user namespace that maps these ids; gives a descriptor of it. Raises OSError."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            namespaces.unshare(namespaces.CLONE_NEWUSER)
            os.write(writing, os.readlink("/proc/self").encode())  # which may be that of another PID namespace
            while True:
                _signal.pause()
        finally:
            os._exit(1)
    os.close(writing)
    try:
        name = os.read(reading, 20).decode()
        if not name:
            raise OSError(errno.EPERM, "no user namespace can be made (see the sysctl user.max_user_namespaces)")
        for file, ranges in (("uid_map", uids), ("gid_map", gids)):
            with open(f"/proc/{name}/{file}", "w", encoding="ascii") as out:
                out.write("".join(f"{inside} {outside} {count}\n" for inside, outside, count in ranges))
        return os.open(f"/proc/{name}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(reading)
        os.kill(child, 9)
        os.waitpid(child, 0)


def new_equal_user_namespace() -> int:
    """Make a user namespace that maps each id to itself: in it nobody has rights over processes outside of it.

    Gives a descriptor. Raises OSError.
    """
    # All but the last of all ids: else nobody could tell the namespace from the machine's first.
    uids, gids = (
        tuple((inside, inside, min(count, LAST - inside)) for inside, _, count in id_ranges(kind))
        for kind in ("uid", "gid")
    )
    return new_user_namespace(uids, gids)


def outside(ranges: Ranges, number: int) -> int:
    """Give the id of the machine that stands for a container's, -1 where none does; without ranges it is the same."""
    if not ranges:
        return number
    return next((out + number - inside for inside, out, count in ranges if inside <= number < inside + count), -1)


def make_files_as_root(uids: Ranges, gids: Ranges) -> None:
    """Have this process make files as the container's root, which has to exist."""
    process.set_file_system_ids(outside(uids, 0), outside(gids, 0))


def map_directories(paths: Iterable[str], user_namespace: int) -> None:
    """Cover the directory that holds all `paths` with itself, seen through the namespace. Raises OSError."""
    place = os.path.commonpath([*paths])
    if place == "/":
        raise OSError(errno.EXDEV, "layers and the directories for new ones have nothing in common but the root")
    mount = mounts.open_tree(mounts.AT_FDCWD, place)
    try:
        mounts.mount_setattr(mount, "", propagation=mounts.MS_PRIVATE, user_namespace=user_namespace)
        mounts.move_mount(mount, mounts.AT_FDCWD, place)
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise OSError(errno.EINVAL, "its file system cannot map ids", place) from None
        raise
    finally:
        os.close(mount)


def enter(user_namespace: int) -> None:
    """Become the root of a user namespace, with a copy of the mounts that is its own."""
    become_root(user_namespace)
    namespaces.unshare(namespaces.CLONE_NEWNS)


def become_root(user_namespace: int) -> None:
    """Become the root of a user namespace."""
    namespaces.setns(user_namespace, namespaces.CLONE_NEWUSER)
    # In two steps: who is not the namespace's root at first would keep his capabilities as any other user later on.
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
