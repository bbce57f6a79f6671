"""What the end-to-end tests share: the installed command, driven as a person would."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

PYBUILD = str(Path(sys.executable).with_name("pybuild"))
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@dataclass
class Pybuild:
    """The command with a state directory of its own, and a directory for contexts."""

    root: Path
    work: Path

    def environ(self) -> dict[str, str]:
        """Name the state directory; nothing else of ours."""
        return {**os.environ, "PYBUILD_ROOT": str(self.root)}

    def run(
        self, *arguments: object, status: int | None = 0, stdin: str | None = None, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end; fails the test unless it ends with `status` and without a traceback."""
        result = subprocess.run(
            [PYBUILD, *map(str, arguments)],
            check=False,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            env={**self.environ(), **environ},
            cwd=self.work,
            timeout=300,
        )
        assert "Traceback" not in result.stderr, result.stderr
        assert status is None or result.returncode == status, (result.returncode, result.stdout, result.stderr)
        return result

    def context(self, text: str, name: str = "context", **files: str | bytes) -> Path:
        """Write a context with a Buildfile; `a__b_txt` in `files` is the file a/b.txt."""
        directory = self.work / name
        directory.mkdir(exist_ok=True)
        (directory / "Buildfile").write_text(text)
        for key, content in files.items():
            path = directory / key.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return directory

    def build(self, context: Path, *options: object, status: int | None = 0, **environ: str) -> Built:
        """Build `context` as `test`."""
        result = self.run("--progress=plain", "-t", "test", *options, context, status=status, **environ)
        return Built(result.returncode, result.stderr)

    def sh(self, script: str, image: str = "test") -> str:
        """Give what a shell script prints in a container of the image, without network."""
        return self.run("run", "--network=none", "--entrypoint=", image, "/bin/sh", "-c", script).stdout


@dataclass
class Built:
    """How a build ended and what it showed."""

    status: int
    shown: str

    def outcomes(self) -> list[str]:
        """`HIT` or `RAN` for each step in the order of their ends, base images left out."""
        names = {}
        found = []
        for line in self.shown.splitlines():
            number, _, rest = line.partition(" ")
            if rest.startswith("["):
                names[number] = rest
            elif rest.startswith(("HIT", "DONE")) and "] FROM " not in names[number]:
                found.append("HIT" if rest.startswith("HIT") else "RAN")
        return found


@pytest.fixture
def pybuild(tmp_path: Path) -> Pybuild:
    """Give an empty store."""
    work = tmp_path / "work"
    work.mkdir()
    return Pybuild(tmp_path / "state", work)


@pytest.fixture
def busybox(pybuild: Pybuild) -> Pybuild:
    """Give a store with the base image busybox."""
    pybuild.run("bootstrap", "busybox")
    return pybuild


needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs to be root")
