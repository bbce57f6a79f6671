"""Another machine, as far as the network can tell: a network namespace at the other end of a veth pair."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import pytest

from buildah_py.linux import namespaces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Made = TypeVar("Made")


class Elsewhere:
    """Its address, and a way to make sockets there."""

    def __init__(self, name: str, address: str) -> None:
        self.address = address
        self._name = name

    def make(self, function: Callable[[], Made]) -> Made:
        """Call a function there; the sockets that it makes are of that machine for good."""
        made: list[Made] = []

        def work() -> None:
            with open(f"/run/netns/{self._name}", "rb") as namespace:
                namespaces.setns(namespace.fileno(), namespaces.CLONE_NEWNET)
            made.append(function())

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return made[0]


@contextmanager
def another_machine() -> Iterator[Elsewhere]:
    """Make one, or skip the test where that cannot be."""
    if os.getuid() or shutil.which("ip") is None:
        pytest.skip("needs root and iproute2 to make another machine")
    name = f"pyb{os.getpid()}"
    third = os.getpid() % 250
    ours, theirs = f"198.18.{third}.1", f"198.18.{third}.2"  # RFC 2544

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    ip("netns", "add", name)
    try:
        ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("address", "add", f"{ours}/24", "dev", name)
        ip("link", "set", name, "up")
        ip("-n", name, "address", "add", f"{theirs}/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        yield Elsewhere(name, theirs)
    finally:
        subprocess.run(["ip", "link", "delete", name], check=False, capture_output=True)
        ip("netns", "delete", name)


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    """Give another machine."""
    with another_machine() as made:
        yield made
