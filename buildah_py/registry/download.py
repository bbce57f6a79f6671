"""A blob as a stream: verified while it is read, fetched on from where a connection was cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from buildah_py.errors import RegistryError
from buildah_py.image.numbers import decimal
from buildah_py.registry.answers import finish
from buildah_py.registry.pace import Pace
from buildah_py.registry.patience import Patience, Trouble

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from urllib3 import BaseHTTPResponse

    from buildah_py.image.descriptor import Descriptor
    from buildah_py.registry.session import Session

_PIECE: Final = 256 << 10


class BlobStream:
    """The bytes of a blob, in order. The last of them are not given before the digest is right.

    `sessions` are where the blob may be, in order; `urls` further addresses, which are asked without credentials.
    Errors are RegistryErrors that name the registry, the reference and the blob. To be used by one thread at a time.
    """

    def __init__(self, sessions: Sequence[Session], descriptor: Descriptor) -> None:
        import hashlib

        self.descriptor = descriptor
        self._sources = [(session, f"blobs/{descriptor.digest}") for session in sessions]
        self._sources += [(sessions[-1], url) for url in descriptor.urls]
        self._hash = hashlib.new(descriptor.digest.partition(":")[0])
        self._offset = 0
        self._response: BaseHTTPResponse | None = None
        self._done = False
        self._error: RegistryError | None = None
        self._open_next()

    def read(self, size: int = -1) -> bytes:
        """Read at most `size` bytes (all that are left, if it is negative); b"" is the verified end."""
        if size < 0:
            return b"".join(iter(lambda: self.read(_PIECE), b""))
        while not self._done and size:
            try:
                return self._take(min(size, _PIECE))
            except Trouble as trouble:
                self._drop()
                try:
                    self._patience.wait(trouble)
                    self._reopen()
                except RegistryError as error:
                    self._note(error)
                    self._open_next()
        return b""

    def close(self) -> None:
        """Be done, also before the end."""
        self._drop()
        self._done = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open_next(self) -> None:
        """Open, where the stream stands now, the next source that has the blob; else raise the registry's own error."""
        while self._sources:
            session, self._path = self._sources.pop(0)
            self._session = session.about(f"blob {self.descriptor.digest}")
            self._patience: Patience = self._session.patience()
            try:
                if "://" in self._path:  # what an image says of itself leads no further than a registry may
                    self._path = self._session.follow(self._session.base, self._path)
                self._reopen()
            except RegistryError as error:
                self._note(error)
            else:
                return
        assert self._error is not None
        raise self._error

    def _note(self, error: RegistryError) -> None:
        endpoint = self._session.endpoint
        if endpoint.is_mirror:
            self._session.server.is_down = not error.status
        if self._error is None or not (endpoint.is_mirror or "://" in self._path):
            self._error = error

    def _reopen(self) -> None:
        while self._response is None and not self._done:
            try:
                self._request()
            except Trouble as trouble:
                self._drop()
                self._patience.wait(trouble)

    def _request(self) -> None:
        """Ask for what is missing, and check what the registry announces."""
        size, offset = self.descriptor.size, self._offset
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        response = self._session.once("GET", self._path, headers=headers)
        if offset and response.status == 416 and offset == size:
            finish(response)
            self._finish()
            return
        if response.status not in (200, 206) or (response.status == 206 and not offset):
            raise self._session.failure(response)
        start = 0
        if response.status == 206:
            start = _start_of(response.headers.get("Content-Range") or "")
            if start != offset:
                response.close()
                raise self._session.wrong(f"was asked for the bytes from {offset} on, and gives those from {start} on")
        announced = response.headers.get("Content-Length") or ""
        if announced and decimal(announced) != size - start:
            response.close()
            raise self._session.wrong(f"announces {announced} bytes of it, where the manifest says {size - start}")
        self._response = response
        self._pace = Pace(response, self._session.endpoint.host, self._session.limits.silence)
        skip = offset - start
        while skip:  # a server that knows no ranges
            data = self._pace.read(min(skip, _PIECE))
            if not data:
                raise Trouble(f"{self._session.endpoint.host} ended it after {start + offset - skip} of {size} bytes")
            skip -= len(data)

    def _take(self, size: int) -> bytes:
        data = self._pace.read(size)
        wanted = self.descriptor.size - self._offset
        if len(data) > wanted:
            self._drop()
            raise self._session.wrong(f"gives more than the {self.descriptor.size} bytes that the manifest says")
        if data:
            self._hash.update(data)
            self._offset += len(data)
            self._patience.progressed(len(data))
            if self._offset == self.descriptor.size:
                self._check_end()
                self._finish()
            return data
        if wanted:
            host = self._session.endpoint.host
            raise Trouble(f"{host} ended it after {self._offset} of {self.descriptor.size} bytes")
        self._finish()
        return b""

    def _check_end(self) -> None:
        """See that nothing comes after the last byte."""
        if self._pace.read(1):
            self._drop()
            raise self._session.wrong(f"gives more than the {self.descriptor.size} bytes that the manifest says")

    def _finish(self) -> None:
        found = f"{self._hash.name}:{self._hash.hexdigest()}"
        self._done = True
        if self._response is not None:
            self._response.release_conn()
            self._response = None
        if found != self.descriptor.digest:
            raise self._session.wrong(
                f"gave other bytes: their digest is {found}",
                hint="the registry, or something on the way to it, is damaged; nothing of it was kept",
            )

    def _drop(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None


def _start_of(content_range: str) -> int:
    """Read where `bytes START-END/SIZE` starts; -1 for anything else."""
    unit, _, rest = content_range.strip().partition(" ")
    start = rest.partition("-")[0].strip()
    return decimal(start) if unit.lower() == "bytes" else -1


def exists(session: Session, digest: str, actions: str) -> bool:
    """Whether a repository has a blob."""
    session = session.about(f"blob {digest}")
    response = session.send("HEAD", f"blobs/{digest}", actions=actions)
    if response.status == 200:
        finish(response)
        return True
    if response.status == 404:
        finish(response)
        return False
    raise session.failure(response)
