#!/usr/bin/env python3
"""Time steps that write much ("loud") against the same ones with output to /dev/null inside ("quiet"); print a table.

    benchmarks/output.py [-n RUNS] [--builders NAME=PROGRAM,...] [--dir DIRECTORY]

Two kinds of steps, with lines of 80 bytes: one computes, so that its output is 10 MB a second, for five seconds, and
one writes 200 MB as fast as it can. Each is shown on a terminal (100x40, a pseudo-terminal that is read all the
time), as plain text and JSON through a pipe that is read all the time, as plain text to /dev/null, and not at all.
A figure is the wall time of a whole command, the median of the runs, which go by turns, with the fastest and the
slowest, beside the CPU time of all its processes. Needs root and busybox-static.
"""

from __future__ import annotations

import argparse
import os
import platform
import pty
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import termios
import threading
import time
from pathlib import Path
from typing import NamedTuple

LINE = b"%06d the quick brown fox jumps over the lazy dog, and the lazy dog does not mind\n"
MEGABYTE = b"".join(LINE % number for number in range(12_500))
BUILD_FILE = """FROM busybox
COPY megabyte /megabyte
RUN {command}
"""
PACED = "for i in $(seq 50); do head -c {work} /dev/zero | sha256sum >/dev/null; cat /megabyte{quiet}; done"
FULL = "for i in $(seq 200); do cat /megabyte{quiet}; done"


class Shown(NamedTuple):
    """How a build is shown: its mode, and what reads it."""

    name: str
    mode: str
    reader: str


SHOWN = (
    Shown("terminal", "tty", "terminal"),
    Shown("plain", "plain", "pipe"),
    Shown("plain, /dev/null", "plain", ""),
    Shown("JSON", "json", "pipe"),
    Shown("nothing", "quiet", ""),
)


def drain(descriptor: int) -> None:
    """Read to the end."""
    try:
        while os.read(descriptor, 1 << 20):
            pass
    except OSError:  # a terminal that nobody has open any more
        pass


def build(program: str, state: Path, context: Path, shown: Shown) -> tuple[float, float]:
    """Build without a cache; seconds of wall time and of CPU time, of the command with all its processes."""
    words = [program, "--no-cache-filter", "0", "--network=none", f"--progress={shown.mode}", str(context)]
    read = write = -1
    if shown.reader == "terminal":
        read, write = pty.openpty()
        termios.tcsetwinsize(write, (40, 100))
    elif shown.reader:
        read, write = os.pipe()
    reader = threading.Thread(target=drain, args=(read,)) if shown.reader else None
    if reader:
        reader.start()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    output = write if shown.reader else subprocess.DEVNULL
    environ = {**os.environ, "PYBUILD_ROOT": str(state), "TERM": "xterm-256color"}
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environ)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if reader:
        os.close(write)
        reader.join()
        os.close(read)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def work_of_a_tenth(program: str, state: Path) -> int:
    """Find how many bytes a step can digest in the tenth of a second that belongs to a megabyte: the best of five."""
    size = 100_000_000
    command = f"for i in 1 2 3 4 5; do time head -c {size} /dev/zero | sha256sum; done"
    words = [program, "run", "--network=none", "busybox", "sh", "-c", command]
    environ = {**os.environ, "PYBUILD_ROOT": str(state)}
    told = subprocess.run(words, check=True, capture_output=True, text=True, env=environ).stderr
    times = [line.split()[1:] for line in told.splitlines() if line.startswith("real")]
    return int(
        size * 0.1 / min(int(minutes.rstrip("m")) * 60 + float(seconds.rstrip("s")) for minutes, seconds in times)
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=3, help="runs of each")
    parser.add_argument(
        "--builders", help="NAME=PROGRAM,...; default: the pybuild that is installed beside this Python"
    )
    parser.add_argument("--dir", type=Path)
    args = parser.parse_args()
    root = args.dir or Path(tempfile.mkdtemp(prefix="pybuild-bench-"))
    own = shutil.which("pybuild") or str(Path(sys.executable).with_name("pybuild"))
    programs = dict(one.split("=", 1) for one in args.builders.split(",")) if args.builders else {"pybuild": own}
    for name, program in programs.items():
        environ = {**os.environ, "PYBUILD_ROOT": str(root / name)}
        subprocess.run([program, "bootstrap", "busybox"], check=True, capture_output=True, env=environ)
    work = work_of_a_tenth(next(iter(programs.values())), root / next(iter(programs)))
    commands = {"10 MB/s": PACED.format(work=work, quiet="{quiet}"), "full speed": FULL}
    print(
        f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}; {work} bytes a tenth"
    )
    print("\n| step | shown | program | quiet | loud | ratio | CPU, quiet | loud |\n|---|---|---|---|---|---|---|---|")
    for kind, command in commands.items():
        for quiet, redirected in (("quiet", " >/dev/null"), ("loud", "")):
            context = root / kind.replace("/", "") / quiet
            context.mkdir(parents=True, exist_ok=True)
            (context / "megabyte").write_bytes(MEGABYTE)
            (context / "Dockerfile").write_text(BUILD_FILE.format(command=command.format(quiet=redirected)))
        for shown in SHOWN:
            times: dict[str, dict[str, list[tuple[float, float]]]] = {}
            for _ in range(args.n):
                for name, program in programs.items():
                    for quiet in ("quiet", "loud"):
                        taken = build(program, root / name, root / kind.replace("/", "") / quiet, shown)
                        times.setdefault(name, {}).setdefault(quiet, []).append(taken)
            for name, of_program in times.items():
                walls = {quiet: sorted(wall for wall, _ in taken) for quiet, taken in of_program.items()}
                cpus = [f"{statistics.median(cpu for _, cpu in taken):.2f} s" for taken in of_program.values()]
                cells = [f"{statistics.median(one):.2f} s [{one[0]:.2f}-{one[-1]:.2f}]" for one in walls.values()]
                ratio = statistics.median(walls["loud"]) / statistics.median(walls["quiet"])
                print(f"| {' | '.join([kind, shown.name, name, *cells, f'{ratio:.3f}', *cpus])} |", flush=True)
    if args.dir is None:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
