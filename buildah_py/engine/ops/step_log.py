"""The output of a step, kept in a file: all of it but secrets, up to a size that only mistakes and attacks exceed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from buildah_py.store import Store

MOST: Final = 128 << 20
"""Bytes of a step's output that are kept."""
_END: Final = 64 << 10
_SHORTEST: Final = 6  # bytes of a secret: shorter ones are in ordinary words too


class StepLog:
    """Written as output comes; `open_file` is called with the first. Behind MOST, only the end is kept.

    Where the output has one of the `secrets` in it, or a line of one, asterisks are kept instead.
    """

    def __init__(self, open_file: Callable[[], int], most: int = MOST, secrets: Iterable[bytes] = ()) -> None:
        self._open_file = open_file
        self._mask = OutputMask(secrets)
        self._most = most
        self._descriptor = -1
        self._size = 0
        self._left_out = 0
        self._end = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor >= 0:
            try:
                self._keep(self._mask.rest())
                if self._end:
                    left = self._left_out - len(self._end)
                    self._write(b"\n[%d bytes are left out]\n" % left if left else b"")
                    self._write(self._end)
            finally:
                os.close(self._descriptor)

    def add(self, data: bytes) -> None:
        """Keep output. Raises OSError."""
        if self._descriptor < 0:
            self._descriptor = self._open_file()
        self._keep(self._mask.masked(data))

    def _keep(self, data: bytes) -> None:
        kept = data[: max(0, self._most - self._size)]
        self._size += len(kept)
        self._write(kept)
        if len(kept) < len(data):
            rest = data[len(kept) :]
            self._left_out += len(rest)
            self._end += rest
            del self._end[:-_END]

    def _write(self, data: bytes | bytearray) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]


class OutputMask:
    """Puts asterisks in the place of secrets, however output is cut into pieces; what may begin one is held back."""

    def __init__(self, secrets: Iterable[bytes]) -> None:
        parts = {part.strip() for secret in secrets for part in (secret, *secret.split(b"\n"))}
        self._parts = sorted((part for part in parts if len(part) >= _SHORTEST), key=len, reverse=True)
        self._held = b""

    def masked(self, data: bytes) -> bytes:
        """Return what can be kept by now."""
        if not self._parts:
            return data
        data = self._replaced(self._held + data)
        longest = min(len(data), len(self._parts[0]) - 1)
        held = next((n for n in range(longest, 0, -1) if any(part.startswith(data[-n:]) for part in self._parts)), 0)
        self._held = data[len(data) - held :]
        return data[: len(data) - held]

    def rest(self) -> bytes:
        """Return what was held back, once no more comes."""
        held, self._held = self._held, b""
        return held

    def _replaced(self, data: bytes) -> bytes:
        for part in self._parts:
            data = data.replace(part, b"***")
        return data


def open_log(store: Store, number: int) -> int:
    """Return a descriptor for appending to the log of step `number` of this build, which nothing clips."""
    directory = store.path("logs", store.lease.name)
    os.makedirs(directory, mode=0o700, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    return os.open(os.path.join(directory, f"{number}.log"), flags, 0o600)
