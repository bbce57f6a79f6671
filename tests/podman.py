"""podman, to read back and to run what pybuild wrote."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Podman:
    """podman with a storage of its own, in a mount namespace where crun finds cgroups that it knows."""

    def __init__(self, directory: str) -> None:
        self.options = (
            "--root", f"{directory}/root", "--runroot", f"{directory}/runroot", "--tmpdir", f"{directory}/tmp",
            "--storage-driver=vfs", "--events-backend=file", "--cgroup-manager=cgroupfs",
        )  # fmt: skip

    def __call__(self, *command: str | Path) -> str:
        """Run a podman command; what it prints."""
        script = 'mount -t cgroup2 none /sys/fs/cgroup && exec podman "$@"'
        argv = ["unshare", "-m", "sh", "-c", script, "podman", *self.options, *map(str, command)]
        result = subprocess.run(argv, check=False, capture_output=True, text=True)
        assert result.returncode == 0, (command, result.stderr)
        return result.stdout

    def execute(self, image: str, *command: str) -> str:
        """Run a container; what it prints. Limits are named, for a machine may be unable to raise its own.

        By way of a log: what a short command prints is at times lost to whoever is attached to it.
        """
        limits = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")
        how = ("--detach", "--log-driver=k8s-file", "--cgroups=disabled", "--network=none", *limits)
        container = self("run", *how, image, *command).strip()
        self("wait", container)
        printed = self("logs", container)
        self("rm", container)
        return printed


@pytest.fixture
def podman() -> Iterator[Podman]:
    """Give podman with an empty storage, or skip."""
    if shutil.which("podman") is None:
        pytest.skip("needs podman")
    if os.geteuid():
        pytest.skip("needs root, to run podman beside the machine's own")
    if subprocess.run(["unshare", "-m", "mount", "-t", "cgroup2", "none", "/sys/fs/cgroup"], check=False).returncode:
        pytest.skip("needs cgroup2, for podman")
    with tempfile.TemporaryDirectory(prefix="pod") as directory:  # podman asks for a short path
        made = Podman(directory)
        yield made
        made("rmi", "--all", "--force")


@contextmanager
def service(podman: Podman, path: Path) -> Iterator[None]:
    """Have podman serve its API on the socket `path`, which is there from the first moment on."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        script = (
            "mount -t cgroup2 none /sys/fs/cgroup && exec 3<&0 </dev/null && export LISTEN_FDS=1 LISTEN_PID=$$ "
            '&& exec podman "$@"'
        )
        argv = ["unshare", "-m", "sh", "-c", script, "podman", *podman.options]
        argv += ["system", "service", "--time=0"]
        process = subprocess.Popen(argv, stdin=listening.fileno(), stderr=subprocess.PIPE)
    try:
        yield
    finally:
        process.terminate()
        process.communicate()
