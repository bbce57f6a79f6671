#!/usr/bin/env python3
"""Draw docs/pictures/build.svg, the picture at the top of the README, from the recording beside it.

    scripts/run python scripts/make_picture.py             # draw what was recorded
    scripts/run python scripts/make_picture.py --record    # build examples/hello in a terminal again first

The recording is an asciicast (version 2): JSON lines, of which each holds a time and what was printed then. The picture
is its last screen, in the reader's own monospace font, light or dark as the reader has it; its lines come one after the
other where a viewer knows CSS animations, else they are all there.
"""

from __future__ import annotations

import argparse
import codecs
import fcntl
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
from html import escape
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyte

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import RawIOBase

HERE = Path(__file__).resolve().parent.parent
PICTURES = HERE / "docs" / "pictures"
COLUMNS, ROWS = 100, 40
PREPARATION = "pybuild bootstrap busybox"
SESSION = (
    "pybuild -t hello examples/hello",
    "echo Hello again. >examples/hello/greeting.txt",
    "pybuild -t hello examples/hello",
    "pybuild run hello",
)
"""What is done and shown, where the base image was made before."""

_CELL, _LINE, _SIZE, _EDGE = 8.4, 20, 14, 16
_PAUSE, _LONGEST = 0.9, 0.6
"""Seconds before a command, and the longest ones that are waited for a line of its output."""
_COLOURS = {  # of the usual names: on light, on dark
    "red": ("#cf222e", "#ff7b72"),
    "green": ("#1a7f37", "#3fb950"),
    "brown": ("#9a6700", "#d29922"),  # as pyte calls what ECMA-48 calls yellow
    "blue": ("#0969da", "#58a6ff"),
    "brightblack": ("#6e7781", "#8b949e"),
}
_STYLE = """text{{font:{size}px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace}}
text{{fill:#1f2328;white-space:pre}}
rect{{fill:#f6f8fa;stroke:#d0d7de}}
.bold{{font-weight:bold}}
{light}
@media (prefers-color-scheme:dark){{text{{fill:#e6edf3}}rect{{fill:#0d1117;stroke:#30363d}}
{dark}}}
@media (prefers-reduced-motion:no-preference){{g{{animation:come 1ms both}}}}
@keyframes come{{from{{opacity:0}}}}"""


class Run(NamedTuple):
    """Words of one style with single blanks between them, from a column on."""

    column: int
    text: str
    style: str


class Row(NamedTuple):
    """A line of the last screen, and when it was complete, in seconds."""

    runs: list[Run]
    at: float


def read(recording: str) -> list[Row]:
    """Return the last screen of a recording, down to its last line that is not empty."""
    header, *events = map(json.loads, recording.splitlines())
    screen = pyte.Screen(header["width"], header["height"])
    stream = pyte.Stream(screen)
    shown, since, now, before = [""] * header["height"], [0.0] * header["height"], 0.0, 0.0
    for at, _, data in events:
        now += _PAUSE if data.startswith("$ ") else min(at - before, _LONGEST)
        before = at
        stream.feed(data.replace("\x1b[2m", "\x1b[90m"))  # pyte knows no faint text
        for number, line in enumerate(screen.display):
            if line != shown[number]:
                shown[number], since[number] = line, now
    rows = [Row(_runs(screen, number), since[number]) for number in range(header["height"])]
    while rows and not rows[-1].runs:
        rows.pop()
    return rows


def _runs(screen: pyte.Screen, number: int) -> list[Run]:
    cells = [screen.buffer[number][column] for column in range(screen.columns)]
    found, column = list[Run](), 0
    for style, same in groupby(cells, key=lambda cell: " ".join(filter(None, [_colour(cell.fg), "bold" * cell.bold]))):
        text = "".join(cell.data for cell in same)
        found += (Run(column + part.start(), part[0], style) for part in re.finditer(r"\S+(?: \S+)*", text))
        column += len(text)
    return found


def _colour(name: str) -> str:
    return name if name in _COLOURS else ""


def draw(recording: str) -> str:
    """Return the picture of a recording as an SVG document."""
    rows = read(recording)
    width = json.loads(recording.partition("\n")[0])["width"]
    wide, high = width * _CELL + 2 * _EDGE, len(rows) * _LINE + 2 * _EDGE
    light, dark = ("".join(f".{name}{{fill:{one[theme]}}}" for name, one in _COLOURS.items()) for theme in (0, 1))
    lines = []
    for number, row in enumerate(rows):
        texts = "".join(
            f'<text x="{_EDGE + run.column * _CELL:g}" y="{_EDGE + number * _LINE + _SIZE}"'
            f' textLength="{len(run.text) * _CELL:g}"{f" class={run.style!r}" if run.style else ""}>'
            f"{escape(run.text, quote=False)}</text>"
            for run in row.runs
        )
        if texts:
            lines.append(f'<g style="animation-delay:{row.at:.2f}s">{texts}</g>')
    said = "\n".join(" ".join(run.text for run in row.runs) for row in rows)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:g} {high:g}" width="{wide:g}" role="img">',
            f"<title>pybuild in a terminal</title><desc>{escape(said, quote=False)}</desc>",
            f"<style>{_STYLE.format(size=_SIZE, light=light, dark=dark)}</style>",
            f'<rect x="0.5" y="0.5" width="{wide - 1:g}" height="{high - 1:g}" rx="8"/>',
            *lines,
            "</svg>",
            "",
        ]
    )


def record(pybuild: str) -> str:
    """Do SESSION in a terminal, in a copy of the examples and with an empty store; the recording."""
    with tempfile.TemporaryDirectory() as place:
        shutil.copytree(HERE / "examples" / "hello", Path(place, "examples", "hello"))
        os.symlink(pybuild, Path(place, "pybuild"))
        environ = {name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH", "TMPDIR")}
        environ |= {"HOME": place, "PYBUILD_ROOT": f"{place}/store", "TERM": "xterm", "LANG": "C.UTF-8"}
        environ["PYBUILD_OBSERVE"] = "off"  # which not every machine can: the picture is to be the same
        environ["PATH"] = f"{place}:{environ['PATH']}"
        subprocess.run(PREPARATION.split(), check=True, cwd=place, env=environ, stdout=subprocess.DEVNULL)
        began = time.monotonic()
        events = [
            (round(time.monotonic() - began, 3), "o", data)
            for command in SESSION
            for data in chain([f"$ \x1b[1m{command}\x1b[0m\r\n"], _output(command, place, environ))
        ]
    header = {"version": 2, "width": COLUMNS, "height": ROWS}
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in [header, *events])


def _output(command: str, place: str, environ: dict[str, str]) -> Iterator[str]:
    """Give what a command prints on a terminal, in the pieces in which it came."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    process = subprocess.Popen(
        ["sh", "-c", command],
        cwd=place,
        env=environ,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    decoder = codecs.getincrementaldecoder("utf-8")()
    with open(ours, "rb", buffering=0) as terminal:
        while data := _read(terminal):
            yield decoder.decode(data)
    if process.wait():
        sys.exit(f"{command}: status {process.returncode}")


def _read(terminal: RawIOBase) -> bytes:
    try:
        return terminal.read(1 << 16) or b""
    except OSError:  # EIO: nobody has the other end open any more
        return b""


def main() -> None:
    """Record if that is asked for, and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="build examples/hello in a terminal first")
    recording = PICTURES / "build.cast"
    if parser.parse_args().record:
        PICTURES.mkdir(exist_ok=True)
        recording.write_text(record(str(Path(sys.executable).with_name("pybuild"))), encoding="utf-8")
    (PICTURES / "build.svg").write_text(draw(recording.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
