"""Text for people: lines out of a step's bytes, harmless on a terminal; labels of steps; widths."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TextIO

    from buildah_py.progress.events import StepStarted

MAX_LINE = 64 << 10
"""A line longer than this many bytes is shown in pieces, so that output without line ends needs no memory."""

# Commands of a terminal (ECMA-48): CSI, OSC and its kin up to their end, two-character escapes, C1 controls.
# (Patterns are compiled by their first use, which most builds never come to.)
_COMMANDS = (
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x9b[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c|$)"
    r"|\x1b[ -/]*[0-~]?|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
_COLOUR = r"\x1b\[[0-9;:]*m"
_RESET = "\x1b[0m"
# Characters that turn the direction of writing, and so can make a line show what it does not say.
_BIDI = "[\u200e\u200f\u202a-\u202e\u2066-\u2069]"
_COMMAND = "[\\s\u00ad\u180e\u200b-\u200f\u2060\ufeff]*::"
_CONTROLS = bytes({*range(0x20), 0x7F} - {0x0A})
_WHITE = r"\s*\\?\n\s*"


class Lines:
    """Cuts one stream of a step into lines. A carriage return ends a line too: progress bars repaint with it."""

    __slots__ = ("_rest", "_returned")

    def __init__(self) -> None:
        self._rest = b""
        self._returned = False

    def feed(self, data: bytes, most: int = 0) -> list[str]:
        """Return the lines that `data` completes, or the last `most` of them; those before cost next to nothing."""
        completed = self._completed(data)
        if not completed:
            return []
        lines = completed[:-1]
        pieces = lines.rsplit(b"\n", most)[-most:] if most else lines.split(b"\n")
        return [_decoded(piece) for piece in pieces]

    def text(self, data: bytes) -> str:
        """Return the lines that `data` completes as one text, each with a line feed at its end."""
        return _decoded(self._completed(data))

    def _completed(self, data: bytes) -> bytes:
        if data:
            if self._returned:
                data = data.removeprefix(b"\n")  # the second half of "\r\n"
            self._returned = data.endswith(b"\r")
        text = (self._rest + data).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        end = text.rfind(b"\n") + 1
        lines, rest = text[:end], text[end:]
        while len(rest) > MAX_LINE:
            cut = MAX_LINE
            while cut > MAX_LINE - 4 and rest[cut] & 0xC0 == 0x80:
                cut -= 1  # not within a character
            lines += rest[:cut] + b"\n"
            rest = rest[cut:]
        self._rest = rest
        return lines

    def flush(self) -> list[str]:
        """Return the last line where it had no end."""
        rest, self._rest = self._rest, b""
        return [_decoded(rest)] if rest else []


def _decoded(piece: bytes) -> str:
    return piece.decode("utf-8", "backslashreplace")


def clean(line: str, *, colour: bool) -> str:
    """`line` without what would move the cursor or change the terminal; colours stay if `colour`."""
    if line.isascii() and line.isprintable():
        return line
    line = re.sub(_BIDI, "", line)
    if not colour:
        return re.sub(_COMMANDS, "", line)
    kept = re.sub(_COMMANDS, lambda match: match[0] if re.fullmatch(_COLOUR, match[0]) else "", line)
    return kept + _RESET if "\x1b" in kept and not kept.endswith((_RESET, "\x1b[m")) else kept


def prefixed(prefix: str, lines: str, *, colour: bool) -> str:
    """Return lines, of which each has its end, cleaned, with that before each and no blanks at their ends."""
    if lines.isascii() and len(lines.encode().translate(None, _CONTROLS)) == len(lines):
        found = prefix + lines[:-1].replace("\n", f"\n{prefix}") + "\n"
        if " \n" not in found:  # nor an empty line, as the prefix ends with a blank
            return found
    parts = lines[:-1].split("\n")
    return "".join(f"{prefix}{clean(line, colour=colour)}".rstrip() + "\n" for line in parts)


def is_read_for_commands(env: Mapping[str, str]) -> bool:
    """Whether GitHub's runner reads what is printed, and obeys lines that are workflow commands."""
    return env.get("GITHUB_ACTIONS", "") not in ("", "false")


def without_command(line: str) -> str:
    """`line` as one that GitHub's runner does not obey.

    For it a command begins with `::`, blanks before it or not, or, in the older spelling, with `##[` anywhere.
    """
    if "::" in line and re.match(_COMMAND, line):
        line = f"| {line}"
    return line.replace("##[", "## [")


class Uncommanded:
    """A text stream on which whole lines are written, none of which is a workflow command."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write lines."""
        return self._stream.write("\n".join(map(without_command, text.split("\n"))))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def label(step: StepStarted) -> str:
    """Return the title of a step on one line: `[build 2/5] RUN make`."""
    text = step.text.strip()
    if "\n" in text:
        text = re.sub(_WHITE, " ", text)
    text = clean(text, colour=False)
    place = " ".join(part for part in (step.stage, f"{step.number}/{step.total}" if step.number else "") if part)
    return f"[{place}] {text}" if place else text


def last_words(title: str, lines: Sequence[str]) -> list[str]:
    """Return a failed step's last output, if any, below its place: its text stands in the error that follows."""
    place = f"{title.partition('] ')[0]}]" if title.startswith("[") and "] " in title else title
    return [place, *lines] if lines else []


def width(text: str) -> int:
    """How many columns `text` (without control characters) takes on a terminal."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def fit(text: str, columns: int) -> str:
    """`text` cut to that many columns, with an ellipsis where something is missing. Tabs become blanks."""
    text = text.expandtabs(8)
    if width(text) <= columns:
        return text
    used = 0
    for position, character in enumerate(text):
        used += _columns(character)
        if used > columns - 1:
            return text[:position] + "\u2026"
    return text


def _columns(character: str) -> int:
    from unicodedata import category, east_asian_width

    if category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if east_asian_width(character) in "WF" else 1


def size_text(size: float) -> str:
    """Return a number of bytes as people write it: `12 kB`, `1.2 MB`, `630 MB`."""
    if size < 1000:
        return f"{size:.0f} B"
    for unit in ("kB", "MB", "GB", "TB"):
        size /= 1000
        if size < 9.95:
            return f"{size:.1f} {unit}"
        if size < 999.5 or unit == "TB":
            break
    return f"{size:.0f} {unit}"


def seconds_text(seconds: float) -> str:
    """Return a time as people write it: `1.2s`, `42s`, `3m 20s`, `2h 5m`."""
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60}s"
    return f"{whole // 3600}h {whole % 3600 // 60}m"


def wrapped(text: str, columns: int, indent: str = "") -> list[str]:
    """Return `text` in lines of at most that many columns, all but the first with `indent` before them."""
    indent = indent if len(indent) < columns // 2 else ""
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        before = f"{line} " if line.strip() else line
        if width(before + word) <= columns:
            line = before + word
            continue
        if line.strip():
            lines.append(line)
            line = indent
        while word and width(line + word) > columns:  # a word that is longer than a line
            cut = max(columns - width(line), 1)
            while cut > 1 and width(word[:cut]) > columns - width(line):
                cut -= 1
            lines.append(line + word[:cut])
            word, line = word[cut:], indent
        line += word
    return [*lines, line]
