"""Contexts of several builds in one graph: equal ones are one, which is read once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildah_py.buildfile.named import NamedContext
    from buildah_py.contexts.main import MainContext
    from buildah_py.contexts.named import ContextOptions, Contexts
    from buildah_py.sources.directory import DirectoryContext


class SeveralContexts:
    """The contexts of several builds by the names that `add` gives them."""

    def __init__(self) -> None:
        self._builds: list[Contexts] = []
        self._known: dict[object, str] = {}
        self._places: dict[str, tuple[Contexts, str]] = {}

    def add(
        self,
        contexts: Contexts,
        main: MainContext,
        options: ContextOptions,
        named: Mapping[str, NamedContext],
    ) -> dict[str, str]:
        """Add those of a build; their names here by the names that they have there."""
        number = len(self._builds)
        self._builds.append(contexts)
        found: dict[str, str] = {}
        for name in ("", *named):
            identity = _main(main, options) if not name else _named(named[name], options)
            found[name] = self._known.setdefault(identity or (number, name), f"{number}:{name}")
            self._places.setdefault(found[name], (contexts, name))
        return found

    def open(self, name: str) -> DirectoryContext:
        """Give the context of that name, opened once. Raises SourceError, NotFound."""
        contexts, own = self._places[name]
        return contexts.open(own)

    def refresh(self) -> None:
        """Have those that are open look at their files again."""
        for contexts in self._builds:
            contexts.refresh()


def _main(main: MainContext, options: ContextOptions) -> object:
    """Give what main contexts have in common that hold the same; None for one that is like no other."""
    if main.lasting in (None, "-"):
        return None
    ignore = main.ignore(options.ignore_file)
    place = main.lasting if main.remote else os.path.realpath(main.directory)
    patterns = tuple((one.text, one.negated) for one in ignore.patterns) if ignore is not None else ()
    return "main", place, patterns, options.modes


def _named(named: NamedContext, options: ContextOptions) -> object:
    place = os.path.realpath(named.location) if named.kind == "directory" else named.location
    return named.kind, place, named.name, options.modes
