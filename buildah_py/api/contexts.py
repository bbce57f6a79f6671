"""The build contexts of a build: opened when a step first asks, with what was known of their files before."""

from __future__ import annotations

from buildah_py.sources.directory import DirectoryContext
from buildah_py.sources.find import find_ignore
from buildah_py.sources.stat_cache import StatCache


class Contexts:
    """The main context, a directory. `build_file` is the build file's path ("" for none), beside which an ignore file
    of its own may lie; `cache_dir` keeps digests of files from build to build.
    """

    def __init__(self, directory: str, build_file: str, cache_dir: str) -> None:
        self._directory = directory
        self._build_file = build_file
        self._cache_dir = cache_dir
        self._opened: list[tuple[DirectoryContext, StatCache]] = []

    def open(self, name: str) -> DirectoryContext:
        """Open the context of that name; "" is the main one."""
        assert not name, name
        ignore = find_ignore(self._directory, self._build_file or None)
        known = StatCache.of(self._cache_dir, self._directory)
        context = DirectoryContext(self._directory, ignore, known)
        self._opened.append((context, known))
        return context

    def close(self) -> None:
        """Close them, and keep what is known now."""
        for context, known in self._opened:
            context.close()
            known.save()
        self._opened.clear()
