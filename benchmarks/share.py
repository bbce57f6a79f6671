#!/usr/bin/env python3
"""Bake examples/monorepo on several machines that share the work, and hold what comes of it to what has to come.

    benchmarks/share.py [--machines N] [--unit SECONDS] [--jobs N] [--claim-ttl 30s] [--dir DIRECTORY] [CASE…]

The machines are network namespaces on a bridge, with S3 (moto) in one more; each has a store of its own. Steps sleep
for units of work, so that two processors show what many would. Cases: `plain`; `killed`, in which one machine is killed
-9 on the way; `cut`, in which the bridge is down for five seconds on the way.

The bound is the longest chain of steps, or all sleep divided by all jobs, whichever is longer. Digests are those of all
images with their times rewritten, and compared with a build on one machine that shares nothing. Needs root, ip,
nsenter, busybox-static, and the packages of the tests.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.fleet import PYBUILD, ROOT, Fleet, executions, fleet

if TYPE_CHECKING:
    from tests.fleet import Machine, Run

EXAMPLE = ROOT / "examples/monorepo"
BAKE = ("bake", "--progress=json", "--set=*.network=none")
CHAIN, ALL = 7, 87
"""Units of work: base 1, runtime-node 3, a library 1, its api 2; all steps together."""
CASES = ("plain", "killed", "cut")


def targets(environ: dict[str, str]) -> list[str]:
    """Name the targets."""
    shown = subprocess.run([PYBUILD, "bake", "--print"], cwd=EXAMPLE, env=environ, check=True, capture_output=True)
    return sorted(json.loads(shown.stdout)["target"])


def digests(root: Path, work: Path) -> dict[str, str]:
    """Write all images of a store that has their steps, with their times rewritten; their digests."""
    environ = {**os.environ, "PYBUILD_ROOT": str(root), "SOURCE_DATE_EPOCH": "1000000000"}
    work.mkdir(exist_ok=True)
    names = targets(environ)
    outputs = [f"--set={name}.output=type=oci,rewrite-timestamp=true,dest={work}/{name}.tar" for name in names]
    words = [PYBUILD, "bake", "--progress=quiet", "--set=*.network=none", f"--allow=fs.write={work}", *outputs]
    subprocess.run(words, cwd=EXAMPLE, env=environ, check=True, capture_output=True)
    found = {}
    for name in names:
        with tarfile.open(work / f"{name}.tar") as archive:
            file = archive.extractfile("index.json")
            assert file is not None
            found[name] = json.load(file)["manifests"][0]["digest"]
    shutil.rmtree(work)
    return found


def bake(machine: Machine, share: str, jobs: int) -> Run:
    """Begin a bake."""
    return machine.start(EXAMPLE, *BAKE, f"--share={share}", *([f"--jobs={jobs}"] if jobs else []))


def play(case: str, machines: Fleet, unit: float, jobs: int, ttl: str) -> float:
    """Bake on all machines; how long it took until the last had ended that was not killed."""
    began = time.monotonic()
    runs = [bake(machine, f"{machines.share},claim-ttl={ttl}", jobs) for machine in machines.machines]
    if case != "plain":
        runs[0].wait_for("step-started", stage="runtime-go")
        time.sleep(unit / 2)
    if case == "killed":
        runs[1].kill()
        runs = [runs[0], *runs[2:]]
    elif case == "cut":
        machines.cut()
        time.sleep(5)
        machines.mend()
    for run in runs:
        assert run.end() == 0, (run.rest, run.events[-1:])
    return time.monotonic() - began


def again(machine: Machine, share: str) -> float:
    """Bake once more; how long that took, all of it hits."""
    began = time.monotonic()
    run = bake(machine, share, 0)
    assert run.end() == 0, run.rest
    assert set(Counter(run.steps().values())) == {"hit"}, Counter(run.steps().values())
    return time.monotonic() - began


def main() -> None:
    """Play the cases and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE")
    parser.add_argument("--machines", type=int, default=3)
    parser.add_argument("--unit", type=float, default=5.0)
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--claim-ttl", default="10s")
    parser.add_argument("--dir")
    args = parser.parse_args()
    os.environ["PAUSE"] = f"{args.unit:g}"
    jobs = args.jobs or 4 + 4 * (os.cpu_count() or 1)
    bound = args.unit * max(CHAIN, ALL / jobs / args.machines)
    print(f"{args.machines} machines, {jobs} jobs each, {args.unit:g} s a unit; the bound is {bound:.1f} s")
    print("| case | makespan | of the bound | executed | twice | again | again, empty store | digests |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=args.dir) as name:
        top = Path(name)
        base = top / "base"
        environ = {**os.environ, "PYBUILD_ROOT": str(base)}
        subprocess.run([PYBUILD, "bootstrap", "busybox"], env=environ, check=True, capture_output=True)
        subprocess.run(["cp", "-aT", base, top / "local"], check=True)
        subprocess.run([PYBUILD, *BAKE], cwd=EXAMPLE, env={**environ, "PYBUILD_ROOT": str(top / "local")}, check=True,
                       capture_output=True)  # fmt: skip
        wanted = digests(top / "local", top / "images")
        for case in args.cases or CASES:
            where = top / case
            where.mkdir()
            with fleet(where, base, args.machines) as machines:
                seconds = play(case, machines, args.unit, args.jobs, args.claim_ttl)
                every = [run for machine in machines.machines for run in machine.runs]
                found = executions(every, "")
                twice = found.total() - len(found)
                first, last = machines.machines[0], machines.machines[-1]
                warm = again(first, machines.share)
                shutil.rmtree(last.root)
                subprocess.run(["cp", "-aT", base, last.root], check=True)
                empty = again(last, machines.share)
                same = digests(first.root, top / "images") == wanted
                print(
                    f"| {case} | {seconds:.1f} s | {seconds / bound:.2f} | {len(found)} | {twice}"
                    f" ({100 * twice / len(found):.1f} %) | {warm:.2f} s | {empty:.2f} s"
                    f" | {'the same' if same else 'OTHERS'} |",
                    flush=True,
                )
            shutil.rmtree(where)


if __name__ == "__main__":
    main()
