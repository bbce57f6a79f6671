"""Look through the files of an image for packages: inventories tell where to look, and few files are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from buildah_py.attest import system_packages as system
from buildah_py.attest.packages import Candidate, System, Unread
from buildah_py.errors import PybuildError
from buildah_py.layers.entry import FILE
from buildah_py.outputs.walk import walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from buildah_py.attest.packages import Package
    from buildah_py.layers.tree import Tree

    Catalogue = Callable[[Candidate], Iterator[Package]]

_MOST_UNREAD = 100


class Scanned(NamedTuple):
    """Findings in an image: its distribution, its packages, each once, and what tells of some and was not read.

    `paths` has where each package was found, by its package URL.
    """

    system: System
    packages: tuple[Package, ...]
    paths: dict[str, list[str]]
    unread: tuple[str, ...]


def scan(tree: Tree, check: Callable[[], object] = lambda: None) -> Scanned:
    """Find all packages that the files of a tree tell of, sorted. `check` is called between files."""
    own = _system(tree)
    packages: dict[str, Package] = {}
    paths: dict[str, list[str]] = {}
    unread: list[str] = []
    for entry, before in walk(tree):
        if not before or entry.kind != FILE or not entry.size:
            continue
        catalogue = _catalogue(entry.path, entry.mode, entry.size)
        if catalogue is None:
            continue
        check()
        try:
            for package in catalogue(Candidate(tree, entry, own)):
                packages.setdefault(package.purl, package)
                found = paths.setdefault(package.purl, [])
                if package.path not in found:
                    found.append(package.path)
        except Unread as one:
            unread.append(str(one))
    ordered = sorted(packages.values(), key=lambda one: (one.kind, one.name, one.version, one.purl))
    if len(unread) > _MOST_UNREAD:
        unread[_MOST_UNREAD:] = [f"and {len(unread) - _MOST_UNREAD} files more"]
    return Scanned(own, tuple(ordered), paths, tuple(unread))


def _catalogue(path: str, mode: int, size: int) -> Catalogue | None:
    """Return what reads a file, None for one that tells of no packages."""
    if system.is_dpkg(path):
        return system.dpkg
    if path in system.APK:
        return system.apk
    if path in system.RPM:
        return system.rpm
    from buildah_py.attest import go_binary, language_packages

    for fits, catalogue in (
        (language_packages.is_python, language_packages.python),
        (language_packages.is_node, language_packages.node),
        (language_packages.is_java, language_packages.java),
    ):
        if fits(path):
            return catalogue
    return go_binary.go if go_binary.may_be_program(mode, size) else None


def _system(tree: Tree) -> System:
    from buildah_py.layers.tree import resolve

    for path in system.OS_RELEASE:
        try:
            entry = tree.entry(resolve(tree, path))
        except PybuildError:  # a link that leads nowhere
            continue
        if entry is not None and entry.kind == FILE:
            return system.read_os_release(Candidate(tree, entry, System()).read(1 << 16))
    return System()
