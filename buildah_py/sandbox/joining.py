"""A further command in a container that runs, which never has more rights than the container.

Who joins a PID namespace can be looked into by those in it. So this process, which may do all, joins every other
namespace, a user namespace too, and stays outside of that one; it becomes the command's user, gives up what the
container has not, lets the same filter of system calls hold, closes what is the host's; and only then forks the process
that is in there, which executes the command at once. Files of the container (passwd, the working directory, /dev/ptmx)
are opened with no right to files that the container's root has not.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # see `container`
import errno
import fcntl
import os
import stat
import struct
import sys

from buildah_py.errors import NotFound
from buildah_py.image import users
from buildah_py.linux import keys, namespaces, process
from buildah_py.linux.paths import read_regular
from buildah_py.sandbox import capabilities, command, idmap, rlimits, watcher
from buildah_py.sandbox.refusal import Doing, RefusedError, report, tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import Any, NoReturn

KINDS = (
    ("net", namespaces.CLONE_NEWNET),
    ("ipc", namespaces.CLONE_NEWIPC),
    ("uts", namespaces.CLONE_NEWUTS),
    ("cgroup", namespaces.CLONE_NEWCGROUP),
    ("pid", namespaces.CLONE_NEWPID),
    ("mnt", namespaces.CLONE_NEWNS),
)
"""Namespaces by their names in /proc, in the order in which they are joined: with the mounts the paths to others go."""

_NEEDED = capabilities.mask(("SETUID", "SETGID", "SETPCAP", "SYS_ADMIN", "CHOWN"))
"""What giving up rights takes; none of them opens a file."""
_TIOCGPTPEER, _TIOCSPTLCK = 0x5441, 0x40045431
_PTMX = os.makedev(5, 2)


def own_namespaces() -> list[int]:
    """Open the namespaces of this process; children of a PID namespace's first process are in that as well."""
    return [os.open(f"/proc/self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC) for name, _ in KINDS]


def main(
    container: dict[str, Any],
    channel: _socket.socket,
    streams: tuple[int, int, int],
    joined: tuple[int, ...],
    result: int,
) -> NoReturn:
    """Run a command in the namespaces `joined`, and write how it ended to `result`.

    They are those of KINDS, then the user namespace and the command's mounts in it, where the container has one.

    Without a terminal it has three `streams`.
    """
    try:
        _run(container, channel, streams, joined, result)
    except Exception as error:  # noqa: BLE001 (the edge of this process: whoever waits must hear of it)
        report(channel, error)
    finally:
        os._exit(125)


def _run(
    container: dict[str, Any],
    channel: _socket.socket,
    streams: tuple[int, ...],
    joined: tuple[int, ...],
    result: int,
) -> None:
    process.set_dumpable(False)
    _signal.pthread_sigmask(_signal.SIG_BLOCK, command.FORWARDED)
    parent = os.getppid()
    ours = () if container["tty"] else command.nameless(streams, terminal=False)
    with Doing("making a session keyring"):
        keys.join_new_session_keyring()
    rlimits.reset(container["usual_rlimits"])
    rlimits.raise_hard(container["rlimits"])
    sys.meta_path.clear()  # whatever was imported from now on would be a file of the image
    with Doing("joining the container"):
        for descriptor, (name, kind) in zip(joined, KINDS, strict=False):
            # The machine's network, where the container uses that, is not an ordinary user's to join.
            if not os.path.samestat(os.fstat(descriptor), os.stat(f"/proc/self/ns/{name}")):
                namespaces.setns(descriptor, kind)
        if len(joined) > len(KINDS):
            user, mounted = joined[len(KINDS) :]
            command.give(ours, *(idmap.outside(ranges, 0) for ranges in container["id_maps"]))  # else nobody's in there
            idmap.become_root(user)
            namespaces.setns(mounted, namespaces.CLONE_NEWNS)
            process.set_dumpable(False)
    _, permitted, _ = process.capget()
    kept = permitted & (container["capabilities"] | _NEEDED)
    process.capset(kept, kept, 0)
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    who = look_up_user(root, container["user"])
    if not container["tty"]:
        command.give(ours, who.uid)
    with Doing(f"working directory {container['cwd']}"):
        command.enter_directory(root, container["cwd"], make=False)
    environment = command.environment_of(container, who)
    for limit in container["rlimits"]:
        rlimits.set_limit(*limit)
    with Doing("giving up privileges"):
        command.drop_privileges(container, who)
    process.set_dumpable(False)  # becoming a user has undone both
    process.set_parent_death_signal(9)
    if os.getppid() != parent:
        os._exit(125)
    if container["tty"]:
        with Doing("making a terminal"):
            master, slave = _new_terminal()
        tell(channel, ("terminal",), master)
        streams = (slave, slave, slave)
    failed = command.announce(channel)
    command.arrange_descriptors(streams, failed, result)
    failed, result = 3, 4
    child = os.fork()
    if child == 0:
        os.close(result)
        process.set_parent_death_signal(9)
        command.begin_session(container)
        command.execute(container, environment, failed)
    os.close(failed)
    for stream in range(3):
        os.close(stream)
    watcher.pass_signals_on(child)
    _, status = os.waitpid(child, 0)
    watcher.say_ended(result, status)


def look_up_user(root: int, user: str) -> users.ExecUser:
    """Find a user in the files of the image at an open root. Raises RefusedError where it is not there."""
    with Doing("looking up USER"):
        passwd, group = (read_regular(root, path, users.MAX_BYTES) for path in ("/etc/passwd", "/etc/group"))
    try:
        return users.user(user, passwd, group)
    except NotFound as error:
        raise RefusedError("USER", error.message) from None


def _new_terminal() -> tuple[int, int]:
    """Make a terminal of the container's own; its master and slave."""
    flags = os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
    master = os.open("/dev/ptmx", flags)
    about = os.fstat(master)
    if not stat.S_ISCHR(about.st_mode) or about.st_rdev != _PTMX:
        raise OSError(errno.ENODEV, "the container's /dev/ptmx is not that device")
    os.set_blocking(master, True)
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    return master, fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY)
