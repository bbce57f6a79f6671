"""A blob as a stream: verified while it is read, fetched on from where a connection was cut, elsewhere if need be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.errors import RegistryError
from buildah_py.http.download import Download
from buildah_py.image.blob import VerifiedStream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildah_py.image.descriptor import Descriptor
    from buildah_py.registry.session import Session


def open_blob(sessions: Sequence[Session], descriptor: Descriptor) -> VerifiedStream:
    """Open a blob. `sessions` are where it may be, in order; its `urls` are asked too, without credentials.

    Errors, of reading too, are RegistryErrors that name the registry, the reference and the blob.
    """
    source = _Source(sessions, descriptor)
    return VerifiedStream(source, descriptor.digest, descriptor.size, source.damaged)


def exists(session: Session, digest: str, actions: str) -> bool:
    """Whether a repository has a blob."""
    session = session.about(f"blob {digest}")
    response = session.send("HEAD", f"blobs/{digest}", actions=actions)
    if response.status not in (200, 404):
        raise session.failure(response)
    response.finish()
    return response.status == 200


class _Source:
    """The bytes of a blob: where one place gives up, the next one goes on from there."""

    def __init__(self, sessions: Sequence[Session], descriptor: Descriptor) -> None:
        self._descriptor = descriptor
        self._places = [(session, f"blobs/{descriptor.digest}") for session in sessions]
        self._places += [(sessions[-1], url) for url in descriptor.urls]
        self._offset = 0
        self._error: RegistryError | None = None
        self._open_next()

    def read(self, size: int, /) -> bytes:
        while True:
            try:
                data = self._download.read(size)
            except RegistryError as error:
                self._note(error)
                self._open_next()
            else:
                self._offset += len(data)
                return data

    def close(self) -> None:
        self._download.close()

    def damaged(self, text: str) -> RegistryError:
        """Make the error for bytes that are not the blob's."""
        return RegistryError(
            f"{self._session.what} from {self._session.endpoint.host} {text}",
            hint="the registry, or something on the way to it, is damaged; nothing of it was kept",
        )

    def _open_next(self) -> None:
        """Open, where the stream stands now, the next place that has the blob; else raise the registry's own error."""
        while self._places:
            session, self._path = self._places.pop(0)
            self._session = session = session.about(f"blob {self._descriptor.digest}")
            try:
                if "://" in self._path:  # what an image says of itself leads no further than a registry may
                    self._path = session.follow(session.base, self._path)
                self._download = self._begin(session, self._path)
                self._download.open()
            except RegistryError as error:
                self._note(error)
            else:
                return
        assert self._error is not None
        raise self._error

    def _begin(self, session: Session, path: str) -> Download:
        return Download(
            lambda headers: session.once("GET", path, headers=headers),
            session.retries(),
            session.failure,
            session.wrong,
            self._descriptor.size,
            self._offset,
        )

    def _note(self, error: RegistryError) -> None:
        endpoint = self._session.endpoint
        if endpoint.is_mirror:
            self._session.server.is_down = not error.status
        if self._error is None or not (endpoint.is_mirror or "://" in self._path):
            self._error = error
