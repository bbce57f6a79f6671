"""In place: commands run in the root that this process has itself, which is given the files of the image.

As kaniko does it, for containers in which neither namespaces nor mounts are allowed. The root is one, so that commands
run one after the other. What the container around has mounted, where this program lies and what it keeps stay as they
are, and are in no image. Nobody is to lose files by that: it has to be asked for, and the program has to lie apart from
what an image may bring (`executor_image`).
"""

from __future__ import annotations

import fcntl
import marshal
import os
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from buildah_py.errors import SandboxError
from buildah_py.frozen import replace
from buildah_py.linux import mounts, process
from buildah_py.linux.identity import has_single_id, uses_userxattr
from buildah_py.linux.interpreter import own_path
from buildah_py.linux.mount_points import mount_points
from buildah_py.sandbox import resolver
from buildah_py.sandbox.lending import Journal, Lending
from buildah_py.sandbox.picture import look
from buildah_py.sandbox.place import ROOT_AROUND, Shortfall
from buildah_py.sandbox.rungs import IN_PLACE
from buildah_py.sandbox.working_root import WorkingRoot

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from buildah_py.sandbox.picture import Look
    from buildah_py.sandbox.spec import ContainerSpec

WORD: Final = "PYBUILD_IN_PLACE"
WORDS: Final = "this-root-may-be-replaced"
ASIDE: Final = "/.pybuild"
"""Directory for what a command is not to see meanwhile; nobody but root may enter it."""
_OF_IMAGES: Final = frozenset(
    [
        "bin",
        "boot",
        "dev",
        "etc",
        "home",
        "lib",
        "lib32",
        "lib64",
        "libx32",
        "media",
        "mnt",
        "opt",
        "proc",
        "root",
        "run",
        "sbin",
        "srv",
        "sys",
        "tmp",
        "usr",
        "var",
    ]
)
_INITS: Final = ("systemd", "init")
_OVERLAY: Final = 0x794C7630
_MARKS: Final = ("/.dockerenv", "/run/.containerenv")
_NOT_KEPT: Final = {"etc/hosts": "--add-host adds lines", "etc/resolv.conf": "--dns names servers"}


class InPlace:
    """The root `/`, for one command at a time. State lies in `directory`; what lies at the paths `left` stays."""

    shortfall: Shortfall = ROOT_AROUND

    def __init__(self, directory: str, left: Sequence[str], environ: Mapping[str, str]) -> None:
        program = program_directory()
        places = {*mount_points(), *left, *([program] if program else [])}
        refuse_where_not_asked(environ, places)
        self._busy = threading.Lock()
        self._warnings: list[str] = []
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self._lock = os.open(f"{directory}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise SandboxError(
                "another pybuild works in place in this root", hint="there is one root: wait for its end"
            ) from None
        process.set_dumpable(False)  # commands may have this process's user
        self._record = f"{directory}/record"
        self._journal = Journal(f"{directory}/journal")
        self._caches = f"{os.path.dirname(os.path.dirname(directory))}/cache-mounts"
        self._root = WorkingRoot("/", {*places, ASIDE}, userxattr=uses_userxattr(), owners=not has_single_id())
        if self._journal.recover():
            self._warnings.append(
                "an earlier command in this root was interrupted: what it had been lent was taken back, and the root "
                "is filled anew"
            )
        with suppress(FileExistsError):
            os.mkdir(ASIDE, 0o700)
        self._recall()

    def _recall(self) -> None:
        """Take over what the last one knew of the root; it is gone from the disk until this one ends in order."""
        try:
            with open(self._record, "rb") as file:
                known = marshal.load(file)  # noqa: S302 - ours, in a directory of ours
        except (FileNotFoundError, ValueError, EOFError, TypeError):
            return
        os.unlink(self._record)
        self._root.remember(*known)

    def enter(self, container: ContainerSpec) -> Entered:
        """Have the root hold what a container shall see, once no other command is in it."""
        self._busy.acquire()
        try:
            entered = Entered(self._root, container, self._lending(container), self._busy.release, self._warnings)
        except BaseException:
            self._busy.release()
            raise
        self._warnings = []
        return entered

    def _lending(self, container: ContainerSpec) -> Lending:
        self._root.show(container.lowers, os.stat(container.upper))
        lending = Lending(self._root, container.init, ASIDE, self._journal, self._caches)
        try:
            host = container.network == "host"
            names = container.dns, container.dns_search, container.dns_options
            own = {
                "/etc/hosts": resolver.hosts_file(container.hostname, container.add_hosts),
                "/etc/resolv.conf": resolver.resolver_file(*names, host=host),
            }
            for path, content in own.items():
                if not self._root.is_left(path[1:]):
                    lending.lend_file(path, content)
                elif path == "/etc/hosts" and container.add_hosts:
                    self._warnings.append(
                        "--add-host adds nothing in place: /etc/hosts is a mount of the container around"
                    )
            lending.lend(container.mounts)
            lending.finish()
            self._root.settle(f"{ASIDE}/clock")
        except BaseException:
            lending.take_back()
            raise
        return lending

    def close(self) -> None:
        """Remember what the root holds for the next one."""
        known = self._root.known()
        if known is not None:
            with open(f"{self._record}.new", "wb") as file:
                marshal.dump(known, file)
            os.replace(f"{self._record}.new", self._record)
        self._root.close()
        with suppress(OSError):  # something is kept aside that could not be put back
            os.rmdir(ASIDE)
        os.close(self._lock)


class Entered:
    """The root while one command has it."""

    path = "/"
    keep_user = False

    def __init__(
        self,
        root: WorkingRoot,
        container: ContainerSpec,
        lending: Lending,
        done: Callable[[], None],
        warnings: Sequence[str],
    ) -> None:
        self.container = replace(container, mounts=())
        self.warnings = [*warnings]
        self._root = root
        self._lending = lending
        self._done = done
        self._collected = False
        self._looked_at = self._looks()

    def collect(self) -> None:
        """Put what the command has changed into the container's upper directory."""
        self._root.collect(self.container.upper, self._lending.targets)
        self._collected = True
        looks = self._looks()
        for path, instead in _NOT_KEPT.items():
            if looks.get(path) != self._looked_at.get(path):
                self.warnings.append(
                    f"what the step did to /{path} is not kept: each container gets its own; {instead}"
                )

    def leave(self) -> None:
        """Take back what the command was lent, and let the next one in."""
        try:
            if not self._collected:
                self._root.look_again()
            self._lending.take_back()
        except BaseException:
            self._root.forget()
            raise
        finally:
            self._done()

    def _looks(self) -> dict[str, Look]:
        """Look at the files that are lent to each command."""
        found = {}
        for path in _NOT_KEPT:
            with suppress(OSError):  # it has been replaced by something else, or removed
                found[path] = look(os.lstat(f"/{path}"))
        return found if not all(map(self._root.is_left, _NOT_KEPT)) else {}


def program_directory() -> str:
    """Give the directory that holds all of this program where an image brings nothing; "" where there is none."""
    top = os.path.realpath(sys.prefix).split("/")[1]
    return f"/{top}" if top and top not in _OF_IMAGES else ""


def files_in_use() -> set[str]:
    """List the files that this process runs from, and the directories that it takes modules from."""
    found = {os.path.realpath(path) for path in (*own_path(), sys.executable)}
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            path = line.rstrip("\n").partition("/")
            if path[1] and not path[2].endswith("(deleted)"):
                found.add(f"/{path[2]}")
    return found


def refuse_where_not_asked(environ: Mapping[str, str], places: Collection[str]) -> None:
    """Raise SandboxError where the root may be somebody's, or where this program would go with its files."""
    asked = environ.get(WORD) == WORDS
    if not asked and (why := _somebodys(environ)):
        raise SandboxError(
            f"--isolation={IN_PLACE} replaces all files of this root, and {why}",
            hint=f"use it in a container that is made for it; {WORD}={WORDS} says that this one is",
        )
    lost = sorted(path for path in files_in_use() if not any(f"{path}/".startswith(f"{one}/") for one in places))
    if lost:
        raise SandboxError(
            f"--isolation={IN_PLACE} replaces all files of this root, and this program needs {lost[0]}",
            hint="`pybuild executor-image` makes an image in which it lies apart",
        )
    for path in places:
        if (
            path.count("/") == 1
            and path[1:] in _OF_IMAGES - {"dev", "proc", "sys", "run"}
            and not os.path.ismount(path)
        ):
            raise SandboxError(
                f"--isolation={IN_PLACE} leaves {path} as it is, which images have as well",
                hint="put contexts, outputs and the state into directories of their own, or below a mount",
            )


def _somebodys(environ: Mapping[str, str]) -> str:
    """Say why this may be somebody's machine; "" where it is a container."""
    with open("/proc/1/comm", encoding="utf-8", errors="replace") as file:
        first = file.read().strip()
    if first in _INITS:
        return f"its process 1 is {first}, as on a machine"
    marked = any(map(os.path.exists, _MARKS)) or any(
        environ.get(one) for one in ("KUBERNETES_SERVICE_HOST", "container")
    )
    if not marked and mounts.file_system_type("/") != _OVERLAY:
        return "nothing shows that this is a container"
    return ""
