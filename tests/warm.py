"""`pybuild` without its start: processes that are forked from one that has imported all of it already.

A test asks the same of the command, and most of its time is not spent on imports. `python -m tests.warm SOCKET` is such
a server. Each command is a process of its own, with the arguments, environment, directory and streams that it is given,
and ends as the program does. Two servers take turns: what depends on the seed of hashes differs from one command to
the next, as it does for people.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import itertools
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_HEAVY = (
    "concurrent.futures.thread",
    "csv",
    "ctypes",
    "difflib",
    "email.utils",
    "http.client",
    "sqlite3",
    "ssl",
    "tarfile",
    "tqdm",
    "urllib3",
    "zstandard",
)
"""What the program imports where it is used; its own modules are all imported."""


class WarmCommand:
    """Runs `program`, the path of the command, for as long as the context lasts."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._directory = tempfile.mkdtemp(prefix="pybuild-warm-")
        self._servers: list[subprocess.Popen[bytes]] = []
        self._sockets = [os.path.join(self._directory, str(number)) for number in range(2)]
        self._turns = itertools.cycle(self._sockets)

    def __enter__(self) -> Self:
        for path in self._sockets:
            command = [sys.executable, "-m", "tests.warm", path]
            root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
            server = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self._servers.append(server)
        for server in self._servers:
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.communicate()  # which closes what tells it that it is needed
        shutil.rmtree(self._directory)

    def run(
        self, arguments: Sequence[str], *, cwd: str, environ: Mapping[str, str], stdin: str | None, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Do what subprocess.run does with captured output, as UTF-8 with surrogates. Raises TimeoutExpired."""
        asked = json.dumps({"argv": [self._program, *arguments], "cwd": cwd, "environ": dict(environ)}).encode()
        out, err, given = os.pipe(), os.pipe(), os.pipe()
        with socket.socket(socket.AF_UNIX) as channel, contextlib.ExitStack() as ends:
            for descriptor in (out[0], err[0]):
                ends.callback(os.close, descriptor)
            theirs = [given[0] if stdin is not None else os.open(os.devnull, os.O_RDONLY), out[1], err[1]]
            try:
                channel.connect(next(self._turns))
                socket.send_fds(channel, [len(asked).to_bytes(4, "big")], theirs)
                channel.sendall(asked)
                pid = int.from_bytes(_read(channel, 4), "big")
            finally:
                for descriptor in {*theirs, given[0]}:
                    os.close(descriptor)
            feeder = threading.Thread(target=_feed, args=(given[1], (stdin or "").encode("utf-8", "surrogateescape")))
            feeder.start()
            try:
                shown = _collect(out[0], err[0], time.monotonic() + timeout)
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired([self._program, *arguments], timeout) from None
            finally:
                feeder.join()
            status = int.from_bytes(_read(channel, 4), "big", signed=True)
        texts = (data.decode("utf-8", "surrogateescape").replace("\r\n", "\n").replace("\r", "\n") for data in shown)
        return subprocess.CompletedProcess([self._program, *arguments], status, *texts)


def _read(channel: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = channel.recv(size - len(data))
        if not more:
            raise EOFError("the server of warm commands has ended")
        data += more
    return data


def _feed(descriptor: int, data: bytes) -> None:
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
    except BrokenPipeError:  # the command did not want it all
        return


def _collect(out: int, err: int, until: float) -> tuple[bytes, bytes]:
    """Read two pipes to their ends. Raises TimeoutError."""
    got: dict[int, list[bytes]] = {out: [], err: []}
    with selectors.DefaultSelector() as selector:
        for descriptor in got:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(0.0, until - time.monotonic()))
            if not ready:
                raise TimeoutError
            for key, _ in ready:
                data = os.read(key.fd, 1 << 16)
                got[key.fd].append(data)
                if not data:
                    selector.unregister(key.fd)
    return b"".join(got[out]), b"".join(got[err])


# The server


def _import_all() -> None:
    import pkgutil
    from importlib import import_module

    import buildah_py

    for module in pkgutil.walk_packages(buildah_py.__path__, "buildah_py."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    for name in _HEAVY:
        import_module(name)


def _serve(path: str) -> Callable[[], int]:
    """Answer requests; returns in the processes that are forked for them, with what they have to do."""
    _import_all()
    gc.collect()
    gc.freeze()
    running: dict[int, tuple[int, socket.socket]] = {}
    with selectors.DefaultSelector() as selector, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        selector.register(listener, selectors.EVENT_READ)
        selector.register(0, selectors.EVENT_READ)
        os.write(1, b"ready\n")
        while True:
            for key, _ in selector.select():
                if key.fd == 0:  # the tests have ended, in whatever way
                    return lambda: 0
                if key.fileobj is not listener:
                    pid, channel = running.pop(key.fd)
                    selector.unregister(key.fd)
                    os.close(key.fd)
                    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                    with channel, contextlib.suppress(BrokenPipeError):
                        channel.sendall(status.to_bytes(4, "big", signed=True))
                    continue
                channel, _ = listener.accept()
                size, streams, _, _ = socket.recv_fds(channel, 4, 3)
                asked = json.loads(_read(channel, int.from_bytes(size, "big")))
                pid = os.fork()
                if pid == 0:
                    channel.close()
                    for ended, (_, other) in running.items():
                        os.close(ended)
                        other.close()
                    return _become(asked, streams)
                for stream in streams:
                    os.close(stream)
                channel.sendall(pid.to_bytes(4, "big"))
                ended = os.pidfd_open(pid)
                running[ended] = pid, channel
                selector.register(ended, selectors.EVENT_READ)


def _become(asked: Mapping[str, Any], streams: Sequence[int]) -> Callable[[], int]:
    """Be a process as the interpreter makes one for the program."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["environ"])
    sys.argv = asked["argv"]
    modes = (("rb", "surrogateescape"), ("wb", "strict"), ("wb", "backslashreplace"))
    sys.stdin, sys.stdout, sys.stderr = (
        io.TextIOWrapper(os.fdopen(number, mode, closefd=False), "utf-8", errors, line_buffering=number == 2)
        for number, (mode, errors) in enumerate(modes)
    )
    from buildah_py.cli import program

    return program


if __name__ == "__main__":
    command = _serve(sys.argv[1])
    try:
        status = command()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    # All that an interpreter does at its end, but for taking apart the hundreds of modules that were imported for it.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)
