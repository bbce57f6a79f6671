"""How builders are called, and what a command of theirs takes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ALL_IMAGES: Final = "docker rmi -f $(docker images -aq) >/dev/null; docker builder prune -af >/dev/null"


_TIME: Final = "/usr/bin/time"
"""GNU time: of a child of ours the kernel would count the memory that we had when it was forked, getrusage(2)."""


class Cost(NamedTuple):
    """Cost of a command: wall seconds, and MB of memory at most, in the largest process or in the daemon.

    `cpu` are the seconds of all its processes, without those of a daemon.
    """

    seconds: float
    memory: float
    cpu: float


@dataclass
class Builder:
    """A builder by its commands. `{context}`, `{archive}`, `{base}` and `{target}` are filled in.

    `daemon` is the process that does the work, where that is not the command's own.
    """

    name: str
    version: list[str]
    reset: list[list[str]]
    prime: list[str]
    build: list[str]
    export: list[str]
    push: list[list[str]]
    environ: dict[str, str] = field(default_factory=dict)
    daemon: int = 0

    def call(self, words: Sequence[str], **values: object) -> Cost:
        """Run a command. Ends the program where it fails."""
        argv = [word.format(**values) for word in words]
        os.sync()
        peak = Path(f"/proc/{self.daemon}")
        if self.daemon:
            (peak / "clear_refs").write_text("5")  # proc_pid_clear_refs(5): the peak begins anew
        with tempfile.NamedTemporaryFile("r") as used:
            started = time.perf_counter()
            ran = subprocess.run(
                [_TIME, "-q", "-f", "%M %U %S", "-o", used.name, *argv],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, **self.environ},
            )
            seconds = time.perf_counter() - started
            if ran.returncode:
                sys.exit(f"{' '.join(argv)}: status {ran.returncode}\n{ran.stdout}")
            memory, user, system = map(float, used.read().split())
        if self.daemon:
            memory = _kilobytes(peak / "status", "VmHWM:")
        return Cost(seconds, memory / 1000, user + system)


def _kilobytes(path: Path, name: str) -> int:
    return next(int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith(name))


def own_program() -> str:
    """Name the pybuild that is meant without a word."""
    return shutil.which("pybuild") or str(Path(sys.executable).with_name("pybuild"))


def a_pybuild(root: Path, name: str, program: str) -> Builder:
    """Describe a pybuild, which has a state directory of its own."""
    return Builder(
        name,
        [program, "--version"],
        [["rm", "-rf", f"{root}/{name}"]],
        [program, "pull", "-q", "--tls-verify=false", "{base}"],
        [program, "--progress=plain", "-t", "bench", "{context}"],
        [program, "-q", "-t", "bench", "-o", "type=oci,dest={archive}", "{context}"],
        [[program, "-q", "--push", "--tls-verify=false", "-t", "{target}", "{context}"]],
        {"PYBUILD_ROOT": f"{root}/{name}"},
    )


def a_buildah(root: Path, name: str) -> Builder:
    """Describe buildah or podman, with storage of its own."""
    command = [name, f"--root={root}/containers", f"--runroot={root}/run"]
    words = {"buildah": ["bud", "--layers"], "podman": ["build", "--layers"]}[name]
    build = [*command, *words, "--tls-verify=false"]
    return Builder(
        name,
        [name, "--version"],
        [[*command, "rmi", "--all", "--force"]],
        [*command, "pull", "-q", "--tls-verify=false", "{base}"],
        [*build, "-t", "bench", "{context}"],
        [*command, "push", "bench", "oci-archive:{archive}"],
        [[*build, "-t", "{target}", "{context}"], [*command, "push", "--tls-verify=false", "{target}"]],
    )


def a_docker(daemon: int) -> Builder:
    """Describe docker, with the engine that DOCKER_HOST names, whose process is `daemon`."""
    return Builder(
        "docker",
        ["docker", "version", "--format", "Docker {{{{.Server.Version}}}}"],
        [["sh", "-c", _ALL_IMAGES]],
        ["docker", "pull", "-q", "{base}"],
        ["docker", "build", "-q", "-t", "bench", "{context}"],
        ["docker", "save", "-o", "{archive}", "bench"],
        [["docker", "build", "-q", "-t", "{target}", "{context}"], ["docker", "push", "-q", "{target}"]],
        daemon=daemon,
    )


def a_buildkit(daemon: int) -> Builder:
    """Describe BuildKit alone, with the daemon that BUILDKIT_HOST names, whose process is `daemon`."""
    solve = [
        "buildctl",
        "build",
        "--frontend=dockerfile.v0",
        "--local=context={context}",
        "--local=dockerfile={context}",
    ]
    prime = """d=$(mktemp -d) && printf 'FROM %s\nRUN :\n' "$0" >$d/Dockerfile
buildctl build --frontend=dockerfile.v0 --local=context=$d --local=dockerfile=$d && rm -r $d"""
    return Builder(
        "buildkit",
        ["buildctl", "--version"],
        [["buildctl", "prune", "--all"]],
        ["sh", "-c", prime, "{base}"],
        [*solve, "--output=type=image,name=bench"],
        [*solve, "--output=type=oci,dest={archive}"],
        [[*solve, "--output=type=image,name={target},push=true"]],
        daemon=daemon,
    )


def builders(root: Path, wanted: Sequence[str], daemons: dict[str, int]) -> Iterator[Builder]:
    """Describe those of the wanted builders that are there; `NAME=PROGRAM` is another pybuild."""
    for one in wanted:
        name, _, program = one.partition("=")
        if program or name == "pybuild":
            yield a_pybuild(root, name, program or own_program())
        elif name in ("buildah", "podman") and shutil.which(name):
            yield a_buildah(root, name)
        elif name == "docker" and shutil.which(name):
            yield a_docker(daemons.get(name, 0))
        elif name == "buildkit" and shutil.which("buildctl"):
            yield a_buildkit(daemons.get(name, 0))
        else:
            print(f"{name} is not installed, and left out", file=sys.stderr)
