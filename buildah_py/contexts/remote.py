"""Contexts from elsewhere, brought to this machine: git repositories, archives from web servers, standard input."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NamedTuple

from buildah_py import meter
from buildah_py.errors import ArchiveError, SourceError
from buildah_py.layers.entry import SECOND
from buildah_py.sources.urls import redact

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildah_py.sources.git import Checkout
    from buildah_py.sources.http import Fetched
    from buildah_py.sources.reach import Reach
    from buildah_py.store import Store

    Warn = Callable[[str], object]


class RemoteContext(NamedTuple):
    """A context that came: a directory of its own, or a lone build file, beside which the directory is empty.

    `time` is when it was last changed, as a web server said, in seconds since 1970; 0 where none did.
    """

    directory: str
    build_file: bytes | None
    time: int = 0


def _room(store: Store) -> str:
    directory = os.path.join(store.stage(), "context")
    os.mkdir(directory)
    return directory


def empty(store: Store) -> str:
    """Give a directory in which nothing is, for as long as this process uses the store."""
    return _room(store)


def from_stdin(store: Store, reach: Reach, warn: Warn = lambda _: None) -> RemoteContext:
    """Take a context from standard input. Raises SourceError, ArchiveError."""
    from buildah_py.sources.stream import DescriptorStream, read_stream

    directory = _room(store)
    try:
        return RemoteContext(
            directory, read_stream(DescriptorStream(sys.stdin.fileno()), directory, warn=warn, limits=reach.limits)
        )
    except ArchiveError as error:
        error.message = f"the context from standard input: {error.message}"
        raise


def from_git(store: Store, url: str, reach: Reach, *, keep_git_dir: bool = False) -> Checkout:
    """Check out a repository that the user named, with his own access to it. Raises NotFound, SourceError."""
    from buildah_py.sources import git, git_url

    url = reach.git(url)
    source = git_url.parse(url)
    with meter.start(f"fetching {redact(url)}", waits=True):
        checkout = git.checkout(
            source,
            store.path("git"),
            _room(store),
            keep_git_dir=keep_git_dir,
            authorization=git.authorization_from(reach.secret, source.remote),
            lock=lambda name: store.lock(f"git {name}", reach.cancelled),
            local_redirects=reach.local_redirects,
            own_access=True,
            agent=reach.agent,
            cancelled=reach.cancelled,
        )
    reach.used(url, checkout.commit)
    return checkout


def fetch(store: Store, url: str, reach: Reach) -> Fetched:
    """Fetch a file from a web server, or find it unchanged in the store. Raises SourceError."""
    from buildah_py.sources import http

    url, checksum = reach.http(url)
    fetched = http.fetch(url, store.path("fetched"), reach, checksum=checksum)
    reach.used(url, fetched.digest)
    return fetched


def from_web(store: Store, url: str, reach: Reach, warn: Warn = lambda _: None) -> RemoteContext:
    """Fetch an archive, or a lone build file. Raises SourceError."""
    from buildah_py.sources.stream import read_stream

    fetched = fetch(store, url, reach)
    directory = _room(store)
    try:
        with open(fetched.path, "rb") as file:
            lone = read_stream(file, directory, name=redact(url), warn=warn, limits=reach.limits)
        return RemoteContext(directory, lone, fetched.mtime // SECOND)
    except ArchiveError as error:
        raise SourceError(f"{redact(url)}: {error.message}", hint=error.hint) from error
