#!/usr/bin/env python3
"""Measure how the cost of pybuild grows: with steps, files, bytes, records in the store, and builds at once.

    benchmarks/growth.py [--what steps,files,bytes,records,builds] [--dir DIRECTORY] [--most FACTOR]

Prints a table of wall seconds, CPU seconds of all processes, and the largest process's memory. DIRECTORY (default: a
temporary one) should lie on a journaled file system or tmpfs; the largest cases take 45 GB there, and `--most 0.1`
leaves out all that are more than a tenth of these. Needs root, GNU time and busybox-static.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sqlite3
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from builders import Builder, a_pybuild, own_program
from workloads import change_one, copying, large_files, many_files, steps

if TYPE_CHECKING:
    from collections.abc import Callable

_BASE = "busybox"


class Growth:
    """A store, and a table that is printed row by row."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.builder: Builder = a_pybuild(root, "store", own_program())

    def fresh(self) -> None:
        """Begin with a store that has the base image alone."""
        for words in self.builder.reset:
            self.builder.call(words)
        self.builder.call([self.builder.build[0], "bootstrap", _BASE])

    def context(self, name: str, text: str, make: Callable[[Path], None] = lambda _: None) -> Path:
        """Make a context anew."""
        place = self._root / "contexts" / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        make(place)
        (place / "Dockerfile").write_text(text.replace("@busybox@", _BASE))
        return place

    def build(self, label: str, context: Path) -> None:
        """Build and print a row."""
        cost = self.builder.call(self.builder.build, context=context)
        print(f"| {label} | {cost.seconds:.3f} | {cost.cpu:.2f} | {cost.memory:.0f} |", flush=True)

    def at_once(self, label: str, contexts: list[Path]) -> None:
        """Build all of them at the same time and print a row."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.perf_counter()
        environ = {**os.environ, **self.builder.environ}
        program = self.builder.build[0]
        running = [
            subprocess.Popen([program, "-q", "-t", f"at{number}", place], env=environ, stdout=subprocess.DEVNULL)
            for number, place in enumerate(contexts)
        ]
        if any(list(map(subprocess.Popen.wait, running))):
            raise SystemExit("a build failed")
        seconds = time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(f"| {label} | {seconds:.3f} | {used:.2f} | |", flush=True)

    def add_records(self, count: int) -> None:
        """Fill the store with records of keys that nobody asks for, found in places where others are looked for."""
        with sqlite3.connect(self._root / "store/state.db") as database:
            database.execute(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
                " INSERT INTO records (key, diff_id, data, created, seal)"
                " SELECT 'sha256:' || lower(hex(randomblob(32))), r.diff_id, r.data, r.created, r.seal"
                " FROM n, (SELECT * FROM records LIMIT 1) r",
                (count,),
            )
            database.execute(
                "INSERT OR IGNORE INTO record_places SELECT p.place, r.key, r.created"
                " FROM records r, (SELECT DISTINCT place FROM record_places LIMIT 3) p"
            )
        database.close()


def by_steps(growth: Growth, most: float) -> None:
    """Measure builds of more and more RUN steps."""
    for count in (10, 100, 450):
        if count > 450 * most:
            break
        growth.fresh()
        context = growth.context("steps", steps(count))
        growth.build(f"{count} RUN, cold", context)
        growth.build(f"{count} RUN, first hits", context)
        growth.build(f"{count} RUN, all hits", context)


def by_files(growth: Growth, most: float) -> None:
    """Measure COPY of more and more files."""
    for count in (1_000, 10_000, 100_000, 500_000):
        if count > 500_000 * most:
            break
        growth.fresh()
        context = growth.context("files", copying(1).text, partial(many_files, directories=count // 100))
        growth.build(f"{count:,} files, cold", context)
        growth.build(f"{count:,} files, first hits", context)
        growth.build(f"{count:,} files, all hits", context)
        change_one(context, 0)
        growth.build(f"{count:,} files, one changed", context)
    shutil.rmtree(context)


def by_bytes(growth: Growth, most: float) -> None:
    """Measure COPY of two files that are larger and larger."""
    for size in (64, 1_024, 10_240):
        if size > 10_240 * most:
            break
        growth.fresh()
        context = growth.context("bytes", copying(1).text, partial(large_files, size=size << 20))
        growth.build(f"{2 * size:,} MiB in two files, cold", context)
        growth.build(f"{2 * size:,} MiB in two files, first hits", context)
    shutil.rmtree(context)


def by_records(growth: Growth, most: float) -> None:
    """Measure hits and misses in a store of more and more records."""
    growth.fresh()
    context = growth.context("records", steps(10))
    growth.build("10 RUN, cold", context)
    there = 10
    for count in (10, 1_000, 10_000, 100_000):
        if count > 100_000 * most:
            break
        growth.add_records(count - there)
        there = count
        growth.build(f"{count:,} records, first hits", context)
        (context / "Dockerfile").write_text(steps(10).replace("@busybox@", _BASE) + f"RUN echo {count} > /last\n")
        growth.build(f"{count:,} records, one RUN more", context)


def by_builds(growth: Growth, most: float) -> None:
    """Measure builds at the same time, each of ten RUN steps of its own."""
    for count in (1, 2, 4, 8, 16):
        if count > 16 * most:
            break
        growth.fresh()
        contexts = [
            growth.context(f"at{number}", steps(10).replace("echo ", f"echo {number}-")) for number in range(count)
        ]
        growth.at_once(f"{count} builds of 10 RUN at once, cold", contexts)
        growth.at_once(f"{count} builds of 10 RUN at once, hits", contexts)


MEASURED = {"steps": by_steps, "files": by_files, "bytes": by_bytes, "records": by_records, "builds": by_builds}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--what", default=",".join(MEASURED))
    parser.add_argument("--dir", type=Path)
    parser.add_argument("--most", type=float, default=1.0, help="the largest cases, as a part of the full ones")
    args = parser.parse_args()
    root = args.dir or Path(tempfile.mkdtemp(prefix="pybuild-growth-"))
    root.mkdir(parents=True, exist_ok=True)
    print("| | wall s | CPU s | MB |\n|---|---|---|---|")
    for name in args.what.split(","):
        MEASURED[name](Growth(root), args.most)
    if args.dir is None:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
