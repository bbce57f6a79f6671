from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from buildah_py.errors import Interrupted
from buildah_py.http import watch
from buildah_py.http.watch import Late, Watch
from tests.web_server import full_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


@pytest.fixture(params=["closed", "cancelled"])
def ended(request: pytest.FixtureRequest) -> Iterator[tuple[Watch, Callable[[], None]]]:
    """Give a watch, and what ends it in one of the ways."""
    over = threading.Event()
    made = Watch(over.is_set if request.param == "cancelled" else None)
    yield made, over.set if request.param == "cancelled" else made.close
    made.close()


def connect(made: Watch, address: tuple[str, int], owner: object = "owner") -> socket.socket:
    return made.connect(owner, *address, (), resolve=60, timeout=60)


def test_whoever_reads_is_woken(ended: tuple[Watch, Callable[[], None]], listener: socket.socket) -> None:
    made, end = ended
    with connect(made, listener.getsockname()) as client, ThreadPoolExecutor(1) as pool:
        reading = pool.submit(client.recv, 1)
        end()
        assert reading.result(30) == b""
    with pytest.raises(Interrupted):
        made.check()


def test_whoever_connects_is_woken(ended: tuple[Watch, Callable[[], None]]) -> None:
    made, end = ended
    with full_server() as address, ThreadPoolExecutor(1) as pool:
        connecting = pool.submit(connect, made, address)
        while not made._held:
            assert not connecting.done()
        end()
        with pytest.raises(Interrupted):
            connecting.result(30)


def test_whoever_waits_for_a_name_is_woken(
    ended: tuple[Watch, Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, end = ended
    asked, over = threading.Event(), threading.Event()

    def never(*_: object, **_named: object) -> list[object]:
        asked.set()
        over.wait(60)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", never)
    with ThreadPoolExecutor(1) as pool:
        connecting = pool.submit(connect, made, ("slow.test", 80))
        asked.wait(30)
        end()
        with pytest.raises(Interrupted):
            connecting.result(30)
    over.set()


def test_whoever_pauses_is_woken(ended: tuple[Watch, Callable[[], None]]) -> None:
    made, end = ended
    with ThreadPoolExecutor(1) as pool:
        pausing = pool.submit(made.pause, 1000)
        end()
        with pytest.raises(Interrupted):
            pausing.result(30)


def test_what_is_closed_connects_no_more(listener: socket.socket) -> None:
    made = Watch()
    made.close()
    with pytest.raises(Interrupted):
        connect(made, listener.getsockname())


def test_a_name_may_keep_us_waiting_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **_named: over.wait(60))
    with pytest.raises(OSError, match=r"no answer from the resolver within 0\.1 seconds"):
        Watch().connect("owner", "slow.test", 80, (), resolve=0.1, timeout=60)
    over.set()


def test_a_name_that_no_host_can_have() -> None:
    with pytest.raises(OSError, match="is not a name that a host can have"):
        connect(Watch(), ("a..b", 80))


def test_all_addresses_are_tried(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    port = listener.getsockname()[1]
    with socket.create_server(("127.0.0.2", 0)) as gone:
        other = gone.getsockname()
    found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", address) for address in (other, ("127.0.0.1", port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **_named: found)
    made = Watch()
    with connect(made, ("name.test", port)) as client:
        assert client.getpeername() == ("127.0.0.1", port)
    found.pop()
    with pytest.raises(ConnectionRefusedError):
        connect(made, ("name.test", port))
    made.close()


def test_what_takes_too_long_as_a_whole_is_late(listener: socket.socket) -> None:
    made = Watch()
    with connect(made, listener.getsockname()) as client:
        with pytest.raises(Late), made.within("owner", 0.1):
            assert client.recv(1) == b"", "it is ended"
        with made.within("owner", 1000):
            assert client.recv(1) == b"", "and stays so, which is no other delay"
    made.close()


def test_other_connections_are_left_alone(listener: socket.socket) -> None:
    made = Watch()
    with (
        connect(made, listener.getsockname(), "slow") as slow,
        listener.accept()[0],
        connect(made, listener.getsockname(), "other") as other,
        listener.accept()[0] as server,
    ):
        with pytest.raises(Late), made.within("slow", 0.1):
            slow.recv(1)
        server.sendall(b"x")
        assert other.recv(1) == b"x"
    made.close()


def test_an_interrupt_of_the_program_passes_through(listener: socket.socket) -> None:
    made = Watch()

    def interrupted() -> None:
        made.close()
        raise KeyboardInterrupt

    with connect(made, listener.getsockname()), pytest.raises(KeyboardInterrupt), made.within("owner", 1000):
        interrupted()


def test_no_thread_stays_behind(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_IDLE", 0.05)
    made = Watch()
    with connect(made, listener.getsockname()):
        with made.within("owner", 1000):
            thread = made._thread
        assert thread is not None
        thread.join(30)
        assert not thread.is_alive()
    with connect(made, listener.getsockname()) as again, pytest.raises(Late), made.within("owner", 0.1):
        again.recv(1)
    made.close()
