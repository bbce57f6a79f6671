#!/usr/bin/env python3
"""Bake the forty images of examples/monorepo in each way of docs/scaling.md, and compare with what cannot be beaten.

    benchmarks/scaling.py [--how one,shards,cluster] [--pause 5] [--workers 3] [--threads 4] [--kill] [--s3] [--dir DIR]

The steps sleep, so that two processors do for three machines of as many steps at once as `threads` says. Prints how
long it takes, beside its bound: the longest way through the graph, or all work over all places where steps are
executed, whichever is more. With --kill the worker of the cluster that has most to do is killed after a third of that.
The cluster bakes again, which is all hits. Needs root, busybox-static and what `pip install 'buildah_py[test]'` brings.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HERE))

from buildah_py.baking.durations import Graph  # noqa: E402
from tests import s3_server  # noqa: E402
from tests.dask_cluster import DaskCluster  # noqa: E402

PYBUILD = str(Path(sys.executable).with_name("pybuild"))


def graph(pause: float) -> Graph:
    """Give the graph of the example's steps that sleep."""
    needs: list[list[int]] = [[]]
    seconds = [pause]
    for language in ("go", "node", "python"):
        runtime = len(needs)
        needs.append([0])
        seconds.append(3 * pause if language == "node" else pause)
        for _ in range(3):
            library = len(needs)
            needs.append([runtime])
            seconds.append(pause)
            for service in ("admin", "api", "jobs"):
                needs += [[library], [library]]
                seconds += [2 * pause if service == "api" else pause] * 2
    return Graph(needs, seconds)


def bake(root: Path, place: str, environ: dict[str, str], cluster: DaskCluster, kill: float) -> tuple[float, str]:
    """Bake; the seconds, and what was shown. A worker is killed after `kill` seconds, unless that is 0."""
    words = ["bake", "--progress=plain", f"--cluster={cluster.address}", "--allow=fs=*"]
    words += [f"--set=*.cache-to={place},mode=max", f"--set=*.cache-from={place.replace('dest=', 'src=')}"]
    began = time.monotonic()
    with (root / "shown").open("w+") as shown:
        process = subprocess.Popen(
            [PYBUILD, *words],
            cwd=HERE / "examples/monorepo",
            env={**os.environ, "PYBUILD_ROOT": str(root / "client"), **environ},
            stdout=shown,
            stderr=shown,
        )
        if kill:
            time.sleep(kill)
            cluster.kill(max(cluster.workers, key=lambda name: busy(cluster, name)))
        status = process.wait()
        taken = time.monotonic() - began
        shown.seek(0)
        text = shown.read()
    assert not status, text[-3000:]
    return taken, text


def by_itself(root: Path, name: str, pause: float, *words: str) -> subprocess.Popen[bytes]:
    """Begin to bake with a store of its own."""
    environ = {**os.environ, "PYBUILD_ROOT": str(root / name), "PAUSE": str(pause)}
    subprocess.run([PYBUILD, "bootstrap", "busybox"], env=environ, check=True, capture_output=True)
    with (root / f"{name}.log").open("wb") as log:
        command = [PYBUILD, "bake", "--progress=plain", *words]
        return subprocess.Popen(command, cwd=HERE / "examples/monorepo", env=environ, stdout=log, stderr=log)


def apart(root: Path, pause: float, shares: int, threads: int) -> tuple[float, int]:
    """Bake in shares, all at the same time; the seconds, and the steps that were executed."""
    began = time.monotonic()
    jobs = f"--jobs={threads}"
    names = [f"share{number}" for number in range(1, shares + 1)]
    running = [by_itself(root, name, pause, f"--shards={name[5:]}/{shares}", jobs) for name in names]
    ended = [one.wait() for one in running]
    assert not any(ended)
    return time.monotonic() - began, sum(executed((root / f"{name}.log").read_text()) for name in names)


def busy(cluster: DaskCluster, name: str) -> int:
    """Count the steps that a worker executes now."""
    below = psutil.Process(cluster.workers[name].pid).children(recursive=True)
    return sum("sleep" in process.name() for process in below)


def executed(shown: str) -> int:
    """Count the steps that a bake has executed."""
    return len(re.findall(r"^#\d+ DONE", shown, re.MULTILINE))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--how", default="one,shards,cluster")
    parser.add_argument("--pause", type=float, default=5)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--s3", action="store_true")
    parser.add_argument("--dir", default=None)
    args = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    own = graph(args.pause)
    places = args.workers * args.threads
    path, spread = max(own.before()), sum(own.seconds) / places
    bound = max(path, spread)
    if "one" in args.how:
        with tempfile.TemporaryDirectory(dir=args.dir) as directory:
            taken, steps = apart(Path(directory), args.pause, 1, args.threads)
        told("one machine", taken, max(path, sum(own.seconds) / args.threads), steps=steps)
    if "shards" in args.how:
        with tempfile.TemporaryDirectory(dir=args.dir) as directory:
            taken, steps = apart(Path(directory), args.pause, args.workers, args.threads)
        told(f"{args.workers} shards", taken, bound, steps=steps)
    if "cluster" not in args.how:
        return
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=args.dir)))
        environ = {"PAUSE": str(args.pause)}
        place = f"type=local,dest={root / 'cache'}"
        if args.s3:
            bucket = stack.enter_context(s3_server.serve())
            place, environ = bucket.spec, {**environ, **bucket.environ()}
            os.environ.update(bucket.environ())
        client = {**os.environ, "PYBUILD_ROOT": str(root / "client")}
        subprocess.run([PYBUILD, "bootstrap", "busybox"], env=client, check=True, capture_output=True)
        cluster = stack.enter_context(DaskCluster(root / "dask"))
        cluster.add(*(f"w{number}" for number in range(args.workers)), threads=args.threads)
        taken, shown = bake(root, place, environ, cluster, bound / 3 if args.kill else 0)
        again, hits = bake(root, place, environ, cluster, 0)
        steps = executed(shown)
        begun = sum(1 for _ in re.finditer("did not end it", shown))
    told(
        f"a cluster of {args.workers}",
        taken,
        bound,
        steps=steps,
        begun_again=begun,
        second_bake=round(again, 2),
        second_executed=executed(hits),
    )


def told(how: str, taken: float, bound: float, **further: object) -> None:
    """Print a line about one way."""
    print(json.dumps({"how": how, "seconds": round(taken, 1), "bound": round(bound, 1),
                      "over_bound": round(taken / bound, 3), **further}), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
