"""Compress layers: the same bytes for the same input on any machine, on all processors, within flat memory.

A gzip stream is made of deflate blocks of BLOCK bytes each, which are compressed independently of each other, with what
precedes them as dictionary. Neither the number of processors nor the pieces in which a tar arrives shows in the result;
the compressor's version does: see `compressor`.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from buildah_py import meter
from buildah_py.errors import ArchiveError, OutputError
from buildah_py.image.media_types import COMPRESSIONS, GZIP, UNCOMPRESSED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future
    from types import TracebackType

    from _typeshed import ReadableBuffer

    from buildah_py.outputs.layer_source import LayerSource

    Deflate = Callable[[bytes, bytes, bool], bytes]
    Put = Callable[[bytes | Future[bytes]], None]

BLOCK: Final = 1 << 20
DEFAULT_GZIP: Final = 1
DEFAULT_ZSTD: Final = 3
_WINDOW: Final = 1 << 15
_IGZIP_LEVELS: Final = range(1, 4)
# Deflate, no flags, no time, no extra flags, an unknown system (RFC 1952): nothing that depends on where it was made.
_GZIP_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


class Stopped(Exception):
    """Ends a producer whose bytes nobody wants any more."""


class _Form(Protocol):
    def write(self, data: ReadableBuffer, /) -> object: ...

    def finish(self) -> None: ...


def check(compression: str, level: int | None) -> None:
    """Raise OutputError for a compression that does not exist, or a level that it does not have."""
    if compression not in COMPRESSIONS:
        raise OutputError(
            f"layers cannot be compressed as `{compression}`", hint=f"there are {', '.join(COMPRESSIONS)}"
        )
    highest = {GZIP: 9, UNCOMPRESSED: 0}.get(compression, 22)
    if level is not None and not 0 <= level <= highest:
        raise OutputError(f"{compression} has no level {level}", hint=f"the levels go from 0 to {highest}")


def compressor(compression: str, level: int | None = None) -> str:
    """Name what compresses, with its version and level: equal names give equal bytes."""
    if compression == UNCOMPRESSED:
        return UNCOMPRESSED
    if compression == GZIP:
        level = DEFAULT_GZIP if level is None else level
        if _has_igzip() and level in _IGZIP_LEVELS:
            import isal

            return f"gzip/igzip-{isal.ISAL_VERSION}/{level}"
        return f"gzip/zlib-{zlib.ZLIB_RUNTIME_VERSION}/{level}"
    version = ".".join(map(str, _zstandard().ZSTD_VERSION))
    return f"zstd/{version}/{DEFAULT_ZSTD if level is None else level}"


class LayerStreams:
    """Compresses layers one behind the other, and is always some blocks ahead of its reader.

    `pieces` has to be read to the end once for each source, in their order. Leaving the context ends all threads, also
    those of layers that were never asked for.
    """

    def __init__(
        self, sources: Sequence[LayerSource], compression: str, level: int | None = None, *, threads: int = 0
    ) -> None:
        from _queue import SimpleQueue
        from concurrent.futures import ThreadPoolExecutor
        from threading import Semaphore

        check(compression, level)
        self._sources = sources
        self._threads = threads or len(os.sched_getaffinity(0))
        self._form = _form(compression, level, self._threads)
        self._queue: SimpleQueue[bytes | Future[bytes] | _Mark] = SimpleQueue()
        self._slots = Semaphore(2 * self._threads + 2)
        self._stopped = False
        self._pool = ThreadPoolExecutor(self._threads + 1, thread_name_prefix="compress")
        word = "packing" if compression == UNCOMPRESSED else "compressing"
        many = "1 layer" if len(sources) == 1 else f"{len(sources)} layers"
        known = all(source.size for source in sources)
        self._packed = meter.start(f"{word} {many}", sum(source.size for source in sources) if known else 0)
        self._producer = self._pool.submit(self._produce)

    def pieces(self) -> Iterator[bytes]:
        """Yield the compressed bytes of the next layer. Raises whatever its `write_tar` raised."""
        while True:
            item = self._queue.get()
            if isinstance(item, _Mark):
                if item is _DONE:
                    self._queue.put(_DONE)
                    self._producer.result()
                return
            self._slots.release()
            yield item if isinstance(item, bytes) else item.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped = True
        while self._queue.get() is not _DONE:
            self._slots.release()
        self._pool.shutdown(cancel_futures=True)

    def _produce(self) -> None:
        try:
            with self._packed:
                for source in self._sources:
                    form = self._form(self._pool.submit, self._put)
                    found = source.write_tar(self._packed.writing(form.write))
                    form.finish()
                    if found != source.diff_id:
                        raise ArchiveError(
                            f"a layer's tar is not what the image says: its digest is {found}, "
                            f"expected {source.diff_id}"
                        )
                    self._queue.put(_LAYER)
        except Stopped:
            return
        finally:
            self._queue.put(_DONE)

    def _put(self, item: bytes | Future[bytes]) -> None:
        self._slots.acquire()
        if self._stopped:
            raise Stopped
        self._queue.put(item)


class _Mark:
    """A place in the queue: the end of a layer, the end of all."""


_LAYER: Final = _Mark()
_DONE: Final = _Mark()


def _form(compression: str, level: int | None, threads: int) -> Callable[[Callable[..., Future[bytes]], Put], _Form]:
    if compression == UNCOMPRESSED:
        return lambda _submit, put: _Uncompressed(put)
    if compression == GZIP:
        deflate, checksum = _deflate(DEFAULT_GZIP if level is None else level)
        return lambda submit, put: _Gzip(submit, put, deflate, checksum)
    zstandard = _zstandard()
    # The number of workers does not show in the result, their use does: so there are always some.
    made = zstandard.ZstdCompressor(level=DEFAULT_ZSTD if level is None else level, threads=max(threads, 1))
    return lambda _submit, put: _Zstd(made.compressobj(), put)


class _Uncompressed:
    def __init__(self, put: Put) -> None:
        self._put = put

    def write(self, data: ReadableBuffer) -> None:
        self._put(bytes(data))

    def finish(self) -> None:
        pass


class _Zstd:
    def __init__(self, stream: Any, put: Put) -> None:
        self._stream = stream
        self._put = put

    def write(self, data: ReadableBuffer) -> None:
        made = self._stream.compress(data)
        if made:
            self._put(made)

    def finish(self) -> None:
        self._put(self._stream.flush())


class _Gzip:
    """Cuts a stream into blocks, has them deflated side by side, and joins them to one gzip member."""

    def __init__(
        self,
        submit: Callable[..., Future[bytes]],
        put: Put,
        deflate: Deflate,
        checksum: Callable[[bytes, int], int],
    ) -> None:
        self._submit = submit
        self._put = put
        self._deflate = deflate
        self._checksum = checksum
        self._held: list[memoryview] = []
        self._length = self._size = self._crc = 0
        self._before = b""
        put(_GZIP_HEADER)

    def write(self, data: ReadableBuffer) -> None:
        view = memoryview(data).cast("B")
        while self._length + len(view) >= BLOCK:
            room = BLOCK - self._length
            self._held.append(view[:room])
            self._block(last=False)
            view = view[room:]
        if view:
            self._held.append(view)
            self._length += len(view)

    def finish(self) -> None:
        self._block(last=True)
        self._put(struct.pack("<II", self._crc, self._size & 0xFFFFFFFF))

    def _block(self, *, last: bool) -> None:
        block = b"".join(self._held)
        self._crc = self._checksum(block, self._crc)
        self._size += len(block)
        self._put(self._submit(self._deflate, block, self._before, last))
        self._before = block[-_WINDOW:]
        self._held = []
        self._length = 0


def _deflate(level: int) -> tuple[Deflate, Callable[[bytes, int], int]]:
    """Return the function that deflates a block, given what precedes it, and the one that continues a CRC-32."""
    if _has_igzip() and level in _IGZIP_LEVELS:
        from isal import isal_zlib

        def igzip(block: bytes, before: bytes, last: bool) -> bytes:
            stream = isal_zlib.compressobj(
                level, isal_zlib.DEFLATED, -15, isal_zlib.DEF_MEM_LEVEL, isal_zlib.Z_DEFAULT_STRATEGY, before
            )
            return stream.compress(block) + stream.flush(isal_zlib.Z_FINISH if last else isal_zlib.Z_SYNC_FLUSH)

        return igzip, isal_zlib.crc32

    def deflate(block: bytes, before: bytes, last: bool) -> bytes:
        stream = zlib.compressobj(level, zlib.DEFLATED, -15, zlib.DEF_MEM_LEVEL, zlib.Z_DEFAULT_STRATEGY, before)
        return stream.compress(block) + stream.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)

    return deflate, zlib.crc32


def _has_igzip() -> bool:
    from importlib.util import find_spec

    return find_spec("isal") is not None


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise OutputError(
            "layers cannot be compressed with zstd: the Python package zstandard is not there",
            hint="`pip install zstandard`, or use gzip",
        ) from error
    return zstandard
