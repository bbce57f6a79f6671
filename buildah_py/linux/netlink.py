"""Netlink: sending requests, reading their answers, packing attributes; see netlink(7)."""

from __future__ import annotations

import _socket
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12

NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800

_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_NESTED = 0x8000
_KIND = 0x3FFF
_HEADER = struct.Struct("=IHHII")
_BUFFER = 1 << 16


def attribute(kind: int, value: bytes) -> bytes:
    """Pack one attribute, padded to four bytes."""
    return struct.pack("=HH", len(value) + 4, kind) + value + b"\0" * (-len(value) % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """Pack attributes within an attribute."""
    return attribute(kind | _NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    """Pack a string with its final null byte."""
    return attribute(kind, value.encode() + b"\0")


def attributes(data: bytes) -> dict[int, bytes]:
    """Unpack attributes by their kinds, whatever flags these bear."""
    found = {}
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        found[kind & _KIND] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def message(kind: int, flags: int, body: bytes) -> bytes:
    """Pack a message; `Netlink.request` numbers it."""
    return _HEADER.pack(_HEADER.size + len(body), kind, flags | NLM_F_REQUEST, 0, 0) + body


class Netlink:
    """A socket of one netlink protocol, in the network namespace that was the thread's when it was made."""

    def __init__(self, protocol: int) -> None:
        self._socket = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, protocol)
        self._socket.bind((0, 0))
        self._sequence = 1

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def request(self, messages: Sequence[bytes]) -> None:
        """Send messages as one batch and wait until those with NLM_F_ACK are answered.

        Raises OSError for the first that was refused; its `filename` is the message's number in the batch.
        """
        packed = bytearray()
        awaited: dict[int, int] = {}
        for place, raw in enumerate(messages):
            length, kind, flags, _, _ = _HEADER.unpack_from(raw)
            packed += _HEADER.pack(length, kind, flags, self._sequence, 0) + raw[_HEADER.size :]
            packed += b"\0" * (-len(packed) % 4)
            if flags & NLM_F_ACK:
                awaited[self._sequence] = place
            self._sequence += 1
        self._socket.send(packed)
        failure: OSError | None = None
        while awaited:
            data = self._socket.recv(_BUFFER)
            offset = 0
            while offset + _HEADER.size <= len(data):
                length, kind, _, sequence, _ = _HEADER.unpack_from(data, offset)
                if kind == _NLMSG_ERROR:
                    (code,) = struct.unpack_from("=i", data, offset + _HEADER.size)
                    place = awaited.pop(sequence, -1)
                    if code and failure is None:
                        failure = OSError(-code, os.strerror(-code), f"netlink message {place}")
                        if place == -1:  # a batch was refused as a whole: nothing else will be answered
                            raise failure
                offset += (length + 3) & ~3
        if failure:
            raise failure

    def dump(self, question: bytes) -> list[bytes]:
        """Ask for a list (a message with NLM_F_DUMP) and give the bodies of its parts. Raises OSError."""
        length, kind, flags, _, _ = _HEADER.unpack_from(question)
        self._socket.send(_HEADER.pack(length, kind, flags, self._sequence, 0) + question[_HEADER.size :])
        self._sequence += 1
        found: list[bytes] = []
        while True:
            data = self._socket.recv(_BUFFER)
            offset = 0
            while offset + _HEADER.size <= len(data):
                length, kind, _, _, _ = _HEADER.unpack_from(data, offset)
                body = data[offset + _HEADER.size : offset + length]
                if kind == _NLMSG_DONE:
                    return found
                if kind == _NLMSG_ERROR:
                    (code,) = struct.unpack_from("=i", body)
                    raise OSError(-code, os.strerror(-code))
                found.append(body)
                offset += (length + 3) & ~3
