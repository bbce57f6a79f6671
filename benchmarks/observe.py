#!/usr/bin/env python3
"""Change one line of real projects and build them again, and tell whether the install step hits, and what that saves.

    benchmarks/observe.py --dir DIR [--only NAME;…] [-n RUNS] [--peer 'docker buildx build'] [--json FILE]

Each project is built as `COPY . .`, then the step in question. Printed are whether that step hits after an edit, files
that it read and that the project has, and seconds of the whole command: of the first build without and with
`--observe`, after an edit without and with it (medians of RUNS), and of the peer after such an edit. The first run
makes the image of the tools, which takes the network and a quarter of an hour; most of the projects are built without
one. A peer has to have that image: `pybuild save`. Needs root and mmdebstrap. State and contexts are kept in DIR.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from observe_projects import PROJECTS, Project

TOOLS = "localhost/tools"
_CACHED = re.compile(r"CACHED \(nothing it read has changed: ([\d,]+) of ([\d,]+) files\)")


class Runner:
    """pybuild with a state directory, and perhaps a peer; both are called with the same contexts."""

    def __init__(self, root: Path, pybuild: str, peer: str) -> None:
        self.root = root
        self.network = False
        self._pybuild = shlex.split(pybuild)
        self._peer = shlex.split(peer)
        self._environ = {**os.environ, "PYBUILD_ROOT": str(root / "pybuild")}

    def call(self, *words: str) -> tuple[float, str]:
        """Run pybuild; seconds, and what it said."""
        return self._call([*self._pybuild, *words])

    def build(self, context: Path, *words: str) -> tuple[float, str]:
        """Build without a network."""
        network = ["--ca-bundle=host"] if self.network else ["--network=none"]
        return self.call("build", "--progress=plain", *network, *words, str(context))

    def peer(self, context: Path) -> float:
        """Build with the peer; seconds."""
        return self._call([*self._peer, str(context)])[0]

    def _call(self, argv: list[str]) -> tuple[float, str]:
        started = time.perf_counter()
        done = subprocess.run(
            argv,
            check=False,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environ,
        )
        seconds = time.perf_counter() - started
        if done.returncode:
            raise ValueError(f"{shlex.join(argv)}: status {done.returncode}\n{done.stdout[-3000:]}")
        return seconds, done.stdout


def prepare(runner: Runner) -> None:
    """Make the image of the tools, and fetch the seeds out of it."""
    seed = runner.root / "seed"
    if seed.exists():
        return
    runner.call("bootstrap", "debian:trixie", "-t", "localhost/debian:trixie")
    tools = Path(__file__).with_name("observe_tools")
    runner.call("build", "--ca-bundle=host", "-t", TOOLS, str(tools))
    file = runner.root / "Dockerfile.seed"
    file.write_text(f"FROM {TOOLS} AS tools\nFROM scratch\nCOPY --from=tools /seed /\n")
    runner.call("build", "-f", str(file), "-o", str(seed), str(tools))


def edit(place: Path, turn: int) -> None:
    """Change a line, and with it the size."""
    with place.open("a") as file:
        file.write(f"\n{'#' if place.suffix == '.py' else '//'} {'changed ' * (turn + 1)}{time.time_ns()}\n")


def measure(runner: Runner, project: Project, runs: int, *, peer: bool) -> dict[str, Any]:
    """Build a project first, and after edits."""
    runner.network = project.network
    peer = peer and not project.network
    context = runner.root / "contexts" / re.sub(r"\W+", "-", project.name)
    shutil.rmtree(context, ignore_errors=True)
    if project.seed:
        shutil.copytree(runner.root / "seed" / project.seed, context, symlinks=True)
    project.make(context)
    (context / "Dockerfile").write_text(project.text(TOOLS))
    edited = context / project.edited
    found: dict[str, Any] = {"project": project.name}
    found["first, off"] = runner.build(context, "--no-cache", "--observe=off")[0]
    found["first, on"] = runner.build(context, "--no-cache")[0]
    times: dict[str, list[float]] = {"off": [], "on": [], "peer": []}
    if peer:
        runner.peer(context)
    for turn in range(runs):
        edit(edited, 2 * turn)
        times["off"].append(runner.build(context, "--observe=off")[0])
        edit(edited, 2 * turn + 1)
        seconds, said = runner.build(context)
        times["on"].append(seconds)
        hit = _last_hit(said, project.text(TOOLS).count("\nRUN ") + 3)
        found |= {"hit": hit is not None, "read": hit[0] if hit else "", "files": hit[1] if hit else "", "said": said}
        if peer:
            times["peer"].append(runner.peer(context))
    found |= {name: statistics.median(several) for name, several in times.items() if several}
    if not found["hit"]:
        found["why"] = runner.call("why", str(context))[1]
    return found


def _last_hit(said: str, step: int) -> tuple[str, str] | None:
    """Tell what the last step read, and of how many files, where it was a hit for that."""
    hit = re.search(rf"^#{step} {_CACHED.pattern}", said, re.MULTILINE)
    return hit and (hit[1], hit[2])


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--only", default="", help="names of projects, with semicolons")
    parser.add_argument("-n", type=int, default=1, help="edits of each")
    parser.add_argument("--pybuild", default=f"{sys.executable} -m buildah_py")
    parser.add_argument("--peer", default="", help="command that builds a context with another builder")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    runner = Runner(args.dir, args.pybuild, args.peer)
    args.dir.mkdir(parents=True, exist_ok=True)
    prepare(runner)
    system = f"Linux {platform.release()}, Python {platform.python_version()}"
    print(f"{platform.machine()}, {os.cpu_count()} cores, {system}")
    heads = ["first, off", "first, on", "off", "on", *(["peer"] if args.peer else [])]
    print("\n| project | hit | read | of | " + " | ".join(heads) + " |\n|---" + "|---" * (3 + len(heads)) + "|")
    wanted = args.only.split(";") if args.only else [project.name for project in PROJECTS]
    report, wrong = [], 0
    for project in PROJECTS:
        if project.name not in wanted:
            continue
        try:
            found = measure(runner, project, args.n, peer=bool(args.peer))
        except ValueError as error:
            print(f"| {project.name} | failed |\n{error}", flush=True)
            wrong += 1
            continue
        wrong += found["hit"] == bool(project.limit)
        report.append(found)
        cells = [project.name, "yes" if found["hit"] else "no", found["read"], found["files"]]
        cells += [f"{found[head]:.2f} s" if head in found else "" for head in heads]
        print("| " + " | ".join(cells) + " |", flush=True)
        if args.json:
            args.json.write_text(json.dumps(report, indent=1))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
