"""Containers for programs that use the library: in the background, asked and ended from the program itself."""

from __future__ import annotations

import os
import threading
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from buildah_py.errors import NotFound, SandboxError
from buildah_py.library.child import call, environ_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from buildah_py.progress.events import Event
    from buildah_py.running.log import LogPiece
    from buildah_py.store.containers import KeptContainer

    _OnEvent = Callable[[Event], object]

_SHOWN: Final = 10
_LOOK: Final = 0.02
"""Seconds between two looks at what a container has printed, or listens on."""
_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (what is listened on is reached here)
_LISTENS, _ANY_STATE = ("0A",), ("01", "07")
"""States of sockets in /proc/net/tcp, and in /proc/net/udp: proc_pid_net(5)."""


class Executed(NamedTuple):
    """Outcome of a command in a container: its status, and what it printed, as text."""

    status: int
    stdout: str
    stderr: str


class ContainerPort(NamedTuple):
    """A port of this machine, `host` on `address`, that leads to the container's; `protocol` is tcp or udp."""

    address: str
    host: int
    container: int
    protocol: str


class StartedContainer:
    """A container in the background, as `start_container` gives it.

    A context manager that ends and removes it with the block. Without that it outlives the program, and `pybuild ps`
    lists it.
    """

    def __init__(self, id: str, *, root: str | None = None) -> None:  # noqa: A002 (the field's own word)
        """Find the container of an id, a name, or how an id begins. Raises NotFound."""
        from buildah_py.api.state import own_root
        from buildah_py.store.containers import find_container

        found = find_container(own_root(environ_of(root)), id)
        self._path = found.path
        self.id = found.id
        self.name = found.name
        self.ports = tuple(ContainerPort(**one) for one in found.about["ports"])

    def __repr__(self) -> str:
        return f"<StartedContainer {self.id[:12]} {self.name}>"

    def _now(self) -> KeptContainer:
        from buildah_py.store.containers import KeptContainer

        try:
            return KeptContainer(self._path)
        except FileNotFoundError:
            raise NotFound(f"the container `{self.name}` has been removed") from None

    @property
    def status(self) -> int | None:
        """Status that its command ended with, None as long as it runs. Raises NotFound where it has been removed."""
        found = self._now()
        return None if found.alive else int(found.state.get("code", 0))

    def address(self, port: int, protocol: str = "tcp") -> tuple[str, int]:
        """Return where on this machine a port of the container is reached: address and port, as `connect` takes them.

        Raises NotFound where it was not published.
        """
        for one in self.ports:
            if (one.container, one.protocol) == (port, protocol):
                return _ANYWHERE.get(one.address, one.address), one.host
        known = ", ".join(sorted({f"{one.container}/{one.protocol}" for one in self.ports}))
        raise NotFound(
            f"the port {port}/{protocol} of the container `{self.name}` is not published",
            hint=f"published are {known}" if known else "start_container(…, ports=[…]) publishes ports",
        )

    def logs(self) -> str:
        """Return what it has printed so far, on both streams; of very much the newest."""
        from buildah_py.running.log import pieces

        return _text(b"".join(one.data for one in pieces(self._now().file("log"))))

    def lines(self) -> Iterator[str]:
        """Iterate over the lines that it prints, on both streams, from the first to its end; waits for more."""
        begun = {1: b"", 2: b""}
        for piece in self._pieces(lambda: None):
            *whole, begun[piece.stream] = (begun[piece.stream] + piece.data).split(b"\n")
            yield from map(_text, whole)
        yield from (_text(rest) for rest in begun.values() if rest)

    def _pieces(self, waits: Callable[[], object]) -> Iterator[LogPiece]:
        """Give what it prints, to its end; `waits` is called each time there is no more of it."""
        from buildah_py.running.control import ContainerLine
        from buildah_py.running.log import pieces

        found = self._now()
        with ExitStack() as stack:
            line: ContainerLine | None = None
            with suppress(NotFound):  # it has ended
                line = stack.enter_context(ContainerLine(found))

            def more() -> bool:
                waits()
                return line is not None and not line.ended(_LOOK)

            yield from pieces(found.file("log"), more)

    def wait_for_output(self, text: str, timeout: float = 60) -> str:
        """Wait until it has printed that text within a line; the line, as far as it has been printed.

        Raises SandboxError where it ends before, TimeoutError after `timeout` seconds.
        """
        sought, aim = text.encode(), f"print `{text}`"
        last = time.monotonic() + timeout
        begun = {1: b"", 2: b""}
        for piece in self._pieces(lambda: self._check_time(aim, last)):
            lines = (begun[piece.stream] + piece.data).split(b"\n")
            for line in lines:
                if sought in line:
                    return _text(line)
            begun[piece.stream] = lines[-1]
        raise self._ended(aim)

    def wait_for_port(self, port: int, protocol: str = "tcp", timeout: float = 60) -> None:
        """Wait until something in the container listens on a port.

        A connection to the published port alone would not tell: it is accepted before anybody listens behind it.
        Raises SandboxError where the container ends before, TimeoutError after `timeout` seconds.
        """
        aim, last = f"listen on port {port}/{protocol}", time.monotonic() + timeout
        while not self._listens(port, protocol):
            if self.status is not None:
                raise self._ended(aim)
            self._check_time(aim, last)
            time.sleep(_LOOK)

    def _ended(self, aim: str) -> SandboxError:
        said = "\n".join(self.logs().splitlines()[-_SHOWN:])
        what = f"the container `{self.name}` has ended with status {self.status}, and did not {aim}"
        return SandboxError(what, hint=f"the end of what it printed:\n{said}" if said else "it printed nothing")

    def _check_time(self, aim: str, last: float) -> None:
        if time.monotonic() > last:
            raise TimeoutError(f"the container `{self.name}` did not {aim} in time")

    def _listens(self, port: int, protocol: str) -> bool:
        from buildah_py.running.control import ContainerLine

        with suppress(NotFound), ContainerLine(self._now()) as line:
            line.send("processes")
            answer, _ = line.receive()
            states = _LISTENS if protocol == "tcp" else _ANY_STATE
            for number in answer[1] if answer is not None else ():
                with suppress(FileNotFoundError, ProcessLookupError):  # that one has ended
                    return any(
                        int(words[1].rpartition(":")[2], 16) == port and words[3] in states
                        for name in (protocol, f"{protocol}6")
                        for words in _sockets(f"/proc/{number}/net/{name}")
                    )
        return False

    def exec(
        self,
        command: Sequence[str],
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        user: str = "",
        cwd: str = "",
    ) -> Executed:
        """Run a further command in it, as `pybuild exec` does; its status, and what it printed.

        Raises NotFound where the container does not run, SandboxError where the command cannot be started.
        """
        from buildah_py.running.control import ContainerLine

        what: dict[str, Any] = {"argv": tuple(command), "tty": False}
        what |= {name: value for name, value in (("cwd", cwd), ("user", user)) if value}
        with ExitStack() as ours, ExitStack() as theirs:
            ends = []
            files = []
            for reads in (False, True, True):
                reading, writing = os.pipe2(os.O_CLOEXEC)
                mine, other = (reading, writing) if reads else (writing, reading)
                theirs.callback(os.close, other)
                files.append(ours.enter_context(open(mine, "rb" if reads else "wb", buffering=0)))
                ends.append(other)
            line = ours.enter_context(ContainerLine(self._now()))  # left first, which ends the command
            line.send("exec", what, dict(env or {}), descriptors=tuple(ends))
            theirs.close()
            printed: dict[int, bytes] = {}
            threads = [
                threading.Thread(target=lambda at=at: printed.update({at: files[at].read()}), daemon=True)
                for at in (1, 2)
            ]
            threads.append(threading.Thread(target=_write, args=(files[0], stdin), daemon=True))
            for thread in threads:
                thread.start()
            message, _ = line.receive()
            for thread in threads:
                thread.join()
        if message is None or message[0] != "exit":
            raise SandboxError(*message[1:2], hint=message[2]) if message else SandboxError("the container has ended")
        return Executed(int(message[1]), _text(printed[1]), _text(printed[2]))

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended; the status of its command. Raises TimeoutError after `timeout` seconds."""
        from buildah_py.running.control import ContainerLine

        with suppress(NotFound), ContainerLine(self._now()) as line:  # else it has ended
            if not line.ended(timeout):
                raise TimeoutError(f"the container `{self.name}` still runs")
        status = self.status
        assert status is not None
        return status

    def stop(self, timeout: float | None = None, *, signal: str = "") -> int:
        """Ask it to end, and end it by force where it has not after `timeout` seconds; the status of its command.

        Without a signal and a time, they are those that it was started with. One that has ended stays as it is.
        """
        from buildah_py.running.stopping import stop

        stop(self._now(), signal, timeout)
        return self.wait()

    def remove(self) -> None:
        """End it by force where it runs, and remove what it has left; one that has been removed is no error."""
        from buildah_py.running.stopping import stop

        with suppress(NotFound):
            found = self._now()
            stop(found, "KILL", -1)
            found.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        with suppress(NotFound):  # it has been removed in the block
            self.stop()
        self.remove()


def start_container(
    image: str,
    command: Sequence[str] = (),
    *,
    ports: Iterable[str | int] = (),
    all_ports: bool = False,
    name: str = "",
    env: Mapping[str, str] | None = None,
    user: str = "",
    cwd: str = "",
    network: str = "default",
    labels: Mapping[str, str] | None = None,
    root: str | None = None,
    on_event: _OnEvent = lambda _: None,
) -> StartedContainer:
    """Start a container of an image in the background, as `pybuild run -d` does.

    `ports` are spelled as values of `--publish`: `8080:80`, `127.0.0.1:8080:80`, `53/udp`; a number or `127.0.0.1::80`
    takes any port of this machine that is free, which `StartedContainer.address` tells. `all_ports` publishes those
    that the image exposes.

    Raises NotFound, UsageError, SandboxError, the latter also for a port that is taken and a command that cannot be
    executed.
    """
    request = {
        "image": image,
        "command": tuple(command),
        "ports": tuple(map(str, ports)),
        "all_ports": all_ports,
        "name": name,
        "env": dict(env or {}),
        "user": user,
        "cwd": cwd,
        "network": network,
        "labels": tuple((labels or {}).items()),
        "detach": True,
        "init": False,
    }
    # In a child in any case: what looks after the container is to have that as its parent, not this program.
    id_, why = call("buildah_py.library.containers:_start", request, environ_of(root), on_event)
    container = StartedContainer(id_, root=root)
    if why:
        container.remove()
        raise SandboxError(f"the command of the container cannot be executed: {why}")
    return container


def _start(request: dict[str, Any], on_event: _OnEvent) -> tuple[str, str]:
    from buildah_py.running.detached import start_detached

    id_, _, why = start_detached(run_request(request), *hearers(on_event))
    return id_, why


def run_request(request: Mapping[str, Any]) -> Any:
    """Return the RunRequest of these fields, whose ports are spelled as values of --publish. Raises UsageError."""
    from buildah_py.running.image import RunRequest
    from buildah_py.running.ports import parse_published

    ports = tuple(port for text in request["ports"] for port in parse_published(text))
    return RunRequest(**{**request, "ports": ports})


def hearers(on_event: _OnEvent) -> tuple[Callable[[str], object], Callable[[str], object]]:
    """Return what is told warnings, and what is told notes, so that they become events."""
    from buildah_py.progress.events import Note
    from buildah_py.progress.events import Warning as WarningEvent

    return lambda text: on_event(WarningEvent(text)), lambda text: on_event(Note(text))


def _sockets(path: str) -> Iterator[list[str]]:
    """Give the words of each line of a table of sockets, of none where this machine has not that family."""
    try:
        with open(path, encoding="ascii") as file:
            lines = file.readlines()[1:]
    except FileNotFoundError:
        if os.path.isdir(os.path.dirname(os.path.dirname(path))):
            return
        raise
    yield from map(str.split, lines)


def _write(file: Any, data: bytes) -> None:
    with suppress(BrokenPipeError), file:  # the command has read what it wanted
        view = memoryview(data)
        while view:
            view = view[file.write(view) :]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
