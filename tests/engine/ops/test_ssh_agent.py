"""What a step may do with the user's ssh agent: list its keys and use them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from buildah_py.engine.ops.ssh_agent import AgentSocket

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(shutil.which("ssh-agent") is None, reason="needs ssh-agent")


def ssh_add(path: object, *arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["ssh-add", *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        input=stdin,
        env={**os.environ, "SSH_AUTH_SOCK": str(path), "SSH_ASKPASS_REQUIRE": "never"},
    )


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[str]:
    """Run an agent with a key."""
    key, path = tmp_path / "key", tmp_path / "agent"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    assert ssh_add(path, key).returncode == 0
    yield str(path)
    process.terminate()
    process.communicate()


def test_keys_are_listed_and_used_and_nothing_else(agent: str, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with AgentSocket(agent, str(tmp_path / "x"), mode=0o640, uid=os.getuid(), gid=os.getgid()) as ours:
        assert os.stat(ours.path).st_mode & 0o777 == 0o640
        assert ssh_add(ours.path, "-l").stdout == ssh_add(agent, "-l").stdout != ""
        assert ssh_add(ours.path, "-T", tmp_path / "key.pub").returncode == 0
        for refused in (("-D",), ("-d", tmp_path / "key"), (tmp_path / "key",), ("-s", "/usr/lib/libc.so.6")):
            assert ssh_add(ours.path, *refused, stdin="\n").returncode != 0, refused
        assert ssh_add(agent, "-l").returncode == 0
        path = ours.path
    assert ssh_add(path, "-l").returncode == 2, "it is over with the step"


def test_messages_that_are_none(agent: str, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with AgentSocket(agent, str(tmp_path / "x"), mode=0o600, uid=os.getuid(), gid=os.getgid()) as ours:
        for message in (b"", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0"):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(20)
                client.connect(ours.path)
                client.sendall(message)
                client.shutdown(socket.SHUT_WR)
                assert client.recv(1) == b""
        assert ssh_add(ours.path, "-l").returncode == 0


def test_idle_connections_keep_the_end_of_a_step_from_nothing(agent: str, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    clients = [socket.socket(socket.AF_UNIX) for _ in range(40)]
    with AgentSocket(agent, str(tmp_path / "x"), mode=0o600, uid=os.getuid(), gid=os.getgid()) as ours:
        for client in clients:
            client.connect(ours.path)
        for client in clients[:4]:  # which are served already, not only connected
            client.sendall(b"\0\0\0\1\x0b")
            assert client.recv(1)
    for client in clients:
        client.settimeout(20)
        try:
            while client.recv(10_000):
                pass
        except ConnectionResetError:
            continue
        finally:
            client.close()
