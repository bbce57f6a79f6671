"""Blobs as ByteStream carries them: read and written in pieces, and after a cut from where it was."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple

from buildah_py.errors import CacheError
from buildah_py.http.retry import RetryableError
from buildah_py.sharing.reapi import messages
from buildah_py.sharing.reapi.faults import ALREADY_EXISTS, NOT_FOUND, UNIMPLEMENTED, Refused
from buildah_py.sharing.reapi.messages import classes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from buildah_py.sharing.backend import Open
    from buildah_py.sharing.reapi.calls import Answers, Calls

    _Read = Callable[[int], bytes]

_PIECE: Final = 1 << 18
_WINDOW: Final = 1 << 27
"""Bytes of the largest window of zstd that is read."""
_EMPTY: Final = 1000
"""So many messages without data in a row are no progress."""


class Resource(NamedTuple):
    """A blob's name in a server: the digits of its SHA-256, and its size. `zstd` says how it is carried."""

    hash: str
    size: int
    zstd: bool = False

    @property
    def path(self) -> str:
        """The end of the names of its resources."""
        return f"{'compressed-blobs/zstd' if self.zstd else 'blobs'}/{self.hash}/{self.size}"


class BlobReading:
    """The bytes of a blob, as a stream; what they are is not known. To be used by one thread at a time."""

    def __init__(self, calls: Calls, blob: Resource) -> None:
        self._calls = calls
        self._blob = blob
        self._retries = calls.retries(messages.READ)
        self._offset = 0
        self._answers: Answers | None = None
        self._source: _Read | None = None
        self._ended = False

    def open(self) -> None:
        """Have the first bytes, or an error, by as many calls as that takes."""
        self._retries.run(self._start)

    def read(self, size: int, /) -> bytes:
        """Read at most `size` bytes, b"" at the end."""
        while True:
            if self._ended:
                return b""
            try:
                return self._take(size)
            except RetryableError as failure:
                self.close()
                if self._offset >= self._blob.size:  # all that is wanted came before the cut
                    self._ended = True
                else:
                    self._retries.wait(failure)

    def close(self) -> None:
        """Be done, also before the end; a further read would begin anew from there."""
        if self._answers is not None:
            self._answers.close()
            self._answers = self._source = None

    def _start(self) -> _Read:
        if self._source is None:
            request = classes()["ReadRequest"](
                resource_name=self._calls.server.prefix + self._blob.path, read_offset=self._offset
            )
            self._answers = self._calls.receive(messages.READ, request)
            pieces = _Pieces(self._answers, self._calls.name)
            try:
                pieces.fill()
            except BaseException:
                self.close()
                raise
            self._source = _unpacked(pieces) if self._blob.zstd else pieces.read
        return self._source

    def _take(self, size: int) -> bytes:
        from zstandard import ZstdError

        try:
            data = self._start()(size)
        except ZstdError as error:
            raise CacheError(f"{self._calls.name}: the blob sha256:{self._blob.hash} is damaged: {error}") from error
        self._offset += len(data)
        self._retries.progressed(len(data))
        if not data:  # a cut is another status: whoever counts the bytes finds that there are too few
            self._ended = True
            self.close()
        return data


class _Pieces:
    """The data of messages, as a stream."""

    def __init__(self, answers: Answers, name: str) -> None:
        self._answers = answers
        self._name = name
        self._data = memoryview(b"")
        self._over = False

    def fill(self) -> None:
        """Have data, or know that there is none."""
        empty = 0
        while not self._data and not self._over:
            message = self._answers.next()
            if message is None:
                self._over = True
            else:
                self._data = memoryview(message.data)
                empty += 1
            if empty > _EMPTY:
                raise CacheError(f"{self._name}: the server sends messages without data for ever")

    def read(self, size: int, /) -> bytes:
        """Read at most `size` bytes, b"" at the end."""
        self.fill()
        data, self._data = bytes(self._data[:size]), self._data[size:]
        return data


def _unpacked(pieces: _Pieces) -> _Read:
    import zstandard

    unpacker: Any = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    # As much as there is, not as much as fits: bytes that came before a cut are not asked for again.
    made: _Read = unpacker.stream_reader(pieces, read_size=_PIECE, read_across_frames=True).read1
    return made


def write(calls: Calls, blob: Resource, source: Open) -> None:
    """Send a blob; after a cut what the server has not yet, if it can tell."""
    _Writing(calls, blob, source).run()


class _Writing:
    def __init__(self, calls: Calls, blob: Resource, source: Open) -> None:
        self._calls = calls
        self._blob = blob
        self._source = source
        self._retries = calls.retries(messages.WRITE)
        self._resource = ""
        self._sent = 0
        self._fault: BaseException | None = None

    def run(self) -> None:
        self._retries.run(self._attempt)

    def _attempt(self) -> None:
        """Send it from where an attempt before came to."""
        offset = self._committed()
        if self._resource and offset == self._blob.size:
            return
        if not offset:
            self._resource = f"{self._calls.server.prefix}uploads/{uuid.uuid4()}/{self._blob.path}"
        self._fault = None
        with self._source() as file:
            try:
                answer = self._calls.send(messages.WRITE, lambda progress: self._requests(file, offset, progress))
            except Refused as error:
                if self._fault is not None:
                    raise self._fault from error
                if error.code != ALREADY_EXISTS:
                    raise
                return
            except RetryableError as failure:
                if self._fault is not None:
                    raise self._fault from failure
                raise
        self._check(answer.committed_size)

    def _check(self, kept: int) -> None:
        """Raise RetryableError unless all was kept, or was there already."""
        whole = {self._blob.size}
        if self._blob.zstd:
            whole |= {self._sent, -1}
        if kept not in whole:
            raise RetryableError(f"{self._calls.server.host} kept {kept} of {self._blob.size} bytes")

    def _committed(self) -> int:
        """Give how much the server has of an attempt before; 0 where it cannot tell, or there was none."""
        if not self._resource or self._blob.zstd:
            return 0
        request = classes()["QueryWriteStatusRequest"](resource_name=self._resource)
        try:
            answer = self._calls.ask_once(messages.WRITE_STATUS, request)
        except Refused as error:
            if error.code not in (NOT_FOUND, UNIMPLEMENTED):
                raise
            return 0
        if answer.complete:
            return self._blob.size
        kept = int(answer.committed_size)
        self._retries.progressed(max(0, kept))
        return kept if 0 <= kept < self._blob.size else 0

    def _requests(self, file: BinaryIO, offset: int, progress: Callable[[], None]) -> Iterator[Any]:
        """Make the messages. An error of the file is kept: the library tells nobody."""
        make = classes()["WriteRequest"]
        try:
            if offset:
                file.seek(offset)
            name, at = self._resource, offset
            for data in self._packed(file) if self._blob.zstd else self._plain(file, offset):
                yield make(resource_name=name, write_offset=at, data=data)
                name, at = "", at + len(data)
                progress()
            self._sent = at
            yield make(resource_name=name, write_offset=at, finish_write=True)
        except Exception as error:  # noqa: BLE001 - raised again by whoever waits
            self._fault = error

    def _plain(self, file: BinaryIO, offset: int) -> Iterator[bytes]:
        left = self._blob.size - offset
        while left:
            data = file.read(min(left, _PIECE))
            if not data:
                raise CacheError(f"{self._calls.name}: the blob sha256:{self._blob.hash} has become shorter")
            left -= len(data)
            yield data

    def _packed(self, file: BinaryIO) -> Iterator[bytes]:
        import zstandard

        chunker: Any = zstandard.ZstdCompressor(level=3).chunker(chunk_size=_PIECE)
        for data in self._plain(file, 0):
            yield from chunker.compress(data)
        yield from chunker.finish()
