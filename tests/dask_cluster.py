"""A real Dask scheduler on loopback, with workers that are processes of this machine, each with a store of its own."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

DASK = str(Path(sys.executable).with_name("dask"))
_PATIENCE = 60


@dataclass
class DaskCluster:
    """The scheduler and its workers, by name; everything lies below `home`."""

    home: Path
    protocol: str = "tcp"
    options: tuple[str, ...] = ()
    scheduler: subprocess.Popen[bytes] | None = None
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    address: str = ""

    def __enter__(self) -> Self:
        self.home.mkdir(parents=True)
        file = self.home / "scheduler.json"
        self.scheduler = self._start(
            "scheduler",
            ["scheduler", "--host=127.0.0.1", "--port=0", "--no-dashboard", f"--protocol={self.protocol}"],
            {},
        )
        self._await(lambda: file.exists() and bool(file.read_text()), "the scheduler")
        self.address = json.loads(file.read_text())["address"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in (*self.workers.values(), self.scheduler):
            if process is not None:
                process.kill()  # told to end, they take seconds to say good-bye
                process.wait()

    def add(
        self,
        *names: str,
        preload: str = "",
        environ: Mapping[str, str] | None = None,
        threads: int = 2,
        options: Sequence[str] = (),
    ) -> None:
        """Start workers, which execute `threads` steps at once; `preload` is Python that they run first."""
        for name in names:
            words = ["worker", "--host=127.0.0.1", "--no-nanny", "--no-dashboard", f"--nthreads={threads}", *options]
            words += [f"--name={name}", f"--local-directory={self.home / 'local'}"]
            if preload:
                (self.home / f"{name}.py").write_text(preload)
                words += [f"--preload={self.home / f'{name}.py'}"]
            root = {"PYBUILD_ROOT": str(self.home / name)}
            self.workers[name] = self._start(name, words, {**root, **(environ or {})})
        for name in names:
            self._await(partial(self._is_registered, name), name)

    @property
    def port(self) -> int:
        """The scheduler's."""
        return int(self.address.rpartition(":")[2])

    def kill(self, name: str) -> None:
        """Kill a worker: no chance to say anything."""
        self.workers[name].kill()
        self.workers.pop(name).wait()

    def log(self, name: str) -> bytes:
        """Return what a process has printed."""
        return (self.home / f"{name}.log").read_bytes()

    def executed(self, word: str) -> list[str]:
        """Name the workers whose steps have printed a word, once for each step."""
        logs = self.home.glob("*/logs/*/*.log")
        return sorted(path.relative_to(self.home).parts[0] for path in logs if word.encode() in path.read_bytes())

    def _start(self, name: str, words: list[str], environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
        command = [DASK, *words, f"--scheduler-file={self.home / 'scheduler.json'}", *self.options]
        with (self.home / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "DASK_DISTRIBUTED__SCHEDULER__JUPYTER": "false", **environ},
            )

    def _is_registered(self, name: str) -> bool:
        return b"Registered to" in self.log(name)

    def _await(self, done: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + _PATIENCE
        while not done():
            assert time.monotonic() < end, f"{what} has not started"
            assert all(one.poll() is None for one in self.workers.values()), f"{what} has ended"
            time.sleep(0.05)


class Relay:
    """A port of this machine that leads to another one, until the way is cut."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._closed = threading.Event()
        self._way = threading.Event()
        self._way.set()

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._way.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._break()

    def cut(self, seconds: float) -> None:
        """End what goes through, and let nothing through for a while."""
        self._way.clear()
        self._break()
        threading.Timer(seconds, self._way.set).start()

    def _break(self) -> None:
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while not self._closed.is_set():
                near, _ = self._listener.accept()
                self._way.wait()
                if self._closed.is_set():
                    near.close()
                    return
                far = socket.create_connection(("127.0.0.1", self._target))
                self._open += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=_pass_on, args=(source, sink), daemon=True).start()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    for one in (source, sink):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
    source.close()
