from __future__ import annotations

import socket

import pytest

from buildah_py.http.addresses import hostname, is_here, is_local, is_loopback, is_ours


@pytest.mark.parametrize(
    ("host", "name"),
    [("Host:80", "host"), ("host", "host"), ("[FE80::1]:80", "fe80::1"), ("[::1]", "::1"), ("10.0.0.1:1", "10.0.0.1")],
)
def test_the_name_of_a_host(host: str, name: str) -> None:
    assert hostname(host) == name


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.9.9.9", "::1", "169.254.169.254", "fe80::1%eth0", "::ffff:127.0.0.1", "0.0.0.0"]
)
def test_addresses_of_this_machine_and_its_link(address: str) -> None:
    assert is_local(address)


@pytest.mark.parametrize("address", ["10.0.0.1", "192.0.2.1", "2001:db8::1", "localhost", ""])
def test_other_addresses_and_what_is_none(address: str) -> None:
    assert not is_local(address)


def test_whatever_address_this_machine_has_is_local() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        assert is_local(probe.getsockname()[0])


def test_the_other_end_of_a_connection_is_looked_at() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert is_ours(client)


def test_names_that_lead_here() -> None:
    assert is_here("localhost")
    assert is_here("2130706433")
    assert not is_here("")
    assert not is_here("192.0.2.1")
    assert not is_here("a..b")


def test_loopback_is_known_by_name() -> None:
    assert all(map(is_loopback, ["localhost:5000", "app.localhost", "127.3.2.1", "[::1]:5000"]))
    assert not any(map(is_loopback, ["localhost.example.com", "10.0.0.1", "2130706433", "registry"]))
