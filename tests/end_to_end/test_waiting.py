"""Commands that have to wait for another process: they say so, can be interrupted, and go on when it has ended."""

from __future__ import annotations

import ast
import contextlib
import signal
import sqlite3
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import buildah_py.cli
from buildah_py.store.locks import named_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.end_to_end.conftest import Pybuild


@contextlib.contextmanager
def writing(store: Path) -> Iterator[None]:
    """Be another process that writes to the database, for as long as the context lasts."""
    with contextlib.closing(sqlite3.connect(store / "state.db", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@contextlib.contextmanager
def started(pybuild: Pybuild, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [*pybuild.command, *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=pybuild.environ()
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def first_words(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    return process.stderr.readline()


@pytest.mark.parametrize(
    "command", ["tag busybox other", "rmi busybox", "run --network=none busybox true", "prune -a -f"]
)
def test_whoever_waits_for_the_database_says_so(busybox: Pybuild, command: str) -> None:
    with contextlib.ExitStack() as other:
        other.enter_context(writing(busybox.root))
        with started(busybox, *command.split()) as process:
            told = first_words(process).removeprefix("pybuild: ")  # beside what a container says
            assert told == "waiting for another pybuild: it writes to the store's database\n"
            assert process.poll() is None
            other.close()
            assert process.wait(60) == 0


def test_a_wait_for_the_database_can_be_interrupted(busybox: Pybuild) -> None:
    with writing(busybox.root), started(busybox, "tag", "busybox", "other") as process:
        assert first_words(process).startswith("waiting for another pybuild")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130


def test_whoever_waits_for_a_cache_mount_says_so(busybox: Pybuild, tmp_path: Path) -> None:
    busybox.build(busybox.context("FROM busybox\nRUN --mount=type=cache,id=c,target=/c echo text >/c/file\n"))
    busybox.run("cache", "mounts", "export", tmp_path)
    with contextlib.ExitStack() as other:
        other.enter_context(named_lock(str(busybox.root / "locks"), "cache mount c"))
        with started(busybox, "cache", "mounts", "import", str(tmp_path)) as process:
            assert first_words(process) == "waiting for another pybuild: cache mount c\n"
            assert process.poll() is None
            other.close()
            assert process.wait(60) == 0


def test_commands_open_the_store_in_one_way() -> None:
    found = [
        path.name
        for path in Path(buildah_py.cli.__file__).parent.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        and any((node.module, one.name) == ("buildah_py.api.state", "open_store") for one in node.names)
    ]
    assert found == []
    assert "open_store" in (Path(buildah_py.cli.__file__).parent / "stores.py").read_text()
