"""The life of a container's first process: namespaces, mounts, the command, and reaping until nothing is left.

Runs in the child that the helper forks, as process 1 of a new pid namespace. Until the command is executed, what it has
to say goes over `channel` as marshalled tuples: ("below", answers), ("terminal",) and ("root",) with a descriptor,
("namespaces",) with those of `joining.KINDS`, and again with a user namespace of its own and the command's mounts
there, ("executing",) with a pipe, ("error", what, why, errno). From then on it but watches the command (`watcher.py`).

Where the command is to be process 1 itself (`reaper` is false), the first process forks at once, into another pid
namespace below its own: the child makes the container and becomes the command, which sees nothing of who watches it.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` itself takes 3 ms for its enums
import errno
import os
import sys

from buildah_py.errors import NotFound
from buildah_py.image import users
from buildah_py.linux import keys, mounts, namespaces, process
from buildah_py.linux.mount_points import unescape
from buildah_py.linux.mounts import MOUNT_ATTR_RDONLY
from buildah_py.linux.paths import read_regular
from buildah_py.sandbox import command, fuse, idmap, joining, rlimits, watcher, wire, writable
from buildah_py.sandbox.api_file_systems import hide_processes
from buildah_py.sandbox.below import Below
from buildah_py.sandbox.initlayer import InitLayer
from buildah_py.sandbox.netns import loopback_up, open_to_all_users
from buildah_py.sandbox.operations import Operation, StubFile, from_wire
from buildah_py.sandbox.overlay import copied_overlay, overlay
from buildah_py.sandbox.refusal import Doing, RefusedError, report, tell
from buildah_py.sandbox.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import Any, NoReturn

_MOST_BYTES = 32 << 10
"""So many of answers about layers are told; attributes may be long."""


def main(
    container: dict[str, Any],
    channel: _socket.socket,
    streams: tuple[int, int, int],
    network: int,
    given: tuple[int, ...],
    result: int,
    user_namespace: int = -1,
    ends: tuple[int, int] = (-1, -1),
) -> NoReturn:
    """Be process 1 of a container, which writes how the command ended to `result`; never returns.

    With `ends`, somebody observes it, and serves some of its layers over the first of them; see `_observed`.
    """
    try:
        _run(container, channel, streams, network, given, result, user_namespace, ends)
    except Exception as error:  # noqa: BLE001 (the edge of this process: whoever waits must hear of it)
        report(channel, error)
    finally:
        os._exit(125)


def _run(
    container: dict[str, Any],
    channel: _socket.socket,
    streams: tuple[int, int, int],
    network: int,
    given: tuple[int, ...],
    result: int,
    user_namespace: int,
    ends: tuple[int, int],
) -> None:
    if user_namespace != -1:
        idmap.make_files_as_root(*container["id_maps"])  # before what follows, which a change of ids undoes
    process.set_parent_death_signal(9)
    process.set_dumpable(False)
    # Signals that come before the command is there wait for it.
    _signal.pthread_sigmask(_signal.SIG_BLOCK, command.FORWARDED)
    waiting, confined = os.pipe2(os.O_CLOEXEC)
    if not container["reaper"]:
        with Doing("making a PID namespace"):
            namespaces.unshare(namespaces.CLONE_NEWPID)
        child = os.fork()
        if child:
            watcher.watch(child, result, confined, container["seccomp_of_first"])
        process.set_parent_death_signal(9)
        os.close(confined)
        os.close(result)
    with Doing("making a session keyring"):
        keys.join_new_session_keyring()
    root = Root(
        given,
        scratch=container["work"],
        unprivileged=container["unprivileged"],
        devices=container["devices"],
        user_namespace=user_namespace,
        id_maps=container["id_maps"],
        nested=container["nested"],
        writable=container["writable"],
    )
    operations = [from_wire(words) for words in container["operations"]]
    _prepare(operations, root, of_host=True)
    with Doing("making namespaces"):
        _make_namespaces(container, network)
    if user_namespace != -1:
        with Doing("mapping the ids of layers (--userns)"):
            paths = (*container["lowers"], container["upper"], container["work"], container["init"])
            idmap.map_directories(paths, user_namespace)
    served = container["writable"] == writable.FUSE
    lowers, root.slots, place = _observed(container, *((-1, -1) if served else ends))
    _prepare(operations, root, of_host=False)
    try:
        who = _mount_all(container, lowers, root, operations, ends if served else (-1, -1), channel)
    finally:
        if root.copies:
            tell(channel, ("copies", *root.copies))
    if place:
        mounts.umount2(place, mounts.MNT_DETACH)
    if root.bound_proc:
        with Doing("hiding the processes around the container"):
            hide_processes(root)
        if user_namespace == -1:
            with Doing("making a user namespace for the command"):
                user_namespace = idmap.new_equal_user_namespace()
        tell(channel, ("bound /proc",))
    if container["joinable"]:
        tell(channel, ("namespaces",), *joining.own_namespaces())
    with Doing("entering the new root"):
        _enter(root, pivot=container["isolation"] != "chroot")
    sys.meta_path.clear()  # whatever was imported from now on would be a file of the image
    if -1 in map(idmap.outside, container["id_maps"], (who.uid, who.gid)):
        raise RefusedError("USER", f"the container's user namespace has no {who.uid}:{who.gid} (--userns-uid-map)")
    if root.terminal is not None:
        master, slave = root.terminal
        tell(channel, ("terminal",), master)
        os.close(master)
        streams = (slave, slave, slave)
    streams = tuple(root.null if stream == -1 else stream for stream in streams)  # type: ignore[assignment]
    rlimits.reset(container["usual_rlimits"])
    rlimits.raise_hard(container["rlimits"])
    ours = command.nameless(streams, terminal=container["tty"])
    command.give(ours, idmap.outside(container["id_maps"][0], who.uid))
    if container["writable"] != writable.COPY:
        tell(channel, ("root",), root.descriptor)  # whoever wants the layer makes it read-only in the end
    child = os.fork() if container["reaper"] else 0
    if child == 0:
        if container["reaper"]:
            os.close(confined)
        command.become(container, channel, streams, root.descriptor, who, waiting, user_namespace)
    watcher.watch(child, result, confined, container["seccomp_of_first"])


def _make_namespaces(container: dict[str, Any], network: int) -> None:
    flags = namespaces.CLONE_NEWNS | namespaces.CLONE_NEWIPC | namespaces.CLONE_NEWUTS | namespaces.CLONE_NEWCGROUP
    if network != -1:
        namespaces.setns(network, namespaces.CLONE_NEWNET)
        os.close(network)
    elif container["network"] == "none":
        flags |= namespaces.CLONE_NEWNET
    namespaces.unshare(flags)
    if flags & namespaces.CLONE_NEWNET:
        loopback_up()
        open_to_all_users()
    namespaces.sethostname(container["hostname"])
    mounts.mount_setattr(mounts.AT_FDCWD, "/", propagation=mounts.MS_PRIVATE, recursive=True)


def _prepare(operations: list[Operation], root: Root, *, of_host: bool) -> None:
    for operation in operations:
        if operation.of_host is of_host:
            with Doing(operation.describe()):
                operation.prepare(root)


def _observed(container: dict[str, Any], device: int, told: int) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Mount what somebody observes, where this machine can: he serves over `device` once `told` is closed.

    Gives the lowers, the directories of slots by their numbers, and where it was mounted; "" where it was not, and
    nothing is noted, as is seen from the report.
    """
    if container["observed"] is None:
        return container["lowers"], (), ""
    lowers, slots, place, *_ = container["observed"]
    if device == -1:
        return container["lowers"], tuple(directories[0] for directories, _ in slots), ""
    try:
        mount = fuse.mount(device)
    except OSError:
        return container["lowers"], tuple(directories[0] for directories, _ in slots), ""
    finally:
        os.close(device)
        os.close(told)
    mounts.move_mount(mount, mounts.AT_FDCWD, place)
    os.close(mount)
    shown = tuple(f"{place}/{number}" for number in range(len(slots)))
    return tuple(one if isinstance(one, str) else shown[one] for one in lowers), shown, place


def _mount_all(
    container: dict[str, Any],
    lowers: tuple[str, ...],
    root: Root,
    operations: list[Operation],
    ends: tuple[int, int],
    channel: _socket.socket,
) -> users.ExecUser:
    """Make the root; gives who the command runs as, looked up before anything but layers is mounted."""
    init: str = container["init"]
    reading = Doing(f"reading the {len(lowers)} layers below")

    def mount_lowers() -> int:
        with reading:
            return overlay(lowers, "", "", root, anchor=container["work"])

    below = Below(lowers, mount_lowers, container["below"])
    with reading:
        layer = InitLayer(init, below)
    for path, content in container["files"]:
        with Doing(f"making {path}"):
            layer.add_file(path, content)
    for operation in operations:
        if operation.target and not isinstance(operation, StubFile):
            with Doing(f"making the mount target {operation.target}"):
                operation.target = layer.add(operation.target, operation.directory)
    _check_targets(operations)
    for operation in operations:
        if isinstance(operation, StubFile):
            with Doing(operation.describe()):
                layer.add_stub(operation.target, operation.content)
    layer.close()
    below.close()
    if below.answers != container["below"] and len(wire.pack(below.answers)) <= _MOST_BYTES:
        tell(channel, ("below", below.answers))
    with Doing(f"mounting the root of {len(lowers)} layers"):
        root.descriptor = _writable_root(container, lowers, root, ends, channel)
        if container["readonly"]:
            mounts.mount_setattr(root.descriptor, "", MOUNT_ATTR_RDONLY)
        mounts.move_mount(root.descriptor, mounts.AT_FDCWD, init)
    who = _user(root, container["user"])
    for operation in operations:
        with Doing(operation.describe()):
            operation.execute(root)
    return who


def _writable_root(
    container: dict[str, Any], lowers: tuple[str, ...], root: Root, ends: tuple[int, int], channel: _socket.socket
) -> int:
    """Give the detached mount of the root; of a copy, tell what it looked like before the command."""
    init: str = container["init"]
    if container["writable"] == writable.OVERLAY:
        return overlay((init, *lowers), container["upper"], container["work"], root, anchor=init)
    if container["writable"] == writable.FUSE:
        device, told = ends
        mount = fuse.mount(device, root.attributes)
        os.close(device)
        os.close(told)
        return mount
    mount, place, looks = copied_overlay((init, *lowers), container["work"], root, anchor=init)
    memory = os.memfd_create("copied", os.MFD_CLOEXEC)
    with open(os.dup(memory), "wb") as file:
        file.write(wire.pack(looks))
    tell(channel, ("copied", place, container["upper"]), memory)
    os.close(memory)
    return mount


def _check_targets(operations: list[Operation]) -> None:
    """Refuse a mount that would cover what the container is given by us, however its target was spelled.

    Targets are free of symbolic links by now. Raises RefusedError.
    """
    for ours in operations:
        for other in operations if ours.reserves else ():
            covers = f"{ours.target}/".startswith(f"{other.target}/")
            inside = f"{other.target}/".startswith(f"{ours.target}/") and ours.reserves == "tree"
            if other.target and not other.reserves and (covers or inside):
                raise RefusedError(f"mounting on {other.target}", f"{ours.target} is the container's own")


def _user(root: Root, user: str) -> users.ExecUser:
    with Doing("looking up USER"):
        passwd, group = (read_regular(root.descriptor, path, users.MAX_BYTES) for path in ("/etc/passwd", "/etc/group"))
    try:
        return users.user(user, passwd, group)
    except NotFound as error:
        raise RefusedError("USER", error.message) from None


def _enter(root: Root, *, pivot: bool) -> None:
    """Make the root's mount the root and let go of the host's tree; without `pivot` it is but covered."""
    os.fchdir(root.descriptor)
    if pivot:
        try:
            # The old root ends up on top of the new one and can be detached at once: no directory for it is needed.
            mounts.pivot_root(".", ".")
        except OSError as error:
            # On the first ramfs of a machine nothing can be pivoted; containers around us may forbid it.
            if error.errno not in {errno.EINVAL, errno.EPERM}:
                raise
        else:
            mounts.umount2(".", mounts.MNT_DETACH)
            os.chdir("/")
            return
    old = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    # Mounts that a user namespace inherits are locked and cannot be taken away one by one.
    below = [] if root.unprivileged else _mounts_of_host()
    mounts.mount(".", "/", flags=mounts.MS_MOVE)
    os.chroot(".")
    # The old root lies below the new one, where no path leads; what the host has mounted on it is taken away.
    os.fchdir(old)
    os.close(old)
    for place in below:
        try:
            mounts.umount2(place, mounts.MNT_DETACH)
        except OSError as error:
            if error.errno not in {errno.EINVAL, errno.ENOENT}:  # covered by another
                raise
    os.chdir("/")


def _mounts_of_host() -> list[bytes]:
    """List, relative to the root, the mounts that lie directly on the root's own mount."""
    with open("/proc/self/mountinfo", "rb") as file:
        lines = [line.split(b" ", 5) for line in file]
    roots = {words[0] for words in lines if words[4] == b"/"}
    found = [words[4] for words in lines if words[1] in roots and words[4] != b"/"]
    return [unescape(place)[1:] for place in found]
