#!/usr/bin/env python3
"""Time pybuild and the builders that are installed beside it on the same build files; print a table.

    benchmarks/run.py [-n RUNS] [--builders pybuild,buildah,podman] [--workloads noop20,...] [--dir DIRECTORY]

A builder may be another pybuild, NAME=PROGRAM: `--builders before=/old/bin/pybuild,pybuild`. They take turns.
Everything is kept below DIRECTORY (default: a temporary one), which should lie on a journaled file system or tmpfs.
Each figure is the wall time of a whole command: the median of the runs, with the fastest and the slowest. Needs root,
busybox-static and skopeo (to hand pybuild's base image to the others).
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BASE = "localhost/base:latest"


@dataclass(frozen=True)
class Workload:
    """A build file, and how its context is made and changed."""

    text: str
    modes: tuple[str, ...] = ("cold", "warm")
    make: Callable[[Path], None] = lambda _: None
    change: Callable[[Path, int], None] = lambda _, __: None


def many_files(context: Path, directories: int = 200) -> None:
    """Make 20,000 files of 0 to 9,000 bytes in 200 directories, or another number of these with 100 files each."""
    for directory in range(directories):
        place = context / "tree" / f"d{directory:03d}"
        place.mkdir(parents=True)
        for number in range(100):
            (place / f"f{number:03d}").write_bytes(f"{directory}/{number}\n".encode() * (number * 9))


def change_one(context: Path, turn: int) -> None:
    """Change one of them."""
    (context / "tree/d100/f050").write_text(f"changed {turn} {time.time_ns()}\n")


def steps(count: int) -> str:
    """Write a build file of small RUN steps."""
    return f"FROM {BASE}\n" + "".join(f"RUN echo {number} > /f{number}\n" for number in range(count))


def stages(count: int) -> str:
    """Write stages that each sleep a second, and one that gathers their files."""
    parts = [f"FROM {BASE} AS s{number}\nRUN sleep 1; echo {number} > /out{number}\n" for number in range(count)]
    copies = [f"COPY --from=s{number} /out{number} /out/\n" for number in range(count)]
    return "\n".join([*parts, f"FROM {BASE}\n" + "".join(copies)])


WORKLOADS = {
    "noop20": Workload(steps(20)),
    "noop120": Workload(steps(120)),
    "copy20000": Workload(f"FROM {BASE}\nCOPY . /src\n", ("cold", "warm", "change", "export"), many_files, change_one),
    "copy50000": Workload(
        f"FROM {BASE}\nCOPY . /src\n",
        ("cold", "warm", "change", "export"),
        lambda context: many_files(context, 500),
        change_one,
    ),
    "stages8": Workload(stages(8)),
}


@dataclass
class Builder:
    """How a builder is called. `{root}`, `{context}`, `{archive}` are filled in."""

    name: str
    build: list[str]
    reset: list[list[str]]
    base: list[list[str]]
    export: list[str]
    version: list[str]
    environ: dict[str, str] = field(default_factory=dict)


def a_pybuild(root: Path, name: str, program: str) -> Builder:
    """Describe a pybuild, which has a state directory of its own."""
    return Builder(
        name,
        [program, "--progress=plain", "-t", "bench", "{context}"],
        [["rm", "-rf", f"{root}/{name}"]],
        [[program, "bootstrap", "busybox", "-t", BASE]],
        [program, "-q", "-t", "bench", "-o", "type=oci,dest={archive}", "{context}"],
        [program, "--version"],
        {"PYBUILD_ROOT": f"{root}/{name}"},
    )


def builders(root: Path, wanted: list[str]) -> dict[str, Builder]:
    """Describe the builders."""
    pybuild = shutil.which("pybuild") or str(Path(sys.executable).with_name("pybuild"))
    storage = [f"--root={root}/containers", f"--runroot={root}/run"]
    skopeo = f"containers-storage:[overlay@{root}/containers+{root}/run]{BASE}"
    found = {"pybuild": a_pybuild(root, "pybuild", pybuild)}
    for name, equals, program in (one.partition("=") for one in wanted):
        if equals:
            found[name] = a_pybuild(root, name, program)
    for name, words in (("buildah", ["bud", "--layers"]), ("podman", ["build", "--layers"])):
        found[name] = Builder(
            name,
            [name, *storage, *words, "-t", "bench", "{context}"],
            [[name, *storage, "rmi", "--all", "--force"]],
            [["skopeo", "--insecure-policy", "copy", "-q", f"oci-archive:{root}/base.tar", skopeo]],
            [name, *storage, "push", "bench", "oci-archive:{archive}"],
            [name, "--version"],
        )
    return found


def call(builder: Builder, words: list[str], **values: object) -> float:
    """Run a command; seconds. Ends the program where it fails."""
    argv = [word.format(**values) for word in words]
    os.sync()
    started = time.perf_counter()
    result = subprocess.run(
        argv,
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **builder.environ},
        stdin=subprocess.DEVNULL,
    )
    seconds = time.perf_counter() - started
    if result.returncode:
        sys.exit(f"{' '.join(argv)}: status {result.returncode}\n{result.stdout}{result.stderr}")
    return seconds


Times = dict[str, list[float]]


def measure(builder: Builder, workload: Workload, context: Path, root: Path, turn: int, found: Times) -> None:
    """Time all modes of a workload once, and all hits three times."""
    archive = root / "out.tar"
    for words in [*builder.reset, *builder.base]:
        call(builder, words)
    found["cold"].append(call(builder, builder.build, context=context))
    if "export" in found:
        archive.unlink(missing_ok=True)
        found["export"].append(call(builder, builder.export, context=context, archive=archive))
    for _ in range(3 if "warm" in found else 0):
        found["warm"].append(call(builder, builder.build, context=context))
    if "change" in found:
        workload.change(context, turn)
        found["change"].append(call(builder, builder.build, context=context))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=3, help="runs of each")
    parser.add_argument("--builders", default="pybuild,buildah,podman")
    parser.add_argument("--workloads", default=",".join(WORKLOADS))
    parser.add_argument("--dir", type=Path)
    args = parser.parse_args()
    root = args.dir or Path(tempfile.mkdtemp(prefix="pybuild-bench-"))
    root.mkdir(parents=True, exist_ok=True)
    wanted = args.builders.split(",")
    known = builders(root, wanted)
    names = [
        name
        for name, equals, _ in (one.partition("=") for one in wanted)
        if equals or name == "pybuild" or shutil.which(name)
    ]
    chosen = [known[name] for name in names]
    own = known["pybuild"]
    for words in own.base:
        call(own, words)
    (root / "empty").mkdir(exist_ok=True)
    (root / "empty/Dockerfile").write_text(f"FROM {BASE}\n")
    call(own, [*own.build[:1], "-q", "-o", f"type=oci,dest={root}/base.tar", str(root / "empty")])
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"
    )
    for builder in chosen:
        print(subprocess.run(builder.version, check=True, capture_output=True, text=True).stdout.strip())
    print("\n| workload | " + " | ".join(builder.name for builder in chosen) + " |")
    print("|---" * (len(chosen) + 1) + "|")
    for name in args.workloads.split(","):
        workload = WORKLOADS[name]
        context = root / "contexts" / name
        if not context.exists():
            context.mkdir(parents=True)
            workload.make(context)
            (context / "Dockerfile").write_text(workload.text)
        table: dict[str, Times] = {builder.name: {mode: [] for mode in workload.modes} for builder in chosen}
        for turn in range(args.n):
            for builder in chosen:
                measure(builder, workload, context, root, turn, table[builder.name])
        for mode in workload.modes:
            cells = []
            for builder in chosen:
                times = table[builder.name][mode]
                cells.append(f"{statistics.median(times):.2f} s [{min(times):.2f}-{max(times):.2f}]")
            print(f"| {name} {mode} | " + " | ".join(cells) + " |", flush=True)
    if args.dir is None:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
