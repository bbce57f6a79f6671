"""The build contexts of a build: opened when a step first asks, with what was known of their files before."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.errors import SourceError, UsageError
from buildah_py.sources.directory import DirectoryContext
from buildah_py.sources.find import find_ignore
from buildah_py.sources.stat_cache import StatCache

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from buildah_py.engine.workshop import Context
    from buildah_py.sources.named import NamedContext
    from buildah_py.store import Store


def parse_contexts(specs: Iterable[str]) -> dict[str, NamedContext]:
    """Read `--build-context NAME=VALUE`s. Raises UsageError."""
    if not specs:
        return {}
    from buildah_py.sources.named import parse_named

    found = {}
    for spec in specs:
        named = parse_named(spec)
        if named.kind == "layout":
            raise UsageError(
                f"--build-context {spec}: OCI layouts are not supported yet",
                hint="skopeo can make an archive to import",
            )
        found[named.name] = named
    return found


class Contexts:
    """The main context, a directory, and the `named` ones. `build_file` is the build file's path ("" for none), beside
    which an ignore file of its own may lie.
    """

    def __init__(self, directory: str, build_file: str, store: Store, named: Mapping[str, NamedContext]) -> None:
        self._directory = directory
        self._build_file = build_file
        self._store = store
        self._named = named
        self._opened: list[tuple[DirectoryContext, StatCache]] = []

    def open(self, name: str) -> Context:
        """Open the context of that name; "" is the main one. Raises SourceError, NotFound."""
        if not name:
            return self._open(self._directory, self._build_file, "the build context")
        named = self._named[name]
        shown = f"the context {name}"
        if named.kind == "directory":
            return self._open(named.location, "", shown)
        return DirectoryContext(self._fetched(named), name=shown)

    def _open(self, directory: str, build_file: str, shown: str) -> DirectoryContext:
        ignore = find_ignore(directory, build_file or None)
        known = StatCache.of(self._store.path("stat-cache"), directory)
        context = DirectoryContext(directory, ignore, known, name=shown)
        self._opened.append((context, known))
        return context

    def _fetched(self, named: NamedContext) -> str:
        """Fetch a git repository, or an archive from a web server; the directory that it is in now."""
        destination = os.path.join(self._store.stage(), "context")
        os.mkdir(destination)
        if named.kind == "git":
            from buildah_py.sources import git, git_url

            source = git_url.parse(named.location)
            with self._store.lock(f"git {source.remote}"):
                return git.checkout(source, self._store.path("git"), destination).path
        from buildah_py.errors import ArchiveError
        from buildah_py.sources import http
        from buildah_py.sources.stream import unpack_context
        from buildah_py.sources.urls import redact

        fetched = http.fetch(named.location, self._store.path("fetched"))
        try:
            with open(fetched.path, "rb") as file:
                unpack_context(file, destination)
        except ArchiveError as error:
            raise SourceError(
                f"{redact(named.location)}: {error.message}", hint="a context from there is an archive"
            ) from error
        return destination

    def close(self) -> None:
        """Close them, and keep what is known now."""
        for context, known in self._opened:
            context.close()
            known.save()
        self._opened.clear()
