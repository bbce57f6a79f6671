"""The build contexts of a build: opened when a step first asks, with what was known of their files before."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final

from buildah_py.errors import SourceError, UsageError
from buildah_py.frozen import dataclass
from buildah_py.image.reference import LAYOUT
from buildah_py.layers.limits import DEFAULT_LIMITS, ArchiveLimits
from buildah_py.sources.directory import DirectoryContext
from buildah_py.sources.find import find_ignore
from buildah_py.sources.reach import NOWHERE
from buildah_py.sources.stat_cache import StatCache
from buildah_py.sources.urls import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from buildah_py.buildfile.ignore import IgnorePatterns
    from buildah_py.buildfile.named import NamedContext
    from buildah_py.contexts.main import MainContext
    from buildah_py.sources.reach import Reach
    from buildah_py.store import Store

MODES: Final = ("exact", "git")


def parse_contexts(specs: Iterable[str]) -> dict[str, NamedContext]:
    """Read `--build-context NAME=VALUE`s; by their keys. Raises UsageError."""
    if not specs:
        return {}
    from buildah_py.sources.named import parse_named

    found: dict[str, NamedContext] = {}
    for spec in specs:
        named = parse_named(spec)
        if named.kind == "layout":  # an image too, only from elsewhere
            named = named._replace(kind="image", location=f"{LAYOUT}{os.path.abspath(named.location)}")
        if found.setdefault(named.key, named) != named:
            raise UsageError(
                f"--build-context {redact(spec)}: {named.key} is {redact(found[named.key].location)} already",
                hint="give each name once; `x`, `x:latest` and `docker.io/library/x` are one name",
            )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextOptions:
    """How contexts are looked at: `modes` are `exact`, `git`, or "" for what the configuration says, else exact.

    `ignore_file` is read in place of those of the main context. `local_redirects` is that of `Reach`. `most` bounds the
    bytes of an archive or of what is fetched, 0 for the usual bound.
    """

    modes: str = ""
    ignore_file: str = ""
    local_redirects: bool = False
    most: int = 0

    def limits(self) -> ArchiveLimits:
        """How much an archive, or what is fetched, may hold."""
        size = self.most or DEFAULT_LIMITS.size
        return DEFAULT_LIMITS._replace(size=size, hint="--max-layer-size=SIZE allows more")


class Contexts:
    """The contexts of a build: the main one and the `named` ones; `reach` is for those from elsewhere."""

    def __init__(
        self,
        main: MainContext,
        options: ContextOptions,
        store: Store,
        named: Mapping[str, NamedContext],
        reach: Reach = NOWHERE,
        warn: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._main = main
        self._options = options
        self._store = store
        self._named = named
        self._reach = reach
        self._warn = warn
        self._opened: dict[str, tuple[DirectoryContext, StatCache | None]] = {}
        self._opening = threading.Lock()

    def open(self, name: str) -> DirectoryContext:
        """Give the context of that name, opened once; "" is the main one. Raises SourceError, NotFound."""
        with self._opening:  # which may take as long as another machine likes; nothing else waits for it
            if name not in self._opened:
                self._opened[name] = self._find(name)
            return self._opened[name][0]

    def _find(self, name: str) -> tuple[DirectoryContext, StatCache | None]:
        if not name:
            main = self._main
            return self._open(main.directory, main.ignore(self._options.ignore_file), "the build context", main.remote)
        named = self._named[name]
        shown = f"the context {named.name}"
        if named.kind == "directory":
            return self._open(named.location, find_ignore(named.location), shown)
        directory = self._fetched(named)
        return self._open(directory, find_ignore(directory, inside=True), shown, remote=True)

    def _open(
        self, directory: str, ignore: IgnorePatterns | None, shown: str, remote: bool = False
    ) -> tuple[DirectoryContext, StatCache | None]:
        # Remote files lie elsewhere the next time: there is nothing to remember of them.
        known = None if remote else StatCache.of(self._store.path("stat-cache"), directory)
        git_modes = self._options.modes == "git"
        return DirectoryContext(directory, ignore, known, name=shown, git_modes=git_modes), known

    def _fetched(self, named: NamedContext) -> str:
        """Fetch a git repository, or an archive from a web server; the directory that it is in now."""
        from buildah_py.contexts import remote

        if named.kind == "git":
            return remote.from_git(self._store, named.location, self._reach).path
        arrived = remote.from_web(self._store, named.location, self._reach, self._warn)
        if arrived.build_file is not None:
            raise SourceError(
                f"{redact(named.location)} is not an archive",
                hint="a further context from a web server is a tar archive",
            )
        return arrived.directory

    def opened(self) -> list[DirectoryContext]:
        """Give those that are open."""
        with self._opening:
            return [context for context, _ in self._opened.values()]

    def refresh(self) -> None:
        """Have those that are open look at their files again."""
        with self._opening:
            for context, _ in self._opened.values():
                context.refresh()

    def close(self) -> None:
        """Close them, and keep what is known now."""
        for context, known in self._opened.values():
            context.close()
            if known is not None:
                known.save()
        self._opened.clear()
