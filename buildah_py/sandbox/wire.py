"""Messages between our own processes: one marshalled value in one datagram, with descriptors if need be."""

from __future__ import annotations

import _socket
import array
import marshal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

MOST_DESCRIPTORS = 250
_SIZE = 1 << 16
_CLIPPED = 1000

pack = marshal.dumps


def unpack(data: bytes) -> Any:
    """Read what `pack` wrote. Both ends are this program."""
    return marshal.loads(data)  # noqa: S302


def pair() -> tuple[_socket.socket, _socket.socket]:
    """Make the two ends of a connection that keeps datagrams apart and knows when the other end is closed."""
    return _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)


def send(channel: _socket.socket, message: Any, descriptors: Sequence[int] = ()) -> bool:
    """Send one message; False when nobody listens any more. Of one that is too large the texts are clipped."""
    rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    data = pack(message)
    if len(data) > _SIZE:
        data = pack(tuple(map(_clip, message)))
    try:
        channel.sendmsg([data], rights)
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


def _clip(item: Any) -> Any:
    return f"{item[:_CLIPPED]}…" if isinstance(item, str) and len(item) > _CLIPPED else item


def receive(channel: _socket.socket) -> tuple[Any, list[int]]:
    """Receive one message and the descriptors that came with it; None when the other end is closed."""
    descriptors = array.array("i")
    room = _socket.CMSG_SPACE(MOST_DESCRIPTORS * descriptors.itemsize)
    try:
        message, extra, _, _ = channel.recvmsg(_SIZE, room, _socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        # The other end was closed before it read what we sent. That is told once, and before what it sent itself.
        message, extra, _, _ = channel.recvmsg(_SIZE, room, _socket.MSG_CMSG_CLOEXEC)
    for level, kind, data in extra:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    return unpack(message) if message else None, list(descriptors)
