"""Processes that do what requests ask for: a `pybuild` each, fed with the body and ended with the request."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import threading
from typing import TYPE_CHECKING, Final

from buildah_py import debug
from buildah_py.linux.interpreter import command
from buildah_py.serve.faults import ClientGoneError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from buildah_py.serve.body import Body

_PIECE: Final = 1 << 16
_LONGEST_LINE: Final = 64 << 20
_TAIL: Final = 16 << 10
_PATIENCE: Final = 20.0
"""Seconds that a process has to end in when its client has gone; then it is killed."""


class Workers:
    """All processes that work for requests, so that they end with the server."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def add(self, process: subprocess.Popen[bytes]) -> None:
        """Know of a process."""
        with self._lock:
            self._running.add(process)
            if self._closed:
                process.terminate()

    def discard(self, process: subprocess.Popen[bytes]) -> None:
        """Know that it has ended."""
        with self._lock:
            self._running.discard(process)

    def close(self) -> None:
        """Have all of them end, and those to come."""
        with self._lock:
            self._closed = True
            for process in self._running:
                process.terminate()


class Work:
    """One process: `pybuild` with these words. A context manager that has ended it when it is left.

    The body, if any, is its standard input. While it is read from, a client that has gone is noticed, and it is ended
    with SIGTERM, which a build takes for a wish to be interrupted. Raises RequestError where it cannot be started.
    """

    def __init__(
        self,
        workers: Workers,
        words: Sequence[str],
        connection: socket.socket,
        *,
        body: Body | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._workers = workers
        self._connection = connection
        self._body = body
        self._feeder: threading.Thread | None = None
        self._fault: BaseException | None = None
        self._tail = b""
        argv = command("buildah_py.cli", "program()", list(words), packages=True)
        debug.log("pybuild %s", " ".join(words))
        try:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE if body is not None else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **(environ or {})},
                start_new_session=True,
                bufsize=0,
            )
        except (OSError, ValueError) as error:
            raise RequestError(400, f"what was asked for cannot be handed to a process: {error}") from error
        workers.add(self._process)

    def __enter__(self) -> Self:
        if self._body is not None:
            self._feeder = threading.Thread(target=self._feed, name="body", daemon=True)
            self._feeder.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._process.poll() is None and kind is not None:
                self._process.terminate()
            self._end()
        finally:
            self._workers.discard(self._process)
            for stream in (self._process.stdout, self._process.stderr):
                if stream is not None:
                    stream.close()

    def read(self, out: Callable[[bytes], object], err: Callable[[bytes], object] | None = None) -> int:
        """Hand on what it prints, piece by piece, to its end; its exit status.

        Without `err` the end of what is on its standard error is kept, see `complaint`. Raises ClientGoneError.
        """
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        hear = {self._process.stdout.fileno(): out, self._process.stderr.fileno(): err or self._keep}
        poll = select.poll()
        for number in hear:
            poll.register(number, select.POLLIN)
        poll.register(self._connection, 0)  # both of its ways are shut; a client may shut its own and wait
        while hear:
            for number, found in poll.poll():
                if number not in hear:
                    raise ClientGoneError
                data = os.read(number, _PIECE) if found & (select.POLLIN | select.POLLHUP) else b""
                if data:
                    hear[number](data)
                else:
                    poll.unregister(number)
                    del hear[number]
        status = self._process.wait()
        if isinstance(self._fault, (RequestError, ClientGoneError)):
            raise self._fault
        return status

    def complaint(self) -> str:
        """Return what it said of why it failed, without its name in front."""
        lines = self._tail.decode("utf-8", "replace").strip().split("\n")
        begins = [place for place, line in enumerate(lines) if line.startswith("pybuild: ")]
        return "\n".join(lines[begins[-1] if begins else 0 :]).removeprefix("pybuild: ")

    def _keep(self, data: bytes) -> None:
        self._tail = (self._tail + data)[-_TAIL:]

    def _feed(self) -> None:
        """Hand on the body; a process that wants no more of it ends it."""
        assert self._process.stdin is not None
        assert self._body is not None
        try:
            while data := self._body.read():
                self._process.stdin.write(data)
        except BrokenPipeError:
            debug.log("the process wants no more of the body")
        except BaseException as error:  # noqa: BLE001 - it is raised by `read`
            self._fault = error
            self._process.terminate()
        finally:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def _end(self) -> None:
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._feeder is not None:
            with contextlib.suppress(OSError):
                if self._feeder.is_alive():
                    self._connection.shutdown(socket.SHUT_RD)  # it waits for a client that sends nothing
            self._feeder.join()


class PrintedLines:
    """Cuts what a process prints into lines, and hands each to `hear`."""

    def __init__(self, hear: Callable[[bytes], object]) -> None:
        self._hear = hear
        self._parts: list[bytes] = []
        self._size = 0

    def __call__(self, data: bytes) -> None:
        """Take a piece."""
        *whole, rest = data.split(b"\n")
        for line in whole:
            self._hear(b"".join([*self._parts, line]))
            self._parts, self._size = [], 0
        if rest:
            self._parts.append(rest)
            self._size += len(rest)
            if self._size > _LONGEST_LINE:
                raise RequestError(500, "pybuild printed a line without an end")
