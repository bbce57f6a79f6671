"""The life of a container's first process: namespaces, mounts, the command, and reaping until nothing is left.

Runs in the child that the helper forks, as process 1 of a new pid namespace. Until the command is executed, what it has
to say goes over `channel` as marshalled tuples: ("terminal",) and ("root",) with a descriptor, ("error", what, why,
errno). From then on it holds nothing but a pipe for one ENDED record, and is confined (`confine.py`): a command may get
at it.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` itself takes 3 ms for its enums
import _socket
import errno
import fcntl
import os
import resource
import stat
import struct
import sys

from buildah_py.errors import NotFound
from buildah_py.image import users
from buildah_py.linux import keys, mounts, namespaces, process
from buildah_py.linux.mounts import MOUNT_ATTR_RDONLY
from buildah_py.linux.paths import openat2, read_regular
from buildah_py.sandbox import confine, idmap, wire
from buildah_py.sandbox.initlayer import InitLayer
from buildah_py.sandbox.netns import loopback_up, open_to_all_users
from buildah_py.sandbox.operations import Operation, StubFile, from_wire
from buildah_py.sandbox.overlay import overlay
from buildah_py.sandbox.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

ENDED = struct.Struct("=IIQQQ")
"""Status, signal, microseconds as user and in the kernel, bytes of the largest process."""

_TIOCSCTTY = 0x540E
_FORWARDED = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGCONT", "SIGALRM")
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126


class RefusedError(Exception):
    """Something a container needs was refused; `what` was being done, `why` it failed."""

    def __init__(self, what: str, why: str, number: int = 0) -> None:
        super().__init__(what, why, number)
        self.what = what
        self.why = why
        self.number = number


class Step:
    """Names what is being done, so that an OSError within becomes a RefusedError that says so."""

    __slots__ = ("what",)

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            where = f": {error.filename}" if error.filename else ""
            raise RefusedError(self.what, f"{error.strerror}{where}", error.errno or 0) from None


def main(
    container: dict[str, Any],
    channel: _socket.socket,
    streams: tuple[int, int, int],
    network: int,
    given: tuple[int, ...],
    result: int,
    user_namespace: int = -1,
) -> NoReturn:
    """Be process 1 of a container, which writes how the command ended to `result`; never returns."""
    try:
        _run(container, channel, streams, network, given, result, user_namespace)
    except RefusedError as refused:
        _tell(channel, ("error", refused.what, refused.why, refused.number))
    except Exception as error:  # noqa: BLE001 (the edge of this process: whoever waits must hear of it)
        _tell(channel, ("error", "internal error", f"{type(error).__name__}: {error}", 0))
    finally:
        os._exit(125)


def _tell(channel: _socket.socket, message: tuple[Any, ...], *descriptors: int) -> None:
    if not wire.send(channel, message, descriptors):
        os._exit(125)


def _run(
    container: dict[str, Any],
    channel: _socket.socket,
    streams: tuple[int, int, int],
    network: int,
    given: tuple[int, ...],
    result: int,
    user_namespace: int,
) -> None:
    if user_namespace != -1:
        idmap.make_files_as_root(*container["id_maps"])  # before what follows, which a change of ids undoes
    process.set_parent_death_signal(9)
    process.set_dumpable(False)
    # What comes before the command is there waits for it.
    _signal.pthread_sigmask(_signal.SIG_BLOCK, [getattr(_signal, name) for name in _FORWARDED])
    with Step("making a session keyring"):
        keys.join_new_session_keyring()
    root = Root(
        given,
        scratch=container["work"],
        unprivileged=container["unprivileged"],
        devices=container["devices"],
        user_namespace=user_namespace,
        id_maps=container["id_maps"],
    )
    operations = [from_wire(words) for words in container["operations"]]
    _prepare(operations, root, of_host=True)
    with Step("making namespaces"):
        _make_namespaces(container, network)
    if user_namespace != -1:
        with Step("mapping the ids of layers (--userns)"):
            paths = (*container["lowers"], container["upper"], container["work"], container["init"])
            idmap.map_directories(paths, user_namespace)
    _prepare(operations, root, of_host=False)
    who = _mount_all(container, root, operations)
    with Step("entering the new root"):
        _enter(root, pivot=container["isolation"] == "container")
    sys.meta_path.clear()  # whatever was imported from now on would be a file of the image
    if -1 in map(idmap.outside, container["id_maps"], (who.uid, who.gid)):
        raise RefusedError("USER", f"the container's user namespace has no {who.uid}:{who.gid} (--userns-uid-map)")
    if root.terminal is not None:
        master, slave = root.terminal
        _tell(channel, ("terminal",), master)
        os.close(master)
        streams = (slave, slave, slave)
    streams = tuple(root.null if stream == -1 else stream for stream in streams)  # type: ignore[assignment]
    _reset_limits(container["usual_rlimits"])
    _raise_hard_limits(container["rlimits"])
    _give_streams(streams, idmap.outside(container["id_maps"][0], who.uid), container["tty"])
    _tell(channel, ("root",), root.descriptor)  # whoever wants the layer makes it read-only in the end
    waiting, confined = os.pipe2(os.O_CLOEXEC)
    command = os.fork()
    if command == 0:
        try:
            os.close(confined)
            if user_namespace != -1:
                with Step("entering the user namespace"):
                    idmap.enter(user_namespace)
            with Step(f"working directory {container['cwd']}"):
                _enter_working_directory(root, container["cwd"], user_namespace != -1)
            channel, waiting = _arrange_descriptors(streams, channel, waiting)
            _become_command(container, who, waiting)
        except RefusedError as refused:
            _tell(channel, ("error", refused.what, refused.why, refused.number))
        except Exception as error:  # noqa: BLE001 (as above)
            _tell(channel, ("error", "internal error", f"{type(error).__name__}: {error}", 0))
        finally:
            os._exit(125)
    os.dup2(result, 0, inheritable=False)
    os.dup2(confined, 1, inheritable=False)
    process.close_range(2)
    _pass_signals_on(command)
    confine.confine(container["seccomp_of_first"])
    os.write(1, b"1")
    os.close(1)
    _reap(command)


def _enter_working_directory(root: Root, path: str, copied: bool) -> None:
    """Enter a directory of the new root, which no link of /proc leads out of. One that is missing is made, as by runc.

    Root looks for it: a directory that only root may enter can be where a user's command begins, as with docker.
    """
    # In a user namespace the mounts are a copy, and the descriptor leads to the original.
    start = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) if copied else root.descriptor
    try:
        here = openat2(start, path, os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        _make_directories(start, path)
        here = openat2(start, path, os.O_PATH | os.O_DIRECTORY)
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


def _reset_limits(limits: tuple[tuple[str, int, int], ...]) -> None:
    """Set limits of the caller's to the usual ones, or as near to these as this process may."""
    for name, soft, hard in limits:
        kind = getattr(resource, name)
        try:
            resource.setrlimit(kind, (soft, hard))
        except (ValueError, OSError):  # an ordinary user may not raise the hard limit
            most = resource.getrlimit(kind)[1]
            if most != resource.RLIM_INFINITY:
                hard = most if hard == resource.RLIM_INFINITY else min(hard, most)
                soft = most if soft == resource.RLIM_INFINITY else min(soft, most)
            resource.setrlimit(kind, (soft, hard))


def _raise_hard_limits(limits: tuple[tuple[str, int, int], ...]) -> None:
    """Allow the limits that were asked for, as is privileged; they are set last, for they may leave no descriptor."""
    for name, _, hard in limits:
        kind = getattr(resource, name)
        soft, most = resource.getrlimit(kind)
        if most != resource.RLIM_INFINITY and (hard == resource.RLIM_INFINITY or hard > most):
            _set_limit(name, soft, hard)


def _set_limit(name: str, soft: int, hard: int) -> None:
    kind = getattr(resource, name)
    try:
        resource.setrlimit(kind, (soft, hard))
    except (ValueError, OSError) as error:  # the former is what Python makes of EPERM and EINVAL
        value, most = (
            "unlimited" if one == resource.RLIM_INFINITY else one for one in (hard, resource.getrlimit(kind)[1])
        )
        raise RefusedError(f"setting the limit {name} to {value}", f"{error}; it is {most} here") from None


def _give_streams(streams: tuple[int, ...], uid: int, terminal: bool) -> None:
    """Let the command's user own its pipes and its own terminal, so that it can open /dev/stdout, as runtimes do.

    Nothing that has a name on the machine is given away, and what belongs to somebody who does not exist in our user
    namespace stays his.
    """
    for stream in {*streams}:
        kind = os.fstat(stream)
        pipe = stat.S_ISFIFO(kind.st_mode) and os.readlink(f"/proc/self/fd/{stream}").startswith("pipe:")
        if kind.st_uid != uid and (pipe or terminal):
            try:
                os.fchown(stream, uid, -1)
            except OSError as error:
                if error.errno not in {errno.EPERM, errno.EINVAL}:
                    raise RefusedError("giving the command its standard streams", error.strerror or "") from None


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
            with Step(operation.describe()):
                operation.prepare(root)


def _mount_all(container: dict[str, Any], root: Root, operations: list[Operation]) -> users.User:
    """Make the root; gives who the command runs as, looked up before anything but layers is mounted."""
    lowers: tuple[str, ...] = container["lowers"]
    init: str = container["init"]
    chain = -1
    if lowers:
        with Step(f"reading the {len(lowers)} layers below"):
            chain = overlay(lowers, "", "", root, anchor=container["work"])
    layer = InitLayer(init, chain)
    for path, content in container["files"]:
        with Step(f"making {path}"):
            layer.add_file(path, content)
    for operation in operations:
        if operation.target and not isinstance(operation, StubFile):
            with Step(f"making the mount target {operation.target}"):
                operation.target = layer.add(operation.target, operation.directory)
    _check_targets(operations)
    for operation in operations:
        if isinstance(operation, StubFile):
            with Step(operation.describe()):
                layer.add_stub(operation.target, operation.content)
    layer.close()
    if chain != -1:
        os.close(chain)
    with Step(f"mounting the root of {len(lowers)} layers"):
        root.descriptor = overlay((init, *lowers), container["upper"], container["work"], root, anchor=init)
        if container["readonly"]:
            mounts.mount_setattr(root.descriptor, "", MOUNT_ATTR_RDONLY)
        mounts.move_mount(root.descriptor, mounts.AT_FDCWD, init)
    who = _user(root, container["user"])
    for operation in operations:
        with Step(operation.describe()):
            operation.execute(root)
    return who


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


def _user(root: Root, user: str) -> users.User:
    with Step("looking up USER"):
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
    # What a user namespace inherits is locked and cannot be taken away one by one.
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
    return [_unescape(place)[1:] for place in found]


def _unescape(path: bytes) -> bytes:
    """Undo what /proc does to blanks, tabs, newlines and backslashes."""
    for code in (b"\\040", b"\\011", b"\\012", b"\\134"):
        path = path.replace(code, bytes([int(code[1:], 8)]))
    return path


def _arrange_descriptors(
    streams: tuple[int, int, int], channel: _socket.socket, waiting: int
) -> tuple[_socket.socket, int]:
    """Leave nothing open but 0, 1, 2 and, until the exec, the channel and the pipe; gives these two."""
    high = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 10) for one in (*streams, channel.detach(), waiting)]
    for number, descriptor in enumerate(high):
        os.dup2(descriptor, number, inheritable=number < len(streams))
    process.close_range(len(high))
    return _socket.socket(fileno=3), 4


def _become_command(container: dict[str, Any], who: users.User, waiting: int) -> None:
    os.setsid()
    for name in (*_FORWARDED, "SIGPIPE", "SIGXFSZ"):  # Python and we ignore some; that would outlive the exec
        _signal.signal(getattr(_signal, name), _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, [])
    if container["tty"]:
        fcntl.ioctl(0, _TIOCSCTTY, 0)
    os.umask(container["umask"])
    environment = dict(entry.partition("=")[::2] for entry in container["env"])
    environment.setdefault("PATH", DEFAULT_PATH)
    environment.setdefault("HOME", who.home)
    if not os.read(waiting, 1):  # process 1 is gone
        os._exit(125)
    for limit in container["rlimits"]:
        _set_limit(*limit)
    with Step("giving up privileges"):
        _drop_privileges(container, who)
    try:
        _exec(container["argv"], environment)
    except OSError as error:
        status, why = _explain(error, container["argv"][0])
        name = "".join(filter(str.isprintable, container["argv"][0]))  # an image's, and this may be a terminal
        os.write(2, f"pybuild: {name}: {why}\n".encode())
        os._exit(status)


def _drop_privileges(container: dict[str, Any], who: users.User) -> None:
    wanted: int = container["capabilities"]
    process.limit_bounding_set(wanted)
    process.clear_ambient_capabilities()
    if container["no_new_privileges"]:
        process.set_no_new_privileges()
    filtered = bool(container["seccomp"])
    if filtered and not container["no_new_privileges"]:  # which takes the privilege that is given up below
        process.set_seccomp_filter(container["seccomp"])
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
    _, permitted, _ = process.capget()
    process.capset(permitted & wanted, permitted & wanted, 0)
    if filtered and container["no_new_privileges"]:
        process.set_seccomp_filter(container["seccomp"])


def _exec(argv: tuple[str, ...], environment: dict[str, str]) -> None:
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


def _explain(error: OSError, name: str) -> tuple[int, str]:
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        if "/" not in name:
            return _NOT_FOUND, "command not found"
        if os.path.exists(name):
            return _NOT_FOUND, "its interpreter or dynamic loader does not exist"
        return _NOT_FOUND, "no such file"
    if error.errno == errno.ENOEXEC:
        return _NOT_EXECUTABLE, "not in a format this machine can execute (for another architecture?)"
    return _NOT_EXECUTABLE, error.strerror or str(error)


def _pass_signals_on(command: int) -> None:
    def forward(number: int, _frame: object) -> None:
        try:
            os.kill(command, number)
        except ProcessLookupError:
            return

    for name in _FORWARDED:
        _signal.signal(getattr(_signal, name), forward)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, [])


def _reap(command: int) -> None:
    result = -1
    while result == -1:
        pid, status = os.waitpid(-1, 0)
        if pid == command:
            result = status
    try:
        os.kill(-1, 9)
    except ProcessLookupError:  # nothing is left
        alive = False
    else:
        alive = True
    while alive:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            alive = False
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    killed = os.WTERMSIG(result) if os.WIFSIGNALED(result) else 0
    status = 128 + killed if killed else os.WEXITSTATUS(result)
    times = (round(seconds * 1_000_000) for seconds in (used.ru_utime, used.ru_stime))
    os.write(0, ENDED.pack(status, killed, *times, used.ru_maxrss * 1024))
    os._exit(0)
