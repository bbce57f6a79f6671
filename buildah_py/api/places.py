"""Paths on this machine that a build is told of, which nobody may take for files of an image."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildah_py.api.request import BuildRequest


def places_of(request: BuildRequest) -> tuple[str, ...]:
    """Give the absolute paths of contexts, outputs, secrets, caches and credentials of a build.

    They need not be there yet.
    """
    environ = request.environ
    found = {os.path.abspath(word) for word in _words(request) if _is_path(word)}
    found |= set(request.left)
    found.add(os.path.abspath(environ.get("DOCKER_CONFIG") or os.path.join(environ.get("HOME") or "/", ".docker")))
    if environ.get("TMPDIR", "").startswith("/"):
        found.add(os.path.abspath(environ["TMPDIR"]))
    return tuple(sorted(found - {"/"}))


def _is_path(word: str) -> bool:
    """Tell a path from the other words of options: it is absolute, or something is there."""
    return bool(word) and "\0" not in word and (word.startswith("/") or os.path.exists(word))


def _words(request: BuildRequest) -> Iterator[str]:
    yield from filter(None, (request.context, request.file, request.source_policy, request.record))
    yield from (path for path, _, _ in request.container.volumes)
    given = (request.contexts, request.secrets, request.ssh, request.outputs.specs)
    for texts in (*given, request.caching.to, request.caching.from_, request.caching.mounts):
        for text in texts:
            for part in text.split(","):
                yield part.partition("=")[2] or part
