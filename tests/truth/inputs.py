"""What a history is made of: builds with all that they are made from, and what may happen to the store between them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class File(NamedTuple):
    """A file of a build context. Its time lies where times count as arbitrary."""

    data: str = ""
    mode: int = 0o644
    mtime: int = 1_420_000_000
    xattr: str = ""


class Dir(NamedTuple):
    """A directory whose mode is said."""

    mode: int = 0o755


class Link(NamedTuple):
    """A symbolic link."""

    target: str


class Member(NamedTuple):
    """A member of an archive; a directory where its name ends so, a hard link where `link` is given."""

    name: str
    data: str = ""
    mode: int = 0o644
    owner: int = 0
    mtime: int = 500_000_000
    link: str = ""


class Tar(NamedTuple):
    """A tar archive in a build context."""

    members: tuple[Member, ...]
    mode: int = 0o644
    mtime: int = 1_420_000_000

    def to_bytes(self) -> bytes:
        """The same bytes for the same members."""
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for member in self.members:
                info = tarfile.TarInfo(member.name.rstrip("/"))
                info.mode, info.uid, info.gid, info.mtime = member.mode, member.owner, member.owner, member.mtime
                data = member.data.encode()
                if member.name.endswith("/"):
                    info.type, data = tarfile.DIRTYPE, b""
                elif member.link:
                    info.type, info.linkname, data = tarfile.LNKTYPE, member.link, b""
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return file.getvalue()


Node = File | Dir | Link | Tar

CONTEXT: Mapping[str, Node] = MappingProxyType(
    {
        "a": File("a"),
        "b": File("b", 0o755),
        "c.txt": File("c", 0o600),
        "dir": Dir(),
        "dir/x": File("x"),
        "dir/y.md": File("y"),
        "dir/sub": Dir(0o700),
        "dir/sub/z": File("z", xattr="note"),
        "empty": Dir(0o750),
        "link": Link("a"),
        "t.tar": Tar((Member("in/", mode=0o755), Member("in/f", "f", owner=7), Member("in/h", link="in/f"))),
    }
)
"""The context that edits start from."""


def lines(*text: str) -> str:
    """Join the lines of a build file."""
    return "".join(f"{line}\n" for line in text)


class Build(NamedTuple):
    """A build with all that it depends on.

    `text` is the build file, `files` the context; `base`, where given, is the build file of an image `onb` that is
    built first. `dates` are times which paths of the image must have.
    """

    text: str
    files: Mapping[str, Node] = CONTEXT
    args: Mapping[str, str] = MappingProxyType({})
    base: str = ""
    target: str = ""
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    epoch: int | None = None
    rewrite: bool = False
    dates: Mapping[str, int] = MappingProxyType({})

    @property
    def inputs(self) -> tuple[object, ...]:
        """All that the image may depend on, to be hashed and compared."""
        files = tuple(sorted(self.files.items(), key=lambda item: item[0]))
        return self.text, files, tuple(sorted(self.args.items())), self.base, self.target, self.epoch, self.rewrite


class Stop(NamedTuple):
    """A build that ends early: at its event number `after`, by an interruption, or where `kill` is set by kill(1)."""

    build: Build
    after: int
    kill: bool = False


class Prune(NamedTuple):
    """`pybuild prune`; with `everything` no image that was built keeps its name before."""

    everything: bool = False


class Move(NamedTuple):
    """A build that exports its cache; all that follows is done in another store, which imports it."""

    build: Build


Action = Build | Stop | Prune | Move


def source(actions: tuple[Action, ...]) -> str:
    """Write a history as Python that `play` understands."""
    return "play(\n" + "".join(f"    {_action(action)},\n" for action in actions) + ")"


def _action(action: Action) -> str:
    if isinstance(action, Stop):
        return f"Stop({_build(action.build)}, after={action.after}, kill={action.kill})"
    if isinstance(action, Move):
        return f"Move({_build(action.build)})"
    return repr(action) if isinstance(action, Prune) else _build(action)


def _build(build: Build) -> str:
    parts = [_lines(build.text)]
    if build.files != CONTEXT:
        kept = {path: node for path, node in build.files.items() if CONTEXT.get(path) != node}
        gone = sorted(CONTEXT.keys() - build.files.keys())
        parts.append(f"files=changed({kept!r}, {gone!r})" if gone else f"files=changed({kept!r})")
    if build.base:
        parts.append(f"base={_lines(build.base)}")
    parts += [
        f"{name}={dict(value) if isinstance(value, Mapping) else value!r}"
        for name, value in build._asdict().items()
        if name not in ("text", "files", "base") and value != Build._field_defaults[name]
    ]
    return f"Build({', '.join(parts)})"


def _lines(text: str) -> str:
    return f"lines({', '.join(map(repr, text.splitlines()))})"


def changed(nodes: Mapping[str, Node], gone: tuple[str, ...] | list[str] = ()) -> Mapping[str, Node]:
    """Give the context with some nodes put in and some taken out."""
    return {path: node for path, node in {**CONTEXT, **nodes}.items() if path not in gone}
