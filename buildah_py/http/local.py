"""Short questions to a server at a socket of this machine, in HTTP/1.0: the answer ends where the connection does.

The client for all else (client.py) takes 30 ms to import, longer than many such answers take.
"""

from __future__ import annotations

import _socket  # `socket` itself takes 6 ms for its enums
import re
from typing import TYPE_CHECKING, Final

from buildah_py import debug

if TYPE_CHECKING:
    from collections.abc import Mapping

_PIECE: Final = 1 << 16
_LARGEST: Final = 1 << 20
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([2-5]\d\d)(?: [^\r\n]*)?")


def ask(path: str, method: str, target: str, *, patience: float) -> tuple[int, bytes] | None:
    """Return the status and the body of an answer; None where that is anything but short, plain and whole.

    Then nothing is known, and the other client is to ask, which says what is wrong. It waits `patience` seconds for
    each piece.
    """
    request = f"{method} {target} HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode("ascii")
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.settimeout(patience)
        connection.connect(path)
        connection.sendall(request)
        data = b""
        while piece := connection.recv(_PIECE):
            data += piece
            if len(data) > _LARGEST:
                return None
    except OSError as error:
        debug.log("%s %s at %s: %s", method, target, path, error)
        return None
    finally:
        connection.close()
    return _read(data)


def _read(data: bytes) -> tuple[int, bytes] | None:
    head, end, body = data.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    status = _STATUS.fullmatch(first)
    headers: Mapping[bytes, bytes] = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)
    }
    length = headers.get(b"content-length", b"%d" % len(body))
    if not end or status is None or b"transfer-encoding" in headers or length != b"%d" % len(body):
        return None
    return int(status[1]), body
