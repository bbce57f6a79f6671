"""A process of our own that creates files, so that the kernel's work on them takes no time of the interpreter's.

It takes batches from a pipe: the lengths of what follows, the directory and the files in it as marshal has them, their
bytes. An empty batch asks for an answer: None, or what went wrong. With the first error it answers and ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import marshal
import os
import struct
from typing import TYPE_CHECKING, Any, Final

from buildah_py.errors import ArchiveError, NoSuchId, StoreError
from buildah_py.layers.create import Attributes, has_default_acl

if TYPE_CHECKING:
    from buildah_py.layers.create import File

_LENGTHS: Final = struct.Struct("<QQ")
_PIPE_SIZE: Final = 1 << 20
_F_SETPIPE_SZ: Final = 1031


class Creator:
    """The process, for files below the directory that is open as `root`."""

    def __init__(self, root: int, *, owners: bool) -> None:
        from buildah_py.linux.interpreter import spawn

        batches, self._batches = os.pipe()
        self._answers, answers = os.pipe()
        # Without room for a batch it is only slower; the user's share of pipes may be used up.
        with contextlib.suppress(PermissionError):
            fcntl.fcntl(self._batches, _F_SETPIPE_SZ, _PIPE_SIZE)
        try:
            self._pid = spawn(__name__, f"main({owners})", [root, batches, answers])
        except BaseException:
            os.close(self._batches)
            os.close(self._answers)
            raise
        finally:
            os.close(batches)
            os.close(answers)

    def create(self, parent: str, files: list[File], data: list[bytes]) -> None:
        """Have files made in the directory `parent`; may return before they are there."""
        meta: Any = (parent, files)
        self._send(marshal.dumps(meta, 4), b"".join(data))

    def wait(self) -> None:
        """Return when all files are there; raises what went wrong with one."""
        self._send(b"", b"")
        _raise(self._answer())

    def close(self) -> None:
        """End the process; what it has not made yet is left out."""
        if self._batches >= 0:
            os.close(self._batches)
            os.close(self._answers)
            self._batches = self._answers = -1
            os.waitpid(self._pid, 0)

    def _send(self, meta: bytes, data: bytes) -> None:
        try:
            parts = [memoryview(part) for part in (_LENGTHS.pack(len(meta), len(data)), meta, data)]
            while parts:
                written = os.writev(self._batches, parts)
                while parts and written >= len(parts[0]):
                    written -= len(parts.pop(0))
                if written:
                    parts[0] = parts[0][written:]
        except BrokenPipeError:
            _raise(self._answer())
            raise

    def _answer(self) -> tuple[Any, ...] | None:
        found = b""
        while piece := os.read(self._answers, 1 << 16):
            found += piece
            if len(found) >= _LENGTHS.size and len(found) - _LENGTHS.size == _LENGTHS.unpack_from(found)[0]:
                answer: tuple[Any, ...] | None = marshal.loads(found[_LENGTHS.size :])  # noqa: S302 - our own process
                return answer
        raise StoreError("the process that creates files has ended unexpectedly", hint="was it killed? build again")


def _raise(answer: tuple[Any, ...] | None) -> None:
    if answer is None:
        return
    kind, *rest = answer
    if kind == "os":
        raise OSError(*rest)
    if kind in ("archive", "id"):
        raise (ArchiveError if kind == "archive" else NoSuchId)(rest[0], hint=rest[1])
    raise StoreError(f"the process that creates files failed: {rest[0]}")


def main(owners: bool) -> None:
    """Create files until the pipe ends: 3 is the directory, 4 brings batches, 5 takes answers."""
    root, batches, answers = 3, 4, 5
    os.umask(0)
    try:
        attributes = Attributes.of_process(owners=owners)._replace(modes=not has_default_acl(root))
        while head := _receive(batches, _LENGTHS.size):
            meta, size = _LENGTHS.unpack(head)
            if not meta:
                _reply(answers, None)
                continue
            parent, files = marshal.loads(_receive(batches, meta))  # noqa: S302 - our own process
            attributes.create_files(root, parent, files, _receive(batches, size))
    except OSError as error:
        _reply(answers, ("os", error.errno, error.strerror, error.filename))
    except (ArchiveError, NoSuchId) as error:
        _reply(answers, ("archive" if isinstance(error, ArchiveError) else "id", error.message, error.hint))
    except Exception as error:  # noqa: BLE001 - raised again by the process that waits
        _reply(answers, ("other", repr(error)))


def _receive(descriptor: int, length: int) -> memoryview:
    """Read exactly so much; nothing at the end of the pipe. Raises EOFError where it ends in between."""
    view = memoryview(bytearray(length))
    got = 0
    while got < length:
        count = os.readv(descriptor, [view[got:]])
        if not count:
            if got or length != _LENGTHS.size:
                raise EOFError
            return view[:0]
        got += count
    return view


def _reply(descriptor: int, answer: tuple[Any, ...] | None) -> None:
    data = marshal.dumps(answer, 4)
    # Whoever would read it may have gone.
    with contextlib.suppress(BrokenPipeError):
        os.write(descriptor, _LENGTHS.pack(len(data), 0) + data)
