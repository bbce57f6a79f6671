#!/usr/bin/env python3
"""Show where a short build spends its time, from the start of Python to the end of a RUN; for docs/performance.md.

    benchmarks/budget.py [-n RUNS] [--program PYBUILD] [--dir DIRECTORY]

Prints milliseconds of wall time of whole processes, the fastest and the median of RUNS: each line does what the one
before it does and something more. Then what importing takes, of Python's modules and of pybuild's, by `-X importtime`.
A pybuild that was installed with pip is what people have: an editable one takes longer to find its modules. Needs
root and busybox-static.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from builders import own_program
from workloads import steps

_IMPORT = re.compile(r"import time:\s*(\d+) \|\s*\d+ \|\s*(\S+)")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=30, help="runs of each")
    parser.add_argument("--program", default=own_program())
    parser.add_argument("--dir", type=Path)
    args = parser.parse_args()
    root = args.dir or Path(tempfile.mkdtemp(prefix="pybuild-budget-"))
    root.mkdir(parents=True, exist_ok=True)
    environ = {**os.environ, "PYBUILD_ROOT": str(root / "store")}
    program = args.program
    python = Path(program).read_bytes().split(b"\n", 1)[0].removeprefix(b"#!").decode()

    def run(*words: str) -> float:
        started = time.perf_counter()
        subprocess.run(words, check=True, env=environ, capture_output=True)
        return (time.perf_counter() - started) * 1000

    def context(name: str, text: str) -> str:
        place = root / name
        place.mkdir(exist_ok=True)
        (place / "Dockerfile").write_text(text.replace("@busybox@", "busybox"))
        return str(place)

    run(program, "bootstrap", "busybox")
    one, twenty = context("one", steps(1)), context("twenty", steps(20))
    quiet = ("-q", "-t", "budget")
    run(program, *quiet, one)
    time.sleep(0.1)  # what was written only just is not relied on
    run(program, *quiet, twenty)
    run(program, *quiet, twenty)
    lines = {
        "python -I -S -c pass": (python, "-I", "-S", "-c", "pass"),
        "python -c pass": (python, "-c", "pass"),
        "pybuild --version": (program, "--version"),
        "20 RUN, all hits, given before": (program, *quiet, twenty),
        "20 RUN, all hits, planned": (program, *quiet, "--pull=missing", twenty),
        "1 RUN, all hits, planned": (program, *quiet, "--pull=missing", one),
        "1 RUN of true, without network": (program, *quiet, "--no-cache", "--network=none", one),
        "1 RUN of true, with a network": (program, *quiet, "--no-cache", one),
        "20 RUN of true, without network": (program, *quiet, "--no-cache", "--network=none", twenty),
    }
    print("| | fastest | median |\n|---|---|---|")
    for label, words in lines.items():
        found = [run(*words) for _ in range(args.n)]
        print(f"| {label} | {min(found):.1f} ms | {statistics.median(found):.1f} ms |", flush=True)
    for label in ("20 RUN, all hits, given before", "20 RUN, all hits, planned"):
        run(*lines[label])  # the name means another image since
        traced = [python, "-X", "importtime", *lines[label]]
        said = subprocess.run(traced, check=True, env=environ, capture_output=True, text=True).stderr
        spent: dict[bool, list[int]] = {True: [], False: []}
        for micros, name in _IMPORT.findall(said):
            spent[name.startswith("buildah_py")].append(int(micros))
        own, others = (f"{len(spent[ours])} in {sum(spent[ours]) / 1000:.1f} ms" for ours in (True, False))
        print(f"\n{label}: modules of pybuild: {own}, others: {others} (tracing included)")
    if args.dir is None:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
