"""ADD from a server that keeps us waiting: ^C ends it at once, wherever it waits."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.web_server import Holding, full_server

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from .conftest import Pybuild

pytestmark = pytest.mark.root

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\nConnection: close\r\n\r\n"
STEPS = {"first": "FROM scratch\n", "after-run": "FROM busybox\nRUN true\n"}
"""Where it is the first step, the main thread waits for the server, else one of the threads that execute steps."""


def interrupt(pybuild: Pybuild, context: Path, asked: Callable[[], bool], wrap: Sequence[str] = ()) -> None:
    """Build, send SIGINT once `asked`, and see that the store is fine when all has ended."""
    process = subprocess.Popen(
        [*wrap, *pybuild.command, "--progress=plain", context], env=pybuild.environ(), stderr=subprocess.PIPE, text=True
    )
    try:
        while not asked():
            assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGINT)
        _, shown = process.communicate(timeout=20)  # less than what any server has time for
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, shown
    assert "Traceback" not in shown
    assert "CANCELLED" in shown
    assert shown.endswith("pybuild: interrupted\n")
    pybuild.run("fsck")


def asks(holding: Holding) -> Callable[[], bool]:
    return lambda: holding.asked.wait(0.1)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("begin", [b"", HEAD[:30], HEAD + b"some"], ids=["silent", "head", "body"])
def test_interrupt_while_a_server_holds_its_answer_back(busybox: Pybuild, step: str, begin: bytes) -> None:
    with Holding(begin) as holding:
        interrupt(busybox, busybox.context(f"{STEPS[step]}ADD {holding.url}/file /file\n"), asks(holding))


@pytest.mark.either_user
def test_after_an_interrupt_all_works_as_before(busybox: Pybuild) -> None:
    with Holding(HEAD, drip=True) as holding:
        context = busybox.context(f"FROM busybox\nRUN true\nADD {holding.url}/file /file\n")
        interrupt(busybox, context, asks(holding))
        holding.release()
        assert busybox.build(context).outcomes() == ["HIT", "RAN"]
        assert busybox.run("cat", "test:/file").stdout == "fetched"


@pytest.mark.parametrize("step", STEPS)
def test_interrupt_while_a_connection_is_not_taken(busybox: Pybuild, step: str) -> None:
    with full_server() as (_, port):
        before = set().union(*(connecting(port) for _ in range(5)))  # no look at the table sees all of it at once
        context = busybox.context(f"{STEPS[step]}ADD http://127.0.0.1:{port}/file /file\n")
        interrupt(busybox, context, lambda: bool(connecting(port) - before))


def connecting(port: int) -> set[str]:
    """Name the connections to a port of loopback that are not taken yet, by their own ends."""
    with open("/proc/net/tcp") as table:
        fields = [line.split() for line in table]
    return {line[1] for line in fields if line[2] == f"0100007F:{port:04X}" and line[3] == "02"}


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare, for a resolver of its own")
@pytest.mark.parametrize("step", STEPS)
def test_interrupt_while_a_name_is_looked_up(busybox: Pybuild, step: str, tmp_path: Path) -> None:
    context = busybox.context(f"{STEPS[step]}ADD http://slow.example/file /file\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver:
        address = f"127.53.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
        resolver.bind((address, 53))
        resolver.settimeout(0.1)
        (tmp_path / "resolv.conf").write_text(f"nameserver {address}\n")
        script = f'mount --bind {tmp_path}/resolv.conf /etc/resolv.conf && exec "$@"'

        def asked() -> bool:
            with contextlib.suppress(TimeoutError):
                return bool(resolver.recv(4096))
            return False

        interrupt(busybox, context, asked, ["unshare", "--mount", "sh", "-c", script, "sh"])
