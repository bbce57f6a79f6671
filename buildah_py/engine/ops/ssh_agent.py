"""RUN --mount=type=ssh: a socket of ours with the owner and mode that were asked for, in front of the user's ssh agent.

Listing keys and signing pass, which is all that using a key takes. An agent would also load libraries, take keys, lose
them and be locked, and refuses peers of other users than its own; draft-ietf-sshm-ssh-agent describes the messages.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from typing import TYPE_CHECKING, Final, Self

from buildah_py.errors import PybuildError
from buildah_py.linux.identity import has_single_id

if TYPE_CHECKING:
    from types import TracebackType

_LIST_KEYS, _SIGN = 11, 13
_REFUSED: Final = struct.pack("!IB", 1, 5)
_LENGTH: Final = struct.Struct("!I")
_MOST: Final = 256 << 10
_MOST_AT_ONCE: Final = 16


class AgentSocket:
    """A socket in the directory `where`, as long as it is entered, in front of the agent that listens at `agent`."""

    def __init__(self, agent: str, where: str, *, mode: int, uid: int, gid: int) -> None:
        self.path = os.path.join(where, "ssh-agent")
        self._agent = agent
        self._listening = socket.socket(socket.AF_UNIX)
        self._lock = threading.Lock()
        self._places = threading.Semaphore(_MOST_AT_ONCE)
        self._open: set[socket.socket] = {self._listening}
        try:
            _bind(self._listening, where)
            if not (has_single_id() and os.geteuid()):  # else all is this user's
                os.chown(self.path, uid, gid)
            os.chmod(self.path, mode)
            self._listening.listen()
        except OSError as error:
            self._listening.close()
            raise PybuildError(
                f"--mount=type=ssh,uid={uid},gid={gid},mode={mode:o}: {error.strerror}",
                hint="are the ids among the subordinate ones of /etc/subuid and /etc/subgid?",
            ) from error

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            for one in self._open:
                _shut(one)
            self._open.clear()

    def _accept(self) -> None:
        while True:
            self._places.acquire()
            try:
                connection, _ = self._listening.accept()
            except OSError:  # it has been shut down
                self._listening.close()
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, socket.socket(socket.AF_UNIX) as agent:
            try:
                with self._lock:
                    if not self._open:
                        return
                    self._open |= {connection, agent}
                agent.connect(self._agent)
                while request := _receive(connection):
                    connection.sendall(_ask(agent, request))
            except OSError:  # one of both has hung up; the client sees that as it would at the agent
                return
            finally:
                with self._lock:
                    self._open -= {connection, agent}
                self._places.release()


def _ask(agent: socket.socket, request: bytes) -> bytes:
    if request[_LENGTH.size] not in {_LIST_KEYS, _SIGN}:
        return _REFUSED
    agent.sendall(request)
    return _receive(agent) or _REFUSED


def _receive(connection: socket.socket) -> bytes:
    """Read one message, its length before it; nothing at the end, or where it is longer than agents take."""
    head = connection.recv(_LENGTH.size, socket.MSG_WAITALL)
    if len(head) < _LENGTH.size:
        return b""
    (length,) = _LENGTH.unpack(head)
    if not 0 < length <= _MOST:
        return b""
    body = connection.recv(length, socket.MSG_WAITALL)
    return head + body if len(body) == length else b""


def _bind(listening: socket.socket, where: str) -> None:
    """Bind a socket in a directory whose path may be longer than an address can be, unix(7)."""
    directory = os.open(where, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listening.bind(f"/proc/self/fd/{directory}/ssh-agent")
    finally:
        os.close(directory)


def _shut(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:  # it is not connected
        return
