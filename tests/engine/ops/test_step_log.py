from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildah_py.engine.containers import Cancellation, Containers
from buildah_py.engine.ops import Task
from buildah_py.engine.ops.command import Command
from buildah_py.engine.ops.step_log import StepLog
from buildah_py.engine.results import NOTHING
from buildah_py.engine.worker import Reporter
from buildah_py.image import platform
from buildah_py.plan.steps import RunStep

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildah_py.progress.events import Event


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
        self.unobserved = False

    def kill(self) -> None:
        self.calls.append("kill")

    def wait(self, *, seal: bool = False) -> None:  # noqa: ARG002
        self.calls.append("wait")


class Sandbox:
    """Starts nothing but `container`, which says something."""

    def __init__(self, container: Ended) -> None:
        self._container = container

    def start_container(self, _spec: object, *, stdin: None, stdout: int, stderr: int, **_more: object) -> Ended:
        assert (stdin, stdout) == (None, stderr)
        os.write(stdout, b"something")
        return self._container


def run(tmp_path: Path, containers: Containers, emit: Callable[[Event], None]) -> None:
    """Run a step's command in a container of those."""
    store = SimpleNamespace(
        stack=lambda _: (), path=lambda *names: str(tmp_path.joinpath(*names)), lease=SimpleNamespace(name="b")
    )
    worker: Any = SimpleNamespace(
        store=store,
        containers=containers,
        reporter=Reporter(emit),
        file_systems=SimpleNamespace(owners=True, make_root=lambda path, _: os.mkdir(path)),
    )
    step = RunStep(("x",), (), "/", "", "none", "sandbox", str(platform.host()))
    node: Any = SimpleNamespace(index=0, place="F:1", text="RUN x")
    staged = tmp_path / "staged"
    staged.mkdir()
    with Command(Task(worker, node, NOTHING, ()), step, str(staged)) as command:
        command.run()


def containers_of(sandbox: Any) -> Containers:
    return Containers(lambda: sandbox, Cancellation(), lambda spec: spec)


@pytest.mark.parametrize("failing", ["log", "show"])
def test_a_container_whose_output_cannot_be_kept_is_ended(tmp_path: Path, failing: str) -> None:
    container = Ended()
    containers = containers_of(Sandbox(container))
    (tmp_path / "logs" / "b").mkdir(parents=True)
    if failing == "log":
        (tmp_path / "logs" / "b" / "1.log").symlink_to("/dev/full")

    def show(_event: Event) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        run(tmp_path, containers, show)
    assert container.calls == ["kill", "wait"]
    containers.cancel()
    assert container.calls == ["kill", "wait"], "what has ended is not known any more"


_words = st.sampled_from([b"word", b"hidden", b" ", b"hid", b"den", b"\n", b"line two", b"line", b"two"])


@settings(max_examples=60)
@given(st.lists(_words, max_size=20), st.integers(1, 7))
def test_no_secret_is_kept_however_output_is_cut(words: list[bytes], size: int) -> None:
    whole = b"".join(words)
    secrets = [b"hidden\n", b"first\nline two\n", b"ab"]
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "log")
        with StepLog(lambda: os.open(path, os.O_WRONLY | os.O_CREAT), secrets=secrets) as log:
            for place in range(0, len(whole), size):
                log.add(whole[place : place + size])
        kept = Path(path).read_bytes() if whole else b""
    assert kept == whole.replace(b"line two", b"***").replace(b"hidden", b"***")
