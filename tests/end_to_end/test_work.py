"""How much a build of hits does: system calls, bytes read, statements of SQL. Never how long that takes.

What counts is how the work grows with steps and files; the start of the program is bounded with some room, since it
depends on the interpreter. Modules are counted in test_start.py.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.end_to_end.conftest import Pybuild

pytestmark = pytest.mark.root
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")

FIRST = ("--pull=missing",)
"""Options of a command that was not given before: it is planned, and looked up step by step."""
_READ = re.compile(r"(?:read|pread64)\(.* = (\d+)$")
_RUN = "import sys; sys.argv[0] = 'pybuild'; from buildah_py.cli import main; status = main()"
_COUNTED = f"""
import _sqlite3
connect, statements = _sqlite3.connect, []
def counting(*args, **options):
    connection = connect(*args, **options)
    connection.set_trace_callback(statements.append)
    return connection
_sqlite3.connect = counting
{_RUN}
print(status, len(statements))
"""


class Work(NamedTuple):
    """Work of a build of hits."""

    calls: int
    bytes_read: int


def of_steps(busybox: Pybuild, count: int) -> Path:
    """Build so many RUN steps; their context."""
    text = "FROM busybox\n" + "".join(f"RUN echo {number} >/f{number}\n" for number in range(count))
    context = busybox.context(text, f"steps{count}")
    busybox.build(context, "--network=none")
    return context


def of_files(busybox: Pybuild, count: int, size: int) -> Path:
    """Build a COPY of so many files of that size; their context."""
    context = busybox.context("FROM busybox\nCOPY . /files\n", f"files{count}-{size}")
    for number in range(count):
        (context / f"f{number:04d}").write_bytes(b"%d" % number * (size // len(str(number))))
    time.sleep(0.1)  # what was written in this moment is read once more
    busybox.build(context, "--network=none")
    return context


def call(busybox: Pybuild, code: str, context: Path, *options: str, before: tuple[str, ...] = ()) -> str:
    """Build what is all hits in a process of its own; what it printed."""
    plain = ("--network=none", "--progress=plain", "-t", "test", *options, str(context))
    command = (*before, sys.executable, "-c", code, *plain)
    ran = subprocess.run(command, check=True, capture_output=True, text=True, env=busybox.environ(), timeout=120)
    assert " DONE " not in ran.stderr
    assert " CACHED" in ran.stderr
    return ran.stdout


def work(busybox: Pybuild, context: Path, *options: str) -> Work:
    """Trace the second of two builds."""
    trace = busybox.work / "trace"
    for _ in range(2):
        call(busybox, _RUN, context, *options, before=("strace", "-f", "-qq", "-o", str(trace)))
    lines = [line for line in trace.read_text(errors="replace").splitlines() if "(" in line]
    return Work(len(lines), sum(int(found[1]) for found in map(_READ.search, lines) if found))


def statements(busybox: Pybuild, context: Path, *options: str) -> int:
    """Count the statements of SQL of the second of two builds."""
    for _ in range(2):
        status, count = call(busybox, _COUNTED, context, *options).split()[-2:]
        assert status == "0"
    return int(count)


@needs_strace
@pytest.mark.parametrize(("options", "most", "each"), [(FIRST, 5_000, 20), ((), 2_600, 5)], ids=["first", "again"])
def test_calls_by_steps(busybox: Pybuild, options: tuple[str, ...], most: int, each: int) -> None:
    few, many = (work(busybox, of_steps(busybox, count), *options) for count in (4, 44))
    assert few.calls <= most
    assert many.calls - few.calls <= 40 * each


@needs_strace
@pytest.mark.parametrize(("options", "each"), [(FIRST, 3), ((), 1.2)], ids=["first", "again"])
def test_calls_by_files(busybox: Pybuild, options: tuple[str, ...], each: float) -> None:
    few, many = (work(busybox, of_files(busybox, count, 10), *options) for count in (10, 510))
    assert many.calls - few.calls <= 500 * each


@needs_strace
@pytest.mark.parametrize("options", [FIRST, ()], ids=["first", "again"])
def test_no_file_of_the_context_is_read(busybox: Pybuild, options: tuple[str, ...]) -> None:
    small, large = (work(busybox, of_files(busybox, 5, size), *options) for size in (10, 1_000_000))
    assert large.bytes_read - small.bytes_read < 100_000


@pytest.mark.parametrize(("options", "most", "each"), [(FIRST, 30, 4), ((), 8, 0)], ids=["first", "again"])
def test_statements(busybox: Pybuild, options: tuple[str, ...], most: int, each: int) -> None:
    few, many = (statements(busybox, of_steps(busybox, count), *options) for count in (4, 44))
    assert few <= most + 4 * each
    assert many - few <= 40 * each
