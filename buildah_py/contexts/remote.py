"""Contexts from elsewhere, brought to this machine: git repositories, archives of all kinds, standard input."""

from __future__ import annotations

import os
import sys
from hashlib import sha256
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

from buildah_py import meter
from buildah_py.errors import ArchiveError, NotFound, SourceError, UsageError
from buildah_py.image.numbers import decimal
from buildah_py.layers.entry import SECOND
from buildah_py.sources.urls import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from buildah_py.image.blob import Stream
    from buildah_py.sources.git import Checkout
    from buildah_py.sources.http import Fetched
    from buildah_py.sources.reach import Reach
    from buildah_py.store import Store

    Warn = Callable[[str], object]


_PIECE: Final = 1 << 20


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


def from_archive(store: Store, path: str, reach: Reach, warn: Warn = lambda _: None) -> RemoteContext:
    """Unpack an archive of this machine. Raises NotFound, SourceError."""
    try:
        with open(path, "rb") as file:
            return _unpacked(store, file, path, reach, warn)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"there is no archive {path}", hint="write it as tar:///PATH, or tar://stdin") from None
    except IsADirectoryError:
        raise SourceError(f"{path} is a directory, not an archive", hint=f"name it alone: {path}") from None
    except PermissionError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error


def from_bucket(
    store: Store, where: str, reach: Reach, warn: Warn = lambda _: None, environ: Mapping[str, str] = os.environ
) -> RemoteContext:
    """Fetch an archive, BUCKET/KEY, from an S3 endpoint. Raises UsageError, NotFound, SourceError.

    The endpoint is AWS's, or what S3_ENDPOINT or AWS's own variables name; S3_FORCE_PATH_STYLE as kaniko has it.
    """
    from buildah_py.http.aws import AccessKeys, region_of
    from buildah_py.http.retry import Waiter
    from buildah_py.http.s3 import Bucket, BucketPlace
    from buildah_py.http.service import Service
    from buildah_py.image.numbers import boolean

    shown = f"s3://{where}"
    bucket, _, key = where.partition("/")
    if not bucket or not key:
        raise UsageError(f"the context {shown} names no object", hint="write it as s3://BUCKET/KEY")
    named = ("S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    endpoint = next((environ[name] for name in named if environ.get(name)), "")
    said = boolean(environ.get("S3_FORCE_PATH_STYLE", "").lower())
    place = BucketPlace(bucket, region_of(environ), endpoint, bool(endpoint) if said is None else said)
    service = Service(shown, environ, SourceError, Waiter(reach.tell, reach.cancelled))
    opened = Bucket(place, service, AccessKeys(environ, service).get)
    url = opened.url(key)
    allowed, wanted = reach.http(url)
    if allowed != url:
        raise SourceError(f"{shown}: the source policy converts it, and an object of a bucket stays what it is")
    found = opened.request("HEAD", url)
    if found.status == 404:
        raise NotFound(f"there is no object {shown}", hint=f"is {place.url()} where it should be?")
    size = decimal(found.headers.get("Content-Length") or "")
    if found.status != 200 or size < 0:
        raise opened.refused(found, "HEAD", url)
    if size > reach.limits.size:
        raise SourceError(f"{shown} is larger than the allowed {reach.limits.size} bytes", hint=reach.limits.hint)
    with TemporaryFile(dir=store.stage()) as file:
        digest = _save(opened.download(url, size), file, shown, size)
        if wanted and wanted != digest:
            raise SourceError(f"{shown} has the digest {digest}, and the source policy wants {wanted}")
        file.seek(0)
        context = _unpacked(store, file, shown, reach, warn)
    reach.used(url, digest)
    return context


def _save(source: Stream, file: BinaryIO, shown: str, size: int) -> str:
    """Write a stream to a file; its digest."""
    hashed = sha256()
    try:
        with meter.start(f"downloading {shown}", size) as moved:
            while data := source.read(_PIECE):
                file.write(data)
                hashed.update(data)
                moved.add(len(data))
    finally:
        source.close()
    return f"sha256:{hashed.hexdigest()}"


def _unpacked(store: Store, file: BinaryIO, shown: str, reach: Reach, warn: Warn) -> RemoteContext:
    """Unpack an archive into a directory of its own."""
    from buildah_py.sources.stream import read_stream

    directory = _room(store)
    try:
        lone = read_stream(file, directory, name=shown, warn=warn, limits=reach.limits)
    except ArchiveError as error:
        raise SourceError(f"{shown}: {error.message}", hint=error.hint) from error
    if lone is not None:
        raise SourceError(f"{shown} is not a tar archive", hint="pack the context: tar -C DIRECTORY -czf FILE .")
    return RemoteContext(directory, None)


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
