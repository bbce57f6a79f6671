"""Why a command failed: which line ran it, and what its file is."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from buildah_py.buildfile.parser import parse
from buildah_py.engine.ops.command_words import line_of
from buildah_py.engine.ops.failure import Failure, explain
from buildah_py.layers.looking import ShownRoot
from buildah_py.plan.steps import InlineFile, RunStep
from buildah_py.sandbox import ExitStatus
from buildah_py.source_text import Where

CHAIN = r"""FROM x
# before
RUN --mount=type=tmpfs,target=/t A=1 make all && \
    # a comment: cp
    if test -f "a; cp b" ; then cp x y; fi || \
    (cd /src; ./configure) | tee log & \
    env B=2 nope 'x && other' && make install
RUN <<EOT
one
# two
  three && four
EOT
"""


def where(number: int, text: str = CHAIN) -> Where:
    file = parse(text, "F")
    return Where(file.source, file.stages[0].instructions[number].span)


@pytest.mark.parametrize(
    ("command", "line"),
    [("make", None), ("test", 5), ("cp", 5), ("cd", 6), ("./configure", 6), ("tee", 6), ("nope", 7), ("other", None)],
)
def test_the_line_of_a_command(command: str, line: int | None) -> None:
    assert line_of(where(0), command) == line


def test_the_lines_of_a_here_document() -> None:
    lines = {name: line_of(where(1), name) for name in ("one", "two", "three", "four")}
    assert lines == {"one": 9, "two": None, "three": 11, "four": 11}


def test_a_listing() -> None:
    assert where(1).listing().splitlines() == [
        "   7 |         env B=2 nope 'x && other' && make install",
        "   8 | >>> RUN <<EOT",
        "   9 | >>> one",
        "  10 | >>> # two",
        "  11 | >>>   three && four",
        "  12 | >>> EOT",
    ]
    long = where(0, "FROM x\nRUN a" + " \\\n  b" * 60 + "\nRUN c").listing().splitlines()
    assert long[17] == "     | ... 41 more lines"
    assert (long[1], long[18], long[-1]) == ("   2 | >>> RUN a \\", "  59 | >>>   b \\", "  63 |     RUN c")


def elf(machine: int, loader: str) -> bytes:
    head = (
        b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    )
    size = len(loader) + 1
    return head + struct.pack("<IIQQQQQQ", 3, 4, 120, 0, 0, size, size, 1) + loader.encode() + b"\0"


@pytest.mark.parametrize(
    ("content", "mode", "what"),
    [
        (b"#!/bin/sh\r\necho\r\n", 0o755, r"`/run` is `#!/bin/sh\r`: its line ends are CRLF"),
        (b"#!/opt/python -u\n", 0o755, "wants `/opt/python`, which is not in the image"),
        (b"#! /bin/link\n", 0o755, "wants `/bin/link`"),
        (b"#!/bin/sh\n", 0o644, "is not executable (mode 0644)"),
        (b"", 0o755, "is empty"),
        (b"echo\n", 0o755, "neither a program nor a script"),
        (elf(62, "/lib/ld-linux.so.2"), 0o755, "needs the loader /lib/ld-linux.so.2"),
        (elf(183, "/bin/sh"), 0o755, "is a program for arm64, and this step runs on amd64"),
        (elf(62, "/bin/sh"), 0o755, "found, but it cannot be executed"),
        (b"\x7fELF\x02\x01", 0o755, "found, but it cannot be executed"),
    ],
)
@pytest.mark.parametrize("own", [False, True])
def test_programs_that_cannot_be_executed(tmp_path: Path, content: bytes, mode: int, what: str, own: bool) -> None:
    """They are looked for in the layers, never on the machine: links that lead out of these lead nowhere."""
    upper, lower = tmp_path / "upper", tmp_path / "lower"
    (upper / "bin").mkdir(parents=True)
    (lower / "bin").mkdir(parents=True)
    (lower / "bin/sh").write_text("")
    (lower / "bin/link").symlink_to(Path(__file__).resolve())
    (lower / "run").symlink_to("bin/run")
    (upper / "bin/run").write_bytes(content)
    os.chmod(upper / "bin/run", mode)
    name = "/dev/pipes/run" if own and mode & 1 else "/run"
    files = (InlineFile("run", content, mode),) if own else ()
    step = RunStep((name,), (), "/", "", "default", "sandbox", "linux/amd64", files=files)
    said = f"before\npybuild: {name}: Permission denied\n"
    failure = Failure(
        step, ExitStatus(status=126, signal=None, user_seconds=0, system_seconds=0, max_rss=0), said, None
    )
    cause = explain(failure, lambda: ShownRoot((str(upper), str(lower))))
    assert what.replace("/run", name) in cause.what


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ("a: b\ncp: no x\n\n", "`cp` (line 5) spoke last"),
        ("/bin/test: no x", "`test` (line 5) spoke last"),
        ("tee[12]: no x", "`tee` (line 6) spoke last"),
        ("make: *** [all] Error 1", ""),  # which of both
        ("other: no x", ""),
        ("cp: no x\nbye", ""),
        ("", ""),
    ],
)
def test_which_command_spoke_last(said: str, what: str) -> None:
    step = RunStep(("/bin/sh", "-c", "…"), (), "/", "", "default", "sandbox", "linux/amd64")
    ended = ExitStatus(status=1, signal=None, user_seconds=0, system_seconds=0, max_rss=0)
    assert explain(Failure(step, ended, said, where(0)), lambda: ShownRoot(())).what == what
