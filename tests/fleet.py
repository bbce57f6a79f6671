"""Machines that build together: network namespaces on a bridge, with S3 in one of them. Needs root, ip and nsenter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.s3_server import BUCKET

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[1]
PYBUILD = str(Path(sys.executable).with_name("pybuild"))
_HUB = "10.213.7.1"


def _ip(*words: str, within: int | None = None) -> None:
    enter = [] if within is None else ["nsenter", f"--net=/proc/{within}/ns/net"]
    subprocess.run([*enter, "ip", *words], check=True)


@contextmanager
def _namespace() -> Iterator[int]:
    """Make a network namespace; the process that keeps it."""
    with subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as keeper:
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        keeper.stdin.write(b"ready\n")
        keeper.stdin.flush()
        keeper.stdout.readline()
        _ip("link", "set", "lo", "up", within=keeper.pid)
        try:
            yield keeper.pid
        finally:
            keeper.stdin.close()


@dataclass
class Machine:
    """One of them, with a store of its own."""

    number: int
    namespace: int
    root: Path
    environ: dict[str, str]
    runs: list[Run] = field(default_factory=list)

    def start(self, work: Path, *arguments: object) -> Run:
        """Begin a bake of all targets in a directory."""
        words = ["nsenter", f"--net=/proc/{self.namespace}/ns/net", PYBUILD, *map(str, arguments)]
        environ = {**os.environ, **self.environ, "PYBUILD_ROOT": str(self.root)}
        process = subprocess.Popen(
            words, cwd=work, env=environ, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self.runs.append(Run(process))
        return self.runs[-1]


class Run:
    """A bake that is going on, with --progress=json; a thread follows it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []
        self.rest: list[str] = []
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                with self._more:
                    if line.startswith("{"):
                        self.events.append(json.loads(line))
                    else:
                        self.rest.append(line)
                    self._more.notify_all()
        with self._more:
            self._more.notify_all()

    def wait_for(self, event: str, **wanted: object) -> None:
        """Wait until something is told."""

        def is_told() -> bool:
            return not self._reader.is_alive() or any(
                one["event"] == event and all(one.get(name) == value for name, value in wanted.items())
                for one in list(self.events)
            )

        with self._more:
            self._more.wait_for(is_told, 60)
            assert self._reader.is_alive(), self.events[-1:]

    def end(self) -> int:
        """Wait for its end; the exit status."""
        status = self.process.wait(120)
        self._reader.join(20)
        return status

    def kill(self) -> None:
        """Kill it as the kernel does."""
        self.process.kill()
        self.end()

    def steps(self) -> dict[tuple[str, str], str]:
        """The outcomes of steps that are no base images, by their stages and texts."""
        texts = {
            event["id"]: (event["stage"], event["text"])
            for event in self.events
            if event["event"] == "step-started" and not event["text"].startswith("FROM")
        }
        return {
            texts[event["id"]]: event["outcome"]
            for event in self.events
            if event["event"] == "step-done" and event["id"] in texts
        }

    def told(self, event: str) -> list[str]:
        """The texts of such events."""
        return [one["text"] for one in self.events if one["event"] == event]


def executions(runs: Sequence[Run], text: str) -> Counter[tuple[str, str]]:
    """How often each step was executed to its end whose text begins so."""
    return Counter(
        step for run in runs for step, outcome in run.steps().items() if outcome == "ran" and step[1].startswith(text)
    )


@dataclass
class Fleet:
    """The machines, and the place that they share."""

    hub: int
    machines: list[Machine]
    share: str

    def cut(self) -> None:
        """Part the machines from the place."""
        _ip("link", "set", "bridge", "down", within=self.hub)

    def mend(self) -> None:
        """Join them again."""
        _ip("link", "set", "bridge", "up", within=self.hub)


@contextmanager
def fleet(directory: Path, base: Path, count: int = 3) -> Iterator[Fleet]:
    """Set up machines whose stores are copies of `base`, below `directory`."""
    with ExitStack() as stack:
        hub = stack.enter_context(_namespace())
        _ip("link", "add", "bridge", "type", "bridge", within=hub)
        _ip("addr", "add", f"{_HUB}/24", "dev", "bridge", within=hub)
        _ip("link", "set", "bridge", "up", within=hub)
        url = stack.enter_context(_s3(hub))
        share = f"type=s3,endpoint_url={url},bucket={BUCKET},region=eu-west-1"
        credentials = {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "a-secret-key"}
        machines = []
        for number in range(1, count + 1):
            own = stack.enter_context(_namespace())
            _ip("link", "add", f"m{number}", "type", "veth", "peer", "name", "up0", "netns", str(own), within=hub)
            _ip("link", "set", f"m{number}", "master", "bridge", "up", within=hub)
            _ip("addr", "add", f"{_HUB[:-1]}{number + 1}/24", "dev", "up0", within=own)
            _ip("link", "set", "up0", "up", within=own)
            root = directory / f"store{number}"
            subprocess.run(["cp", "-aT", base, root], check=True)
            machines.append(Machine(number, own, root, credentials))
        try:
            yield Fleet(hub, machines, share)
        finally:
            for run in [run for machine in machines for run in machine.runs]:
                run.kill()


@contextmanager
def _s3(namespace: int) -> Iterator[str]:
    words = ["nsenter", f"--net=/proc/{namespace}/ns/net", sys.executable, "-m", "tests.s3_server", _HUB]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.stdin.close()
