"""A further command in a container that runs, on this process's own standard streams."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
from typing import TYPE_CHECKING, Any

from buildah_py.errors import SandboxError
from buildah_py.frozen import dataclass, field
from buildah_py.running.control import ContainerLine
from buildah_py.sandbox.streams import close, lent, signals_passed_on

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildah_py.store.containers import KeptContainer


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecRequest:
    """Request for a command in a container; empty values mean the container's own."""

    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = ""
    user: str = ""
    interactive: bool = False
    tty: bool = False


class _Joined:
    """The command, as what passes signals and the terminal on wants a container."""

    def __init__(self, line: ContainerLine) -> None:
        self._line = line
        self._terminal = -1

    def signal(self, number: int) -> None:
        self._line.send("signal", int(number))

    def kill(self) -> None:
        self.signal(9)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def open_terminal(self) -> int:
        message, descriptors = self._line.receive()
        if not descriptors:
            raise _refusal(message)
        self._terminal = descriptors[0]
        return self._terminal

    def wait(self) -> int:
        message, _ = self._line.receive()
        if message is None or message[0] != "exit":
            raise _refusal(message)
        return int(message[1])


def _refusal(message: Any) -> SandboxError:
    if message is None or message[0] != "error":
        return SandboxError("the container has ended")
    return SandboxError(message[1], hint=message[2])


def exec_in(container: KeptContainer, request: ExecRequest) -> int:
    """Run it to its end; its status. Raises NotFound where the container does not run, SandboxError."""
    if request.tty:
        from buildah_py.sandbox.terminal import attach, check_terminal

        check_terminal()
    own: dict[str, Any] = {"argv": request.command, "tty": request.tty}
    own |= {"cwd": request.cwd} if request.cwd else {}
    own |= {"user": request.user} if request.user else {}
    variables = {**({"TERM": "xterm"} if request.tty else {}), **request.env}
    with ContainerLine(container) as line:
        joined = _Joined(line)
        if request.tty:
            line.send("exec", own, variables)
            with signals_passed_on(joined):
                attach(joined)
                return joined.wait()
        with lent(stdin=request.interactive) as streams:
            stdin = streams.stdin if streams.stdin is not None else _nothing()
            line.send("exec", own, variables, descriptors=(stdin, streams.stdout, streams.stderr))
            close(streams._replace(stdin=stdin))
            with signals_passed_on(joined):
                return joined.wait()


def _nothing() -> int:
    """Give something to read on which nothing comes; nothing of this machine is behind it."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    os.close(writing)
    return reading
