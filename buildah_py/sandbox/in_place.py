"""In place: commands run in the root that this process has itself, which is given the files of the image.

As kaniko does it, for containers in which neither namespaces nor mounts are allowed. The root is one, so that commands
run one after the other. Mounts of the container around, this program's own directory and what it keeps stay, and are
in no image. Nobody is to lose files by that: it has to be asked for, and the program has to lie apart from
what an image may bring (`executor_image`).
"""

from __future__ import annotations

import fcntl
import marshal
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from buildah_py.errors import SandboxError
from buildah_py.frozen import replace
from buildah_py.linux import process
from buildah_py.linux.identity import has_single_id, uses_userxattr
from buildah_py.sandbox import resolver
from buildah_py.sandbox.journal import Journal
from buildah_py.sandbox.lending import Lending, source_of
from buildah_py.sandbox.operations import BindMount, StubFile
from buildah_py.sandbox.picture import look
from buildah_py.sandbox.place import ROOT_AROUND, Shortfall
from buildah_py.sandbox.replaceable import ASIDE, OF_IMAGES, program_directory, refuse_where_impossible
from buildah_py.sandbox.rungs import IN_PLACE
from buildah_py.sandbox.working_root import WorkingRoot

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from buildah_py.sandbox.picture import Look
    from buildah_py.sandbox.spec import ContainerSpec

_RECORD: Final = f"{ASIDE}/record"
_JOURNAL: Final = f"{ASIDE}/journal"
INTERRUPTED: Final = (
    "an earlier command in this root was interrupted: what it had been lent was taken back, and the root is filled anew"
)
_RESOLVER: Final = f"{ASIDE}/resolv.conf"
_FOUND: Final = f"{ASIDE}/found"
_OF_RUNTIMES: Final = ("/proc", "/dev", "/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
"""Places of which no container shows what the image has there."""
_HOSTS: Final = "/etc/hosts"
_OF_EACH: Final = (_HOSTS, "/etc/hostname", "/etc/resolv.conf")
"""Files that each command has of its own; runtimes mount them."""
_NOT_KEPT: Final = {"/etc/hosts": "--add-host adds lines", "/etc/resolv.conf": "--dns names servers"}


class InPlace:
    """The root `/`, for one command at a time. All at the paths `left` stays; cache mounts lie in `caches`."""

    shortfall: Shortfall = ROOT_AROUND

    def __init__(self, left: Sequence[str], environ: Mapping[str, str], caches: str) -> None:
        program = program_directory()
        places = refuse_where_impossible(left, environ)
        self._busy = threading.Lock()
        self._warnings: list[str] = []
        self._lock = _lock()
        process.set_dumpable(False)  # commands may have this process's user
        self._caches = caches
        self._journal = Journal(_JOURNAL, os.path.dirname(caches))
        places |= _found_at_first(places)
        own = (*_OF_RUNTIMES, program or "/proc", os.path.dirname(caches), ASIDE)
        self._foreign = [one for one in sorted(places) if not _is_below(one, own)]
        self._root = WorkingRoot(
            "/", places, covered=_OF_RUNTIMES, userxattr=uses_userxattr(), owners=not has_single_id()
        )
        self._keep_resolver()
        if self._journal.recover():
            self._warnings.append(INTERRUPTED)
        self._recall()

    def _keep_resolver(self) -> None:
        """Keep the machine's name servers, before an image's file takes the place of theirs."""
        if not os.path.exists(_RESOLVER) and os.path.isfile("/etc/resolv.conf"):
            with open(_RESOLVER, "wb") as target:
                target.write(_read("/etc/resolv.conf"))

    def _recall(self) -> None:
        """Take over what the last one knew of the root; it is gone from the disk until this one ends in order."""
        try:
            with open(_RECORD, "rb") as file:
                known = marshal.load(file)  # noqa: S302 - ours, in a directory of ours
        except (FileNotFoundError, ValueError, EOFError, TypeError):
            return
        finally:
            with suppress(FileNotFoundError):
                os.unlink(_RECORD)
        self._root.remember(*known)

    def enter(self, container: ContainerSpec) -> Entered:
        """Have the root hold what a container shall see, once no other command is in it."""
        self._busy.acquire()
        try:
            entered = Entered(self._root, container, self._lending(container), self)
        except BaseException:
            self.leave()
            raise
        return entered

    def leave(self) -> None:
        """Let the next command in."""
        self._busy.release()

    def warnings(self) -> list[str]:
        """Give what is to be said with the next command, once."""
        said, self._warnings = self._warnings, []
        return said

    def looks(self) -> dict[str, Look]:
        """Look at what lies at the places that are somebody else's, and at files that each command has of its own."""
        found = {}
        for path in (*self._foreign, *_NOT_KEPT):
            with suppress(OSError):  # it has been replaced by something else, or removed
                found[path] = look(os.lstat(path))
        return found

    def _lending(self, container: ContainerSpec) -> Lending:
        if self._root.is_left(container.cwd.strip("/")) and not _is_below(container.cwd, _OF_RUNTIMES):
            raise SandboxError(
                f"the working directory {container.cwd} is left alone in place: nothing that is written there would be "
                "in the image",
                hint="mount the context, or whatever it is here, elsewhere",
            )
        for operation in container.mounts:
            if isinstance(operation, BindMount) and not self._root.is_left(source_of(operation).strip("/")):
                raise SandboxError(
                    f"{source_of(operation)} would be replaced by the image: it lies where images have files",
                    hint="mount it, or put it into a directory of its own at the top of the root",
                )
        self._root.show(container.lowers, os.stat(container.upper))
        lending = Lending(self._root, container.init, ASIDE, self._journal, self._caches)
        try:
            for path, content in self._own_files(container):
                if not self._root.is_left(path[1:]):
                    lending.lend_file(path, content)
            hostname = StubFile("/etc/hostname", f"{container.hostname}\n".encode())
            lending.lend([*container.mounts, hostname])
            lending.finish()
            self._root.settle(f"{ASIDE}/clock", lending.last)
        except BaseException:
            lending.take_back()
            raise
        return lending

    def _own_files(self, container: ContainerSpec) -> Iterator[tuple[str, bytes]]:
        yield "/etc/hosts", resolver.hosts_file(container.hostname, container.add_hosts)
        names = container.dns, container.dns_search, container.dns_options
        yield "/etc/resolv.conf", resolver.resolver_file(*names, host=True, path=_RESOLVER)

    def close(self) -> None:
        """Remember what the root holds for the next one."""
        known = None if self._busy.locked() else self._root.known()  # else a command has not been left
        if known is not None:
            with open(f"{_RECORD}.new", "wb") as file:
                marshal.dump(known, file)
            os.replace(f"{_RECORD}.new", _RECORD)
        self._root.close()
        os.close(self._lock)


def _found_at_first(places: Collection[str]) -> set[str]:
    """Give what somebody had put at the top of the root before the first command ran here, and is in no image."""
    try:
        with open(_FOUND, encoding="utf-8", errors="surrogateescape") as file:
            return {*file.read().split("\0")} - {""}
    except FileNotFoundError:
        pass
    found = {
        f"/{entry.name}"
        for entry in os.scandir("/")
        if entry.name not in OF_IMAGES and not (entry.is_dir(follow_symlinks=False) and not os.listdir(entry.path))
    }
    found -= {*places}
    with open(_FOUND, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write("\0".join(sorted(found)))
    return found


def recover(caches: str) -> bool:
    """Put back what an interrupted command was lent, caches among them; whether there was anything.

    Nothing is done while another program works in this root.
    """
    if not os.path.exists(_JOURNAL):
        return False
    try:
        held = _lock()
    except SandboxError:
        return False
    try:
        return Journal(_JOURNAL, os.path.dirname(caches)).recover()
    finally:
        os.close(held)


def _lock() -> int:
    """Have the root for this process; gives the descriptor that holds it. Raises SandboxError."""
    try:
        with suppress(FileExistsError):
            os.mkdir(ASIDE, 0o700)
    except OSError as error:
        raise SandboxError(
            f"--isolation={IN_PLACE} cannot write to this root: {error.strerror}",
            hint="`readOnlyRootFilesystem: false` of a pod's securityContext allows it",
        ) from None
    directory = os.open(ASIDE, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(directory)
        raise SandboxError(
            "another pybuild works in place in this root", hint="there is one root: wait for its end"
        ) from None
    return directory


def _is_below(path: str, places: Iterable[str]) -> bool:
    return any(f"{path}/".startswith(f"{one}/") for one in places)


class Entered:
    """The root while one command has it."""

    path = "/"
    keep_user = False

    def __init__(self, root: WorkingRoot, container: ContainerSpec, lending: Lending, keeper: InPlace) -> None:
        self.container = replace(container, mounts=())
        self.warnings = keeper.warnings()
        self._root = root
        self._lending = lending
        self._keeper = keeper
        self._collected = False
        self._own = {path: _read(path) for path in _OF_EACH if root.is_left(path[1:]) and os.path.isfile(path)}
        if container.add_hosts and _HOSTS in self._own:
            lines = "".join(f"{address}\t{name}\n" for name, address in container.add_hosts)
            _rewrite(_HOSTS, self._own[_HOSTS] + lines.encode())
        self._looked_at = keeper.looks()

    def collect(self) -> None:
        """Put what the command has changed into the container's upper directory."""
        self._root.collect(self.container.upper, self._lending.targets)
        self._collected = True
        looks = self._keeper.looks()
        for path in sorted(path for path, seen in self._looked_at.items() if looks.get(path) != seen):
            if path in _NOT_KEPT:
                why = f"each container gets its own; {_NOT_KEPT[path]}"
                self.warnings.append(f"what the step did to {path} is not kept: {why}")
            else:
                self.warnings.append(
                    f"{path} was changed while the step ran: in place it is left alone, and in no image"
                )
        self._lending.check()

    def leave(self) -> None:
        """Take back what the command was lent, and let the next one in."""
        try:
            if not self._collected:
                self._root.look_again()
            for path, content in self._own.items():  # mounts of the container around, which the next command sees too
                if _read(path) != content:
                    _rewrite(path, content)
            self._lending.take_back()
        except BaseException:
            self._root.forget()
            raise
        finally:
            self._keeper.leave()


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _rewrite(path: str, content: bytes) -> None:
    """Give a file another content where it is, as a mount cannot be replaced."""
    with open(path, "r+b") as file:
        file.write(content)
        file.truncate()
