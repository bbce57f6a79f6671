from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from buildah_py.sandbox import BindMount, ContainerSpec, ExitStatus, Operation, Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUSYBOX = "/bin/busybox"


class Result:
    """What a run gave: status and output."""

    def __init__(self, exit_status: ExitStatus, out: str, err: str) -> None:
        self.exit_status = exit_status
        self.status = exit_status.status
        self.out = out
        self.err = err


class Bench:
    """A tiny root file system, a sandbox, and a way to run shell commands in it."""

    def __init__(self, path: Path, sandbox: Sandbox) -> None:
        self.path = path
        self.sandbox = sandbox
        self.base = path / "base"
        self.count = 0
        self.upper = path
        self.init = path

    def spec(self, *argv: str, **changes: Any) -> ContainerSpec:
        self.count += 1
        place = self.path / str(self.count)
        for name in ("upper", "work", "init"):
            (place / name).mkdir(parents=True)
        self.upper, self.init = place / "upper", place / "init"
        spec = ContainerSpec(
            lowers=(str(self.base),),
            upper=str(place / "upper"),
            work=str(place / "work"),
            init=str(place / "init"),
            argv=argv,
            network="none",
        )
        return replace(spec, **changes)

    def run(self, *argv: str, **changes: Any) -> Result:
        return self.execute(self.spec(*argv, **changes))

    def sh(self, script: str, **changes: Any) -> Result:
        return self.run("/bin/sh", "-c", script, **changes)

    def python(self, program: str, *, mounts: tuple[Operation, ...] = (), **changes: Any) -> Result:
        """Run a program of this machine's Python, which attacks from the inside."""
        for name in ("lib", "lib64"):
            if not (self.base / name).is_symlink():
                (self.base / name).symlink_to(f"usr/{name}")
        mounts = (BindMount("/usr", "/usr"), *mounts)
        return self.run("/usr/bin/python3", "-I", "-S", "-c", program, mounts=mounts, **changes)

    def execute(self, spec: ContainerSpec) -> Result:
        with (self.path / "out").open("w+b") as out, (self.path / "err").open("w+b") as err:
            status = self.sandbox.run(spec, stdout=out.fileno(), stderr=err.fileno())
            out.seek(0)
            err.seek(0)
            return Result(status, out.read().decode(), err.read().decode())

    def committed(self) -> list[str]:
        found = []
        for directory, directories, files in os.walk(self.upper):
            found += [os.path.relpath(os.path.join(directory, name), self.upper) for name in (*directories, *files)]
        return sorted(found)


@pytest.fixture(scope="session")
def busybox_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if os.geteuid() != 0:
        pytest.skip("needs to be root")
    if not os.access(BUSYBOX, os.X_OK) or b"statically linked" not in _kind(BUSYBOX):
        pytest.skip(f"needs a static {BUSYBOX} (Debian: busybox-static)")
    root = tmp_path_factory.mktemp("busybox")
    (root / "bin").mkdir()
    shutil.copy(BUSYBOX, root / "bin" / "busybox")
    subprocess.run([BUSYBOX, "--install", "-s", str(root / "bin")], check=True)
    for applet in (root / "bin").iterdir():
        if applet.is_symlink():
            applet.unlink()
            applet.symlink_to("busybox")
    (root / "etc").mkdir()
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    (root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n")
    (root / "etc" / "group").write_text("root:x:0:\nbin:x:1:root\napp:x:1001:\nextra:x:2000:app,root\n")
    return root


def _kind(path: str) -> bytes:
    with open(path, "rb") as file:
        head = file.read(1 << 12)
    return b"statically linked" if b"ld-linux" not in head else b"dynamic"


@pytest.fixture
def bench(tmp_path: Path, busybox_root: Path) -> Iterator[Bench]:
    with Sandbox(str(tmp_path / "state")) as sandbox:
        bench = Bench(tmp_path, sandbox)
        shutil.copytree(busybox_root, bench.base, symlinks=True)
        yield bench
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        assert [line for line in file if str(tmp_path) in line] == []
