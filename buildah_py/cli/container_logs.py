"""What `pybuild logs` prints of a container."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.cli.printing import complain
from buildah_py.errors import NotFound, UsageError
from buildah_py.image.timestamp import to_text
from buildah_py.progress.text import clean, is_read_for_commands, without_command

if TYPE_CHECKING:
    from buildah_py.running.control import ContainerLine
    from buildah_py.running.log import LogPiece

_LOOK = 0.1
"""Seconds between two looks at a log that is followed."""


class LogPart(NamedTuple):
    """Part of a log that is shown: its last lines, `all` of them, of pieces from `since` to `until` (ns since 1970)."""

    tail: str = "all"
    stamped: bool = False
    since: int | None = None
    until: int | None = None

    def holds(self, piece: LogPiece) -> bool:
        """Tell whether a piece is of the time that is asked for."""
        return (self.since is None or piece.moment >= self.since) and (self.until is None or piece.moment < self.until)


def print_log(root: str, word: str, shown: LogPart, *, follow: bool) -> int:
    """Print a container's output where it was printed: on the standard output and the standard error."""
    from buildah_py.running.control import ContainerLine
    from buildah_py.running.log import pieces
    from buildah_py.store.containers import find_container

    if shown.tail != "all" and not shown.tail.isdecimal():
        raise UsageError(f"--tail {shown.tail}: this is neither a number of lines nor `all`")
    found = find_container(root, word)
    if not found.about["detached"]:
        complain(f"pybuild: what {found.name} prints goes to where it was started, and is not kept")
        return 0
    with ExitStack() as stack:
        line: ContainerLine | None = None
        with suppress(NotFound):  # it has ended
            line = stack.enter_context(ContainerLine(found)) if follow else None
        out = _Printer(stamped=shown.stamped, most=int(shown.tail) if shown.tail != "all" else None)

        def more() -> bool:
            out.show_last()
            over = shown.until is not None and time.time_ns() >= shown.until
            return line is not None and not over and not line.ended(_LOOK)

        for piece in filter(shown.holds, pieces(found.file("log"), more)):
            *lines, rest = piece.data.split(b"\n")
            for text in lines:
                out.take(piece, text + b"\n")
            if rest:
                out.take(piece, rest)
    return 0


class _Printer:
    """Prints lines as they come, or parts of them; at first only the `most` last, where that is not None."""

    def __init__(self, *, stamped: bool, most: int | None) -> None:
        self._stamped = stamped
        self._last: deque[tuple[int, list[bytes]]] | None = None if most is None else deque(maxlen=most)
        self._within = {1: False, 2: False}  # of a line, on that stream

    def take(self, piece: LogPiece, text: bytes) -> None:
        """Print a line of a piece, or what there is of it."""
        begins = not self._within[piece.stream]
        self._within[piece.stream] = not text.endswith(b"\n")
        if begins and self._stamped:
            text = f"{to_text(piece.moment)} ".encode() + text
        if self._last is None:
            _print(piece.stream, text)
            return
        lines = [parts for stream, parts in self._last if stream == piece.stream]
        if begins or not lines:
            self._last.append((piece.stream, [text]))
        else:
            lines[-1].append(text)

    def show_last(self) -> None:
        """Print what was held back, and hold back nothing any more."""
        held, self._last = self._last, None
        for stream, parts in held or ():
            _print(stream, b"".join(parts))
        sys.stdout.flush()
        sys.stderr.flush()


def _print(number: int, text: bytes) -> None:
    """Print bytes as they are, but for a terminal and for who obeys what he reads line by line."""
    stream = sys.stdout if number == 1 else sys.stderr
    if not stream.isatty() and not is_read_for_commands(os.environ):
        stream.flush()
        stream.buffer.write(text)
        return
    shown = clean(text.decode("utf-8", "backslashreplace").rstrip("\r\n"), colour=False)
    if is_read_for_commands(os.environ):
        shown = without_command(shown)
    stream.write(shown + ("\n" if text.endswith(b"\n") else ""))
