"""Ports as they are named on the command line."""

from __future__ import annotations

import pytest

from buildah_py.errors import UsageError
from buildah_py.running.ports import parse_published
from buildah_py.sandbox.ports import Port


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("80", [Port(80)]),
        ("8080:80", [Port(80, hosts=(8080,))]),
        ("8080:80/UDP", [Port(80, "udp", hosts=(8080,))]),
        ("127.0.0.1:8080:80", [Port(80, address="127.0.0.1", hosts=(8080,))]),
        ("127.0.0.1::80", [Port(80, address="127.0.0.1")]),
        ("[::1]:8080:80", [Port(80, address="::1", hosts=(8080,))]),
        ("8000-8001:80-81", [Port(80, hosts=(8000,)), Port(81, hosts=(8001,))]),
        ("8000-8002:80", [Port(80, hosts=(8000, 8001, 8002))]),
        ("80-81/udp", [Port(80, "udp"), Port(81, "udp")]),
    ],
)
def test_published_ports(text: str, ports: list[Port]) -> None:
    assert parse_published(text) == ports


@pytest.mark.parametrize("text", ["", ":", "x", "80:x", "0:80", "80:0", "70000", "1-2:1-3", "80/sctp", "1.2.3:80:80"])
def test_what_names_no_port(text: str) -> None:
    with pytest.raises(UsageError, match="--publish"):
        parse_published(text)
