#!/usr/bin/env python3
"""Time builds in place, where neither namespaces nor mounts are allowed (tests/cages.py), beside full isolation.

    benchmarks/in_place.py [-n RUNS] [--program PYBUILD]

Prints seconds of whole commands, by the wall and of the CPU, the medians of RUNS, and from these what one RUN costs on
roots of some sizes: of 21 RUNs and of one, the difference by 20. On a machine that others use the CPU's tell more. The
program in place is that of the executor image, which the other one makes. Needs root and busybox-static.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from builders import own_program
from workloads import steps

CAGES = Path(__file__).resolve().parents[1] / "tests" / "cages.py"
SIZES = (1_000, 10_000)
FILL = (
    "mkdir /m && cd /m && i=0; while [ $i -lt {directories} ]; do mkdir $i; for f in $(seq 100); do echo $i.$f >$i/$f; "
    "done; i=$((i+1)); done"
)
TIMER = """
import json, os, resource, statistics, subprocess, sys, time
runs, program, *places = json.loads(sys.argv[1])
found = {}
for place in places:
    spent = []
    for _ in range(runs):
        started, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([*program, "-q", "--no-cache", place], check=True, capture_output=True)
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
        spent.append((time.perf_counter() - started, cpu))
    found[os.path.basename(place)] = [statistics.median(one) for one in zip(*spent)]
print(json.dumps(found))
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=5, help="runs of each")
    parser.add_argument("--program", default=own_program())
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pybuild-in-place-") as directory:
        measure(Path(directory), args.program, args.n)


def measure(root: Path, program: str, runs: int) -> None:
    """Measure both in the directory `root`."""
    work, executor = root / "work", root / "executor"
    work.mkdir()
    environ = {**os.environ, "PYBUILD_ROOT": str(root / "store")}

    def run(*words: str) -> None:
        subprocess.run([program, *words], check=True, env=environ, capture_output=True)

    run("bootstrap", "busybox")
    run("save", "-o", f"{work}/busybox.tar", "busybox")
    run("executor-image", "-q", "--shell", "-o", f"type=tar,dest={root}/executor.tar")
    with tarfile.open(root / "executor.tar") as tar:
        tar.extractall(executor, filter="fully_trusted")
    (work / "timer.py").write_text(TIMER)
    texts = {"20-RUN": steps(20).replace("@busybox@", "busybox")}
    for size in SIZES:
        texts[f"base-{size}"] = f"FROM busybox\nRUN {FILL.format(directories=size // 100)}\n"
        for count in (1, 21):
            lines = "".join(f"RUN echo {number} >/n\n" for number in range(count))
            texts[f"{size}-{count}"] = f"FROM base-{size}\n{lines}"
    for name, text in texts.items():
        (work / name).mkdir()
        (work / name / "Dockerfile").write_text(text)
    bases = [["-q", "-t", f"base-{size}", f"{work}/base-{size}"] for size in SIZES]
    places = [f"{work}/{name}" for name in texts if not name.startswith("base")]
    for base in bases:
        run(*base)
    timer = [sys.executable, "-I", f"{work}/timer.py", json.dumps([runs, [program, "--network=none"], *places])]
    full = subprocess.run(timer, check=True, env=environ, capture_output=True, text=True).stdout
    lib = "/pybuild/lib"
    python = [f"{lib}/ld.so", "--library-path", lib, "/pybuild/bin/python3", "-I", f"{work}/timer.py"]
    script = f"pybuild load -q -i {work}/busybox.tar >&2; "
    script += "".join(f"pybuild {' '.join(base)} >&2; " for base in bases)
    script += f"{' '.join(python)} '{json.dumps([runs, ['pybuild'], *places])}'"
    cage = [sys.executable, str(CAGES), "pod", "--root", str(executor), "--through", str(work), "--"]
    env = {"PATH": "/pybuild/bin", "TMPDIR": "/pybuild/tmp", "BUILDAH_ISOLATION": "in-place"}
    placed = subprocess.run(
        [*cage, "/pybuild/bin/sh", "-euc", script], check=True, env=env, stdout=subprocess.PIPE, text=True
    ).stdout
    report(json.loads(placed), json.loads(full))


def report(placed: dict[str, list[float]], full: dict[str, list[float]]) -> None:
    """Print the table."""
    print("| | in place: wall | CPU | full isolation: wall | CPU |\n|---|---|---|---|---|")
    for name, values in placed.items():
        row = " | ".join(f"{value:.3f} s" for value in (*values, *full[name]))
        print(f"| {name} | {row} |")
    for size in SIZES:
        pairs = [(found[f"{size}-21"], found[f"{size}-1"]) for found in (placed, full)]
        each = [(many - one) / 20 * 1000 for more, less in pairs for many, one in zip(more, less, strict=True)]
        print(f"| one RUN on {size:,} files | {' | '.join(f'{value:.0f} ms' for value in each)} |")


if __name__ == "__main__":
    main()
