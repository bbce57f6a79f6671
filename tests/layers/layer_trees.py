"""Trees to test with: random changes to a directory, what lstat shows of one, overlay mounts."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hypothesis import strategies as st

from buildah_py.layers.entry import DIR, FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from buildah_py.layers.tree import Tree

HOUR = 3600 * 1_000_000_000
FIRST_TIME = 1_600_000_000_123_456_789


class Seen(NamedTuple):
    """What a path is, comparable between file systems."""

    kind: int
    mode: int
    uid: int
    gid: int
    content: str
    device: int
    xattrs: tuple[tuple[str, bytes], ...]
    seconds: int
    first: str  # the first path of the same inode


def look(top: Path) -> dict[str, Seen]:
    """Read a directory: the oracle's side, made with nothing of the package."""
    seen: dict[str, Seen] = {}
    inodes: dict[tuple[int, int], str] = {}

    def visit(path: str) -> None:
        real = os.path.join(top, path) if path else str(top)
        status = os.lstat(real)
        kind = stat.S_IFMT(status.st_mode)
        content = ""
        if kind == stat.S_IFREG:
            content = hashlib.sha256(Path(real).read_bytes()).hexdigest()
        elif kind == stat.S_IFLNK:
            content = os.readlink(real)
        xattrs = tuple(
            (name, os.getxattr(real, name, follow_symlinks=False))
            for name in sorted(os.listxattr(real, follow_symlinks=False))
            if name == "security.capability" or (name.startswith("user.") and not name.startswith("user.overlay."))
        )
        first = inodes.setdefault((status.st_dev, status.st_ino), path) if kind != stat.S_IFDIR else path
        seen[path] = Seen(
            kind,
            status.st_mode & 0o7777,
            status.st_uid,
            status.st_gid,
            content,
            status.st_rdev,
            xattrs,
            0 if kind == stat.S_IFDIR else status.st_mtime_ns // 1_000_000_000,
            first,
        )
        if kind == stat.S_IFDIR:
            for name in sorted(os.listdir(real), key=os.fsencode):
                visit(f"{path}/{name}" if path else name)

    visit("")
    return seen


def ask(tree: Tree) -> dict[str, Seen]:
    """Read a Tree the same way."""
    seen: dict[str, Seen] = {}
    kinds = {
        "file": stat.S_IFREG,
        "dir": stat.S_IFDIR,
        "symlink": stat.S_IFLNK,
        "fifo": stat.S_IFIFO,
        "char": stat.S_IFCHR,
        "block": stat.S_IFBLK,
    }

    def visit(path: str) -> None:
        entry = tree.entry(path)
        assert entry is not None
        assert entry.path == path
        content = ""
        first = path
        if entry.kind == FILE:
            descriptor = tree.open(path)
            with open(descriptor, "rb") as file:
                content = hashlib.sha256(file.read()).hexdigest()
            assert tree.digest(path) == f"sha256:{content}" == entry.digest
            first = entry.link or path
        elif entry.kind == "symlink":
            content = entry.link
        seen[path] = Seen(
            kinds[entry.kind],
            entry.mode,
            entry.uid,
            entry.gid,
            content,
            os.makedev(*entry.device),
            entry.xattrs,
            0 if entry.kind == DIR else entry.mtime // 1_000_000_000,
            first,
        )
        if entry.kind == DIR:
            for name in tree.names(path):
                visit(f"{path}/{name}" if path else name)

    visit("")
    return seen


def as_asked(seen: dict[str, Seen]) -> dict[str, Seen]:
    """What a Tree can say of it: which paths are one inode only for regular files."""
    return {path: one if stat.S_ISREG(one.kind) else one._replace(first=path) for path, one in seen.items()}


@contextlib.contextmanager
def overlay(lowers: Sequence[Path], upper: Path | None, *, userxattr: bool = False) -> Iterator[Path]:
    """Mount lowers (top-most first) and an upper the way the sandbox does."""
    with tempfile.TemporaryDirectory(dir=lowers[0].parent) as name:
        merged, work = Path(name, "merged"), Path(name, "work")
        merged.mkdir()
        work.mkdir()
        if upper is None and len(lowers) == 1:
            empty = Path(name, "empty")
            empty.mkdir()
            shutil.copystat(lowers[0], empty)
            owner = lowers[0].stat()
            os.chown(empty, owner.st_uid, owner.st_gid)
            lowers = [empty, lowers[0]]
        options = "lowerdir=" + ":".join(map(str, lowers)) + ",index=off,metacopy=off"
        # The kernel takes no redirect_dir together with userxattr, which implies that nothing is redirected.
        options += ",userxattr" if userxattr else ",redirect_dir=off"
        if upper is not None:
            options += f",upperdir={upper},workdir={work}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(merged)], check=True)
        try:
            yield merged
        finally:
            subprocess.run(["umount", str(merged)], check=True)
            # The kernel leaves a directory in there that nobody may enter.
            shutil.rmtree(work)


Change = tuple[str, str, str, int]
NAMES = ["a", "b", "c.d", "é", os.fsdecode(b"\xff"), "n" * 60]
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map("/".join)
KINDS = [
    "write",
    "write",
    "write",
    "mkdir",
    "mkdir",
    "makedirs",
    "remove",
    "rmtree",
    "anew",
    "symlink",
    "link",
    "rename",
    "chmod",
    "chown",
    "xattr",
    "utime",
    "fifo",
    "device",
    "append_nothing",
    "sparse",
    "root_mode",
]
CHANGES = st.lists(st.tuples(st.sampled_from(KINDS), PATHS, PATHS, st.integers(0, 7)), max_size=25)


def change(top: Path, changes: Sequence[Change]) -> None:
    """Do to a directory what a step could; what cannot be done is left out, in every tree alike."""
    clock = FIRST_TIME
    for kind, first, second, number in changes:
        path, other = top / first, top / second
        clock += HOUR
        with contextlib.suppress(OSError):
            ACTIONS[kind](path, other, number)
            if os.path.lexists(path):
                os.utime(path, ns=(clock, clock), follow_symlinks=False)


def _must_be_regular(path: Path) -> None:
    """Fifos wait for a reader, and devices are the machine's own: never open those."""
    if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
        raise FileExistsError


def _write(path: Path, _: Path, number: int) -> None:
    _must_be_regular(path)
    path.write_bytes(b"x" * number * 300)


def _rename(path: Path, other: Path, _: int) -> None:
    path.rename(other)


def _link(path: Path, other: Path, _: int) -> None:
    os.link(path, other, follow_symlinks=False)


def _anew(path: Path, _: Path, number: int) -> None:
    if path.is_symlink() or not path.is_dir():
        raise NotADirectoryError  # rmtree would open it first, and a fifo then waits for a writer
    shutil.rmtree(path)
    path.mkdir()
    (path / NAMES[number % len(NAMES)]).write_bytes(b"anew")


def _chmod(path: Path, _: Path, number: int) -> None:
    if path.is_symlink():
        raise FileExistsError
    path.chmod([0o755, 0o700, 0o1777, 0o4755, 0o2711, 0o600, 0o644, 0o6711][number])


def _xattr(path: Path, _: Path, number: int) -> None:
    os.setxattr(path, f"user.{number}", bytes([number, 0, 255]), follow_symlinks=False)


def _utime(path: Path, _: Path, number: int) -> None:
    os.utime(path, (number, number), follow_symlinks=False)
    raise FileExistsError  # and keep that time


def _append_nothing(path: Path, _: Path, __: int) -> None:
    _must_be_regular(path)
    os.close(os.open(path, os.O_WRONLY | os.O_NOFOLLOW))
    raise FileExistsError  # copied up, and nothing else


def _sparse(path: Path, _: Path, number: int) -> None:
    _must_be_regular(path)
    with path.open("wb") as file:
        file.seek(number * 400_000)
        file.write(b"x")
        file.truncate(number * 500_000 + 1)


def _rmtree(path: Path, _: Path, __: int) -> None:
    if not path.is_dir():  # a fifo is opened for reading otherwise, which waits for ever
        raise NotADirectoryError
    shutil.rmtree(path)


def _root_mode(path: Path, _: Path, number: int) -> None:
    top = path
    while top.name != "merged":
        if top == top.parent:
            raise FileNotFoundError
        top = top.parent
    top.chmod([0o755, 0o555, 0o777, 0o1777, 0o755, 0o700, 0o711, 0o751][number])


ACTIONS: dict[str, Callable[[Path, Path, int], object]] = {
    "write": _write,
    "mkdir": lambda path, _, __: path.mkdir(),
    "makedirs": lambda path, _, __: path.mkdir(parents=True),
    "remove": lambda path, _, __: path.unlink(),
    "rmtree": _rmtree,
    "anew": _anew,
    "symlink": lambda path, other, _: path.symlink_to(other.name),
    "link": _link,
    "rename": _rename,
    "chmod": _chmod,
    "chown": lambda path, _, number: os.chown(path, number, number * 300_000, follow_symlinks=False),
    "xattr": _xattr,
    "utime": _utime,
    "fifo": lambda path, _, __: os.mkfifo(path),
    "device": lambda path, _, number: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(240, number + 1)),
    "append_nothing": _append_nothing,
    "sparse": _sparse,
    "root_mode": _root_mode,
}
