from __future__ import annotations

import errno
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from buildah_py.engine.run import RunExecution
from buildah_py.engine.step_log import StepLog

if TYPE_CHECKING:
    from pathlib import Path


def kept(path: Path, most: int, *pieces: bytes) -> bytes:
    with StepLog(lambda: os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), most) as log:
        for piece in pieces:
            log.add(piece)
    return path.read_bytes() if path.exists() else b"none"


def test_everything_is_kept_up_to_a_size(tmp_path: Path) -> None:
    assert kept(tmp_path / "silent", 10) == b"none"
    assert kept(tmp_path / "all", 10, b"01234", b"56789") == b"0123456789"
    assert kept(tmp_path / "more", 10, b"01234567", b"89ab", b"cd") == b"0123456789abcd"
    flood = [b"x" * 30_000 + b"\n"] * 10
    found = kept(tmp_path / "flood", 10, *flood, b"the end\n")
    assert found.startswith(b"x" * 10 + b"\n[234472 bytes are left out]\n")
    assert found.endswith(b"x\nthe end\n")
    assert len(found) < 70_000


class Ended:
    """A container that runs until it is killed."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.warnings: list[str] = []

    def kill(self) -> None:
        self.calls.append("kill")

    def wait(self, *, seal: bool = False) -> None:  # noqa: ARG002
        self.calls.append("wait")


@pytest.mark.parametrize("failing", ["log", "show"])
def test_a_container_whose_output_cannot_be_kept_is_ended(tmp_path: Path, failing: str) -> None:
    container = Ended()

    def start(_spec: object, *, stdin: None, stdout: int, stderr: int) -> Ended:
        os.write(stdout, b"something")
        return container

    def open_log(_number: int) -> int:
        if failing == "log":
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT, 0o600)

    def show(_stream: int, _data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def finished(_container: object) -> None:
        container.calls.append("finished")

    workshop: Any = SimpleNamespace(start=start, open_log=open_log, finished=finished)
    nothing: Any = SimpleNamespace(index=0)
    with pytest.raises(OSError, match="No space"):
        RunExecution(workshop, nothing, nothing, nothing, ())._run(nothing, show)
    assert container.calls == ["kill", "wait", "finished"]
