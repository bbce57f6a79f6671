#!/usr/bin/env python3
"""Time pybuild and the builders that are there beside it on the same build files; print a table.

    benchmarks/run.py [-n RUNS] [--builders pybuild,docker] [--workloads noop20,...] [--dir DIRECTORY] [--svg FILE]

A builder may be another pybuild, NAME=PROGRAM: `--builders before=/old/bin/pybuild,pybuild`. They take turns. Docker's
engine (DOCKER_HOST) and BuildKit (BUILDKIT_HOST) have to run: `--daemon docker=PID` has the memory of that process
measured, else that of the largest process of a command is shown. Everything of pybuild, buildah and podman is kept
below DIRECTORY (default: a temporary one), which should lie on a journaled file system or tmpfs.

Each figure is the wall time of a whole command: the median of the runs, with the fastest and the slowest, and with
the most memory. Needs root, GNU time, busybox-static, docker-registry, and mmdebstrap for the workloads on Debian.
**The images and the cache of Docker's engine are removed.**
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from builders import Builder, Cost, builders
from chart import chart
from workloads import CHANGE, COLD, DEBIAN, EXPORT, FIRST, PUSH, SMALL, WARM, WORKLOADS, Workload

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.registry_server import serving

if TYPE_CHECKING:
    from collections.abc import Sequence

Costs = dict[str, list[Cost]]
_BASES = {SMALL: ("busybox",), DEBIAN: ("debian",)}


def measure(builder: Builder, workload: Workload, context: Path, base: str, root: Path, turn: int) -> Costs:
    """Time all modes of a workload once, and all hits three times after the first."""
    found: Costs = {mode: [] for mode in workload.modes}
    archive = root / "out.tar"
    for words in builder.reset:
        builder.call(words)
    if PUSH in found:
        parts = [
            builder.call(words, context=context, target=f"{base.removesuffix(':latest')}-{builder.name}:{turn}")
            for words in builder.push
        ]
        found[PUSH].append(
            Cost(sum(one.seconds for one in parts), max(one.memory for one in parts), sum(one.cpu for one in parts))
        )
        return found
    builder.call(builder.prime, base=base)
    found[COLD].append(builder.call(builder.build, context=context))
    if EXPORT in found:
        archive.unlink(missing_ok=True)
        found[EXPORT].append(builder.call(builder.export, context=context, archive=archive))
    if WARM in found:
        found[FIRST].append(builder.call(builder.build, context=context))
        found[WARM] += [builder.call(builder.build, context=context) for _ in range(3)]
    if CHANGE in found:
        workload.change(context, turn)
        found[CHANGE].append(builder.call(builder.build, context=context))
    return found


def push_bases(root: Path, host: str, wanted: Sequence[str]) -> dict[str, str]:
    """Make base images and push them to a registry; their names there."""
    own = next(builders(root, ["pybuild"], {}))
    found = {}
    program = own.build[0]
    for base in sorted(set(wanted)):
        name = found[base] = f"{host}/{base.strip('@')}:latest"
        own.call([program, "bootstrap", "-t", name, *_BASES[base]])
        own.call([program, "push", "-q", "--tls-verify=false", name])
    return found


def cell(costs: Sequence[Cost], first: Sequence[Cost]) -> str:
    """Show what runs took, and how many times as long as the first builder's."""
    seconds = sorted(one.seconds for one in costs)
    middle = statistics.median(seconds)
    ratio = middle / statistics.median(one.seconds for one in first)
    shown = f"{middle:.3f} s [{seconds[0]:.3f}-{seconds[-1]:.3f}], {max(one.memory for one in costs):.0f} MB"
    return shown if costs is first else f"{shown}, x {ratio:.1f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=3, help="runs of each")
    parser.add_argument("--builders", default="pybuild,docker,buildkit,buildah,podman")
    parser.add_argument("--workloads", default=",".join(WORKLOADS))
    parser.add_argument("--daemon", action="append", default=[], metavar="BUILDER=PID")
    parser.add_argument("--dir", type=Path)
    parser.add_argument("--registry", metavar="HOST:PORT", help="one that has the images busybox and debian already")
    parser.add_argument("--json", type=Path, help="file for all figures")
    parser.add_argument("--svg", type=Path, help="file for a chart of the medians")
    args = parser.parse_args()
    root = args.dir or Path(tempfile.mkdtemp(prefix="pybuild-bench-"))
    root.mkdir(parents=True, exist_ok=True)
    daemons = {name: int(pid) for name, _, pid in (one.partition("=") for one in args.daemon)}
    chosen = list(builders(root, args.builders.split(","), daemons))
    workloads = {name: WORKLOADS[name] for name in args.workloads.split(",")}
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}"
    print(f"{machine}, Python {platform.python_version()}")
    for builder in chosen:
        said = subprocess.run([word.format() for word in builder.version], check=True, capture_output=True, text=True)
        print(said.stdout.strip())
    print("\n| workload | " + " | ".join(builder.name for builder in chosen) + " |")
    print("|---" * (len(chosen) + 1) + "|")
    kept: dict[str, dict[str, list[Cost]]] = {}
    rows = []
    with ExitStack() as stack:
        if args.registry:
            bases = {base: f"{args.registry}/{base.strip('@')}:latest" for base in _BASES}
        else:
            host = stack.enter_context(serving(root / "registry")).host
            bases = push_bases(root, host, [one.base for one in workloads.values()])
        for name, workload in workloads.items():
            context, base = root / "contexts" / name, bases[workload.base]
            workload.write(context, base)
            table: dict[str, Costs] = {one.name: {mode: [] for mode in workload.modes} for one in chosen}
            for turn in range(args.n):
                for builder in chosen:
                    for mode, costs in measure(builder, workload, context, base, root, turn).items():
                        table[builder.name][mode] += costs
            for mode in workload.modes:
                row = kept[f"{name} {mode}"] = {one.name: table[one.name][mode] for one in chosen}
                first = row[chosen[0].name]
                print(f"| {name} {mode} | " + " | ".join(cell(one, first) for one in row.values()) + " |", flush=True)
                rows.append((f"{name} {mode}", {one: _median(costs) for one, costs in row.items()}))
    if args.json:
        args.json.write_text(json.dumps(kept, indent=1) + "\n")
    if args.svg:
        args.svg.write_text(chart(f"Seconds of whole commands; {machine}", [one.name for one in chosen], rows))
    if args.dir is None:
        shutil.rmtree(root)


def _median(costs: Sequence[Cost]) -> float:
    return statistics.median(one.seconds for one in costs)


if __name__ == "__main__":
    main()
