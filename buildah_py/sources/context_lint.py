"""Files that a whole context should not bring into an image: version control, installed packages, keys, sheer bulk."""

from __future__ import annotations

import os
import re
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.layers.entry import DIR, FILE

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from buildah_py.layers.entry import Entry
    from buildah_py.layers.tree import Tree

_DIRECTORIES: Final = {
    ".git": "git's own data",
    ".hg": "Mercurial's own data",
    ".svn": "Subversion's own data",
    "node_modules": "installed Node packages",
    ".terraform": "Terraform's working data",
    ".tox": "tox's virtual environments",
    ".nox": "nox's virtual environments",
}
_SECRETS: Final = {
    ".netrc": "passwords",
    ".pgpass": "passwords",
    ".git-credentials": "passwords",
    ".env": "settings that often hold passwords",
    ".vault-token": "a token",
}
_SECRET_PATHS: Final = {
    ".aws/credentials": "AWS keys",
    ".docker/config.json": "registry passwords",
    ".kube/config": "cluster credentials",
}
_KEY_NAMES: Final = ("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519")
_KEY_ENDINGS: Final = (".pem", ".key", ".p12", ".pfx", ".ppk")
_BINARY_KEYS: Final = (".p12", ".pfx")
_PATH: Final = attrgetter("path")  # quicker than a loop of our own
_SIZE: Final = attrgetter("size")
_LARGE: Final = 200_000_000
_MAX_LOOKS: Final = 200


_MAX_NAMED: Final = 4
_NAMES: Final = (*_DIRECTORIES, *_SECRETS, *_SECRET_PATHS, *_KEY_NAMES, "pyvenv.cfg")
_SUSPECT: Final = re.compile(f"(?:{'|'.join(map(re.escape, (*_NAMES, *_KEY_ENDINGS)))})\0")


class Finding(NamedTuple):
    """Something that should not be there: `path`, what it is, its bytes, and the line that would ignore it."""

    path: str
    what: str
    size: int
    ignore_line: str

    def message(self) -> str:
        """Say it in one line."""
        size = f", {_megabytes(self.size)}" if self.size >= 100_000 else ""
        return f"the context holds {self.path or 'a lot'} ({self.what}{size})"


def advice(tree: Tree, entries: Iterable[Entry], *, meant: Container[str], ignore: str) -> str:
    """Say in one sentence what a copy of `entries` has taken along that it hardly should have; empty for nothing.

    Paths in `meant` were named by whoever wrote the copy: that is on purpose. `ignore` is the ignore file to edit.
    """
    all_of_it = "" in meant
    findings = [one for one in inspect(tree, entries) if (one.path not in meant if one.path else all_of_it)]
    if not findings:
        return ""
    named = [f"{one.path} ({one.what})" if one.path else one.what for one in findings[:_MAX_NAMED]]
    more = f" and {len(findings) - _MAX_NAMED} more" if len(findings) > _MAX_NAMED else ""
    lines = [one.ignore_line for one in findings[:_MAX_NAMED] if one.path]
    way = (
        f"lines in {ignore} keep them out: {', '.join(lines)}" if lines else f"{ignore} can keep out what is not needed"
    )
    return f"the image takes along {', '.join(named)}{more}; {way}"


def inspect(tree: Tree, entries: Iterable[Entry]) -> list[Finding]:
    """Look through the entries of a whole context, parents first, for what an ignore file should keep out.

    Of the files, only the first bytes of what is named like a key are read.
    """
    entries = list(entries)
    if _SUSPECT.search("\0".join([*map(_PATH, entries), ""])) is None:
        return _large(entries)  # as most contexts are; the rest takes time
    found: dict[str, str] = {}
    sizes: dict[str, int] = {}
    secrets: list[Finding] = []
    looks = 0
    for entry in entries:
        path, kind = entry.path, entry.kind
        name = path.rpartition("/")[2]
        if kind == DIR:
            if name in _DIRECTORIES and not _inside(path, found):
                found[path] = _DIRECTORIES[name]
        elif kind == FILE:
            size = entry.size
            if name == "pyvenv.cfg" and "/" in path and not _inside(path, found):
                found[path.rpartition("/")[0]] = "a Python virtual environment"
            what = _SECRETS.get(name) or next(
                (what for end, what in _SECRET_PATHS.items() if path == end or path.endswith("/" + end)), ""
            )
            if not what and looks < _MAX_LOOKS and (name in _KEY_NAMES or name.endswith(_KEY_ENDINGS)):
                looks += 1
                what = "a private key" if name.endswith(_BINARY_KEYS) or _is_private_key(tree, path) else ""
            if what:
                secrets.append(Finding(path, what, size, path))
        if found:
            for above in _above(path):
                if above in found:
                    sizes[above] = sizes.get(above, 0) + entry.size
    findings = [one for one in secrets if not _inside(one.path, found)]
    findings += [Finding(path, what, sizes.get(path, 0), path) for path, what in found.items()]
    return [*_large(entries), *findings]


def _large(entries: Sequence[Entry]) -> list[Finding]:
    """Say what is the most of a large context."""
    total = sum(map(_SIZE, entries))
    if total < _LARGE:
        return []
    top: dict[str, int] = {}
    for path, size in zip(map(_PATH, entries), map(_SIZE, entries), strict=True):
        first = path.partition("/")[0]
        top[first] = top.get(first, 0) + size
    largest = sorted(top.items(), key=lambda item: -item[1])[:3]
    most = ", ".join(f"{name} {_megabytes(size)}" for name, size in largest if size >= 1_000_000)
    return [Finding("", f"{_megabytes(total)} in all: {most}", total, largest[0][0])]


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _inside(path: str, found: dict[str, str]) -> bool:
    return bool(found) and any(above in found for above in _above(path))


def _is_private_key(tree: Tree, path: str) -> bool:
    descriptor = tree.open(path)
    try:
        start = os.read(descriptor, 4096)
    finally:
        os.close(descriptor)
    return b"PRIVATE KEY" in start or start.startswith(b"PuTTY-User-Key-File")


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:.3g} MB"
