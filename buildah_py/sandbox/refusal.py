"""Saying what of a container could not be made, and why."""

from __future__ import annotations

import os

from buildah_py.sandbox import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import Any


class RefusedError(Exception):
    """Something a container needs was refused; `what` was being done, `why` it failed."""

    def __init__(self, what: str, why: str, number: int = 0) -> None:
        super().__init__(what, why, number)
        self.what = what
        self.why = why
        self.number = number


class Doing:
    """Names what is being done, so that an OSError within becomes a RefusedError that says so."""

    __slots__ = ("what",)

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            where = f": {error.filename}" if error.filename else ""
            raise RefusedError(self.what, f"{error.strerror}{where}", error.errno or 0) from None


def tell(channel: _socket.socket, message: tuple[Any, ...], *descriptors: int) -> None:
    """Send a message to whoever wants the container; where nobody does any more, this process ends."""
    if not wire.send(channel, message, descriptors):
        os._exit(125)


def report(channel: _socket.socket, error: Exception) -> None:
    """Tell why there will be no container."""
    if isinstance(error, RefusedError):
        tell(channel, ("error", error.what, error.why, error.number))
    else:
        tell(channel, ("error", "internal error", f"{type(error).__name__}: {error}", 0))
