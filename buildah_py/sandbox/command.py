"""A container's command: a copy of the first process, which may do all, becomes a program with the rights it is given.

Runs in the child that the first process forks, with the container's mounts around it.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # see `container`
import _socket
import errno
import fcntl
import os
import stat

from buildah_py.linux import process
from buildah_py.linux.paths import openat2
from buildah_py.sandbox import capabilities, idmap
from buildah_py.sandbox.refusal import Doing, RefusedError, report, tell
from buildah_py.sandbox.rlimits import set_limit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from buildah_py.image import users

_TIOCSCTTY = 0x540E
_OWN = ("KILL", "STOP", "CHLD", "SEGV", "BUS", "FPE", "ILL", "ABRT", "TRAP", "SYS", "PIPE")
FORWARDED = tuple(sorted(_signal.valid_signals() - {getattr(_signal, f"SIG{name}") for name in _OWN}))
"""Signals of the first process that are for the command; they are blocked until it is there."""
IGNORED = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP, _signal.SIGQUIT, _signal.SIGPIPE, _signal.SIGXFSZ)
"""Signals that the helper ignores, and no command; it has set all others to what they do by default."""
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126
_SETPCAP = capabilities.mask(("SETPCAP",))


def become(
    container: dict[str, Any],
    channel: _socket.socket,
    streams: tuple[int, int, int],
    root: int,
    who: users.ExecUser,
    waiting: int,
    user_namespace: int,
    lent: tuple[int, ...] = (),
) -> NoReturn:
    """Execute the command in the root that the descriptor `root` is, once the pipe `waiting` says that it may begin.

    It has the descriptors `lent` as 5 and up. Never returns; what stands in the way goes over `channel`.
    """
    try:
        if user_namespace != -1:
            with Doing("entering the user namespace"):
                idmap.enter(user_namespace)
            # Here the mounts are a copy, and the descriptor leads to the original.
            root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            if container["joinable"]:
                mounted = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
                tell(channel, ("namespaces",), user_namespace, mounted)
        with Doing(f"working directory {container['cwd']}"):
            enter_directory(root, container["cwd"])
        arrange_descriptors(streams, channel.detach(), waiting, *lent)
        channel, waiting = _socket.socket(fileno=3), 4
        for number in range(len(lent)):
            os.set_inheritable(5 + number, True)
        failed = announce(channel) if container["joinable"] else -1
        begin_session(container)
        environment = environment_of(container, who)
        if not os.read(waiting, 1):  # who watches is gone
            os._exit(125)
        for limit in container["rlimits"]:
            set_limit(*limit)
        with Doing("giving up privileges"):
            drop_privileges(container, who)
            if "filter_of_tracer" in container:
                process.set_seccomp_filter(container["filter_of_tracer"])
        execute(container, environment, failed)
    except Exception as error:  # noqa: BLE001 (the edge of this process: whoever waits must hear of it)
        report(channel, error)
    finally:
        os._exit(125)


def enter_directory(root: int, path: str, *, make: bool = True) -> None:
    """Enter a directory of a root, which no link of /proc leads out of. One that is missing is made, as by runc.

    Root looks for it: a directory that only root may enter can be where a user's command begins, as with docker.
    """
    try:
        here = openat2(root, path, os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        if not make:
            raise
        _make_directories(root, path)
        here = openat2(root, path, os.O_PATH | os.O_DIRECTORY)
    os.fchdir(here)
    os.close(here)
    if not os.getcwd().startswith("/"):
        raise FileNotFoundError(errno.ENOENT, "lies outside of the container", path)


def _make_directories(root: int, path: str) -> None:
    """Make a directory and those above it, each from a descriptor of the one that it lies in."""
    above = "/"
    for name in filter(None, path.split("/")):
        parent = openat2(root, above, os.O_PATH | os.O_DIRECTORY)
        try:
            os.mkdir(name, 0o755, dir_fd=parent)
        except FileExistsError:
            pass
        finally:
            os.close(parent)
        above += f"{name}/"


def nameless(streams: tuple[int, ...], *, terminal: bool) -> tuple[int, ...]:
    """Give those of a command's streams that it may own: pipes that have no name on the machine, its own terminal."""
    found = [
        stream
        for stream in {*streams}
        if terminal or (stat.S_ISFIFO(os.fstat(stream).st_mode) and _is_pipe(f"/proc/self/fd/{stream}"))
    ]
    return tuple(found)


def _is_pipe(path: str) -> bool:
    return os.readlink(path).startswith("pipe:")


def give(streams: tuple[int, ...], uid: int, gid: int = -1) -> None:
    """Let the command's user own them, so that it can open /dev/stdout, as runtimes do; -1 leaves the group.

    What belongs to somebody who does not exist in our user namespace stays his.
    """
    for stream in streams:
        if os.fstat(stream).st_uid != uid:
            try:
                os.fchown(stream, uid, gid)
            except OSError as error:
                if error.errno not in {errno.EPERM, errno.EINVAL}:
                    raise RefusedError("giving the command its standard streams", error.strerror or "") from None


def arrange_descriptors(streams: tuple[int, ...], *others: int) -> None:
    """Leave nothing open but 0, 1, 2 and, until an exec, the others as 3, 4 and so on."""
    high = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 10) for one in (*streams, *others)]
    for number, descriptor in enumerate(high):
        os.dup2(descriptor, number, inheritable=number < len(streams))
    process.close_range(len(high))


def announce(channel: _socket.socket) -> int:
    """Say that the command is about to be executed; gives a pipe that is closed by that, for why it could not be."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    tell(channel, ("executing",), reading)
    os.close(reading)
    return writing


def environment_of(container: dict[str, Any], who: users.ExecUser) -> dict[str, str]:
    """Give a command's variables."""
    environment = dict(entry.partition("=")[::2] for entry in container["env"])
    environment.setdefault("HOME", who.home)
    return environment


def begin_session(container: dict[str, Any]) -> None:
    """Let go of what commands do not take over from who started them."""
    os.setsid()
    for number in IGNORED:  # which would outlive the exec
        _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, [])
    if container["tty"]:
        fcntl.ioctl(0, _TIOCSCTTY, 0)
    os.umask(container["umask"])


def execute(container: dict[str, Any], environment: dict[str, str], failed: int) -> NoReturn:
    """Execute the command; why that cannot be is said on 2, and to the pipe `failed`."""
    try:
        _exec(container["argv"], environment)
    except OSError as error:
        name = container["argv"][0]
        status, why = explain(error, name, there=os.path.exists(name))
        name = "".join(filter(str.isprintable, container["argv"][0]))  # an image's, and this may be a terminal
        said = f"{name}: {why}".encode()
        os.write(2, b"pybuild: " + said + b"\n")
        _signal.signal(_signal.SIGPIPE, _signal.SIG_IGN)
        try:
            if failed != -1:
                os.write(failed, bytes([status]) + said)
        except BrokenPipeError:  # who started it does not wait for that
            os._exit(status)
        os._exit(status)


def drop_privileges(container: dict[str, Any], who: users.ExecUser) -> None:
    """Become the command's user, with no more rights than are the container's."""
    wanted: int = container["capabilities"]
    if not container["plain"] or process.capget()[0] & _SETPCAP:
        process.limit_bounding_set(wanted)
    process.clear_ambient_capabilities()
    if container["no_new_privileges"]:
        process.set_no_new_privileges()
    filtered = bool(container["seccomp"])
    if filtered and not container["no_new_privileges"]:  # which takes the privilege that is given up below
        process.set_seccomp_filter(container["seccomp"])
    if container["keep_user"]:
        _give_up_capabilities(container, wanted)
        return
    if container["keep_groups"] and (who.uid or who.gid):
        why = f"only root exists here, not {who.uid}:{who.gid}: there are no subordinate ids"
        raise RefusedError("USER", why, errno.EINVAL)
    # The user's own group is among them: who gives it up does not get past files that it is kept from (CVE-2022-36109).
    groups = tuple(dict.fromkeys((who.gid, *who.groups)))
    most = os.sysconf("SC_NGROUPS_MAX")
    if len(groups) > most:
        why = f"the image's /etc/group has {who.name or who.uid} in {len(groups)} groups, and Linux allows {most}"
        raise RefusedError("USER", why, errno.E2BIG)
    try:
        if not container["keep_groups"]:
            os.setgroups(groups)
        os.setresgid(who.gid, who.gid, who.gid)
        os.setresuid(who.uid, who.uid, who.uid)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        why = f"{who.uid}:{who.gid}, or a group of that user, does not exist here: there are not so many ids"
        raise RefusedError("USER", why, errno.EINVAL) from None
    _give_up_capabilities(container, wanted)


def _give_up_capabilities(container: dict[str, Any], wanted: int) -> None:
    _, permitted, _ = process.capget()
    process.capset(permitted & wanted, permitted & wanted, 0)
    if container["seccomp"] and container["no_new_privileges"]:
        process.set_seccomp_filter(container["seccomp"])


def _exec(argv: tuple[str, ...], environment: dict[str, str]) -> NoReturn:
    """Execute as execvpe does, with the container's PATH. Raises the OSError that says most."""
    name = argv[0]
    if "/" in name:
        os.execve(name, argv, environment)  # noqa: S606
    worst: OSError = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    for directory in environment["PATH"].split(":"):
        try:
            os.execve(f"{directory or '.'}/{name}", argv, environment)  # noqa: S606
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            if error.errno not in {errno.EACCES, errno.EPERM}:
                raise
            worst = error
    raise worst


def explain(error: OSError, name: str, *, there: bool) -> tuple[int, str]:
    """Give the status of a command that could not be executed, and why; whether there is a file of that name."""
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        if "/" not in name:
            return _NOT_FOUND, "command not found"
        if there:
            return _NOT_FOUND, "its interpreter or dynamic loader does not exist"
        return _NOT_FOUND, "no such file"
    if error.errno == errno.ENOEXEC:
        return _NOT_EXECUTABLE, "not in a format this machine can execute (for another architecture?)"
    return _NOT_EXECUTABLE, error.strerror or str(error)
