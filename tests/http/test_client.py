"""Requests over real sockets: time limits, interruption, the guard, errors in words."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from buildah_py.errors import HttpError, Interrupted
from buildah_py.http.redirects import LeadsHereError
from buildah_py.http.retry import RetryableError, Waiter
from tests.elsewhere import Elsewhere, elsewhere
from tests.http.conftest import QUICK, Failed, failed
from tests.web_server import DATA, Handler, Holding, Server, full_server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from buildah_py.http.client import Client

__all__ = ["elsewhere"]

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
CLOSE = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"


def get(client: Client, url: str, **options: Any) -> bytes:
    with client.request("GET", url, {}, **options) as response:
        assert response.status == 200
        return response.body(1 << 20)


def test_an_answer(client: Client, server: Server) -> None:
    with client.request("GET", server.url + "/some%20path?q=1#part", {"X-Mine": "y"}) as response:
        assert (response.status, response.reason, response.length) == (200, "OK", len(DATA))
        assert response.headers["etag"] == '"tag"'
        assert response.here
        assert response.body(1 << 20) == DATA
    ((path, headers),) = server.requests
    assert path == "/some%20path?q=1"
    assert headers["x-mine"] == "y"
    assert headers["user-agent"].startswith("pybuild/")
    assert headers["accept-encoding"] == "identity"


def test_no_more_is_read_than_is_wanted(client: Client, server: Server) -> None:
    assert client.request("GET", server.url, {}).body(10) == DATA[:10]


def test_what_stands_before_the_at_is_not_sent(client: Client, server: Server) -> None:
    get(client, server.url.replace("//", "//me:secret@"))
    assert server.requests[0][1]["host"] == server.url.removeprefix("http://")


def test_a_host_with_letters_of_all_languages(make_client: Callable[..., Client], server: Server) -> None:
    get(make_client({"http_proxy": server.url}), "http://bücher.test/")
    assert server.requests[0][1]["host"] == "xn--bcher-kva.test"


@pytest.mark.parametrize("url", ["http://a..b.test\u00fc/", "http://host:99999/", "http://[::1/"])
def test_what_no_server_can_be_called(client: Client, url: str) -> None:
    with pytest.raises(HttpError, match=r"that is not an address of a web server|is not a server that can be asked"):
        client.request("GET", url, {})


# time limits


@pytest.mark.parametrize(
    ("begin", "drip", "said"),
    [
        (b"", False, "said nothing for 0.3 seconds"),
        (b"HTTP/1.1 200 OK\r\nX-Slow: ", True, "did not answer within 0.3 seconds"),
        (HEAD, False, "said nothing for 0.3 seconds"),
        (HEAD, True, r"gave \d+ bytes in \d seconds"),
        (CLOSE, True, r"gave \d+ bytes in \d seconds"),
    ],
    ids=["silent", "dripping-head", "silent-body", "dripping-body", "until-the-end"],
)
def test_a_server_that_takes_too_long(make_client: Callable[..., Client], begin: bytes, drip: bool, said: str) -> None:
    client = make_client(policy=QUICK._replace(silence=0.3))
    with Holding(begin, drip=drip) as slow:
        host = slow.url.removeprefix("http://")
        with pytest.raises(RetryableError, match=f"^{host} {said}"):
            get(client, slow.url)


def test_what_to_do_about_it_is_said(make_client: Callable[..., Client]) -> None:
    client = make_client(policy=QUICK._replace(silence=0.3))
    with Holding() as slow, pytest.raises(Failed) as caught:
        client.retries("ADD x", failed).run(lambda: get(client, slow.url))
    assert caught.value.message.startswith("ADD x: 127.0.0.1:")
    assert caught.value.hint.startswith("tried twice")
    assert "is the server busy, or something on the way to it" in caught.value.hint


def test_a_server_that_does_not_take_the_connection(make_client: Callable[..., Client]) -> None:
    client = make_client(policy=QUICK._replace(connect=0.2))
    said = r"^127\.0\.0\.1:\d+ did not take the connection within 0\.2 seconds"
    with full_server() as (host, port), pytest.raises(RetryableError, match=said):
        get(client, f"http://{host}:{port}/")


def test_a_server_that_takes_its_time_with_a_whole_answer_is_none_of_these(
    make_client: Callable[..., Client], server: Server
) -> None:
    def slowly(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "3000")
        handler.end_headers()
        for _ in range(30):
            handler.wfile.write(bytes(100))
            pause.wait(0.02)

    pause = threading.Event()
    server.answers["/"] = slowly
    assert len(get(make_client(policy=QUICK._replace(silence=0.3)), server.url + "/")) == 3000


# interruption


@pytest.mark.parametrize("begin", [b"", HEAD[:20], HEAD, CLOSE, CLOSE + b"some"])
@pytest.mark.parametrize("how", ["closed", "cancelled"])
def test_whoever_waits_is_interrupted(make_client: Callable[..., Client], begin: bytes, how: str) -> None:
    with Holding(begin) as holding, ThreadPoolExecutor(1) as pool:
        over = threading.Event()
        client = make_client(waiter=Waiter(cancelled=over.is_set))
        waiting = pool.submit(get, client, holding.url)
        assert holding.asked.wait(30)
        if how == "closed":
            client.close()
        else:
            over.set()
        with pytest.raises(Interrupted):
            waiting.result(30)
        assert holding.connections == 1


def test_whoever_waits_for_tls_is_interrupted(make_client: Callable[..., Client]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(1) as pool:
        client = make_client()
        waiting = pool.submit(get, client, f"https://127.0.0.1:{silent.getsockname()[1]}/")
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(1)
            client.close()
            with pytest.raises(Interrupted):
                waiting.result(30)


def test_whoever_sends_is_interrupted(make_client: Callable[..., Client]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(1) as pool:
        client = make_client()
        body = bytes(64 << 20)  # more than any buffer on the way takes
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        waiting = pool.submit(client.request, "PUT", url, {}, body=body)
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(1)
            client.close()
            with pytest.raises(Interrupted):
                waiting.result(30)


def test_a_body_without_end_that_is_cut_short_by_us_is_no_answer(make_client: Callable[..., Client]) -> None:
    """To whoever reads, it looks like an end."""
    with Holding(CLOSE + b"some") as holding:
        client = make_client()
        response = client.request("GET", holding.url, {})
        assert response.read(100) == b"some"
        client.close()
        with pytest.raises(Interrupted):
            response.read(100)


def test_whoever_waits_for_the_next_attempt_is_interrupted(client: Client, server: Server) -> None:
    def close(handler: Handler) -> None:
        handler.answer(503, {"Retry-After": "10"})
        client.close()

    def attempt() -> None:
        client.request("GET", server.url + "/", {}).finish()
        raise RetryableError("503", after=10)

    server.answers["/"] = close
    with pytest.raises(Interrupted):
        client.retries("it", failed).run(attempt)
    with pytest.raises(Interrupted):
        client.request("GET", server.url, {})


# the guard


def test_nothing_is_sent_to_this_machine_where_somebody_elsewhere_led(client: Client, server: Server) -> None:
    port = server.url.rpartition(":")[2]
    for name in ("127.0.0.1", "localhost", "2130706433", "0x7f.1"):
        with pytest.raises(LeadsHereError, match=f"^elsewhere.test leads to {name}:{port}, which is this machine"):
            client.request("GET", f"http://{name}:{port}/", {}, led_by="elsewhere.test")
    assert server.requests == []
    get(client, server.url)


def test_a_name_that_changes_its_address_leads_nowhere(
    client: Client, server: Server, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address that is connected to counts, each time (DNS rebinding)."""
    with Server(elsewhere) as there:
        ports = [there.url.rpartition(":")[2], server.url.rpartition(":")[2]]
        addresses = [(elsewhere.address, int(ports[0])), ("127.0.0.1", int(ports[1]))]

        def look_up(*_: object, **_named: object) -> list[object]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", addresses.pop(0))]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        response = client.request("GET", "http://changing.test/", {})
        assert not response.here
        response.finish()
        with pytest.raises(LeadsHereError, match=r"^changing\.test leads to changing\.test, which is this machine"):
            client.request("GET", "http://changing.test/secret", {}, led_by="changing.test")
    assert addresses == []
    assert server.requests == []


# proxies, other ways


def test_a_proxy_hides_where_it_leads(make_client: Callable[..., Client], server: Server) -> None:
    client = make_client({"http_proxy": server.url.replace("//", "//me:p%40ss@")})
    response = client.request("GET", "http://example.test/x", {}, led_by="elsewhere.test")
    assert not response.here
    assert server.requests[0][0] == "http://example.test/x"
    assert server.requests[0][1]["proxy-authorization"] == "Basic bWU6cEBzcw=="
    response.close()


def test_a_proxy_that_is_not_there(make_client: Callable[..., Client]) -> None:
    client = make_client({"http_proxy": "http://me:secret@127.0.0.1:9"})
    with pytest.raises(RetryableError, match=r"the proxy for a\.test cannot be used: Connection refused") as caught:
        get(client, "http://a.test/")
    assert "secret" not in str(caught.value)


def test_a_socket_of_this_machine(make_client: Callable[..., Client], tmp_path: Path) -> None:
    path = str(tmp_path / "engine.sock")
    client = make_client(path=path)
    with pytest.raises(RetryableError, match=f"^{path} cannot be reached: No such file"):
        get(client, "http://localhost/version")
    with socket.socket(socket.AF_UNIX) as listener, ThreadPoolExecutor(1) as pool:
        listener.bind(path)
        listener.listen()
        waiting = pool.submit(get, client, "http://localhost/version")
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(1000).startswith(b"GET /version HTTP/1.1\r\nHost: localhost\r\n")
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            assert waiting.result(30) == b"ok"


# errors in words


def test_where_nobody_listens(client: Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        host = f"127.0.0.1:{gone.getsockname()[1]}"
    with pytest.raises(RetryableError, match=f"^{host} cannot be reached: Connection refused$") as caught:
        get(client, f"http://{host}/")
    assert "is it running" in caught.value.hint


def test_a_name_without_an_address(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*_: object, **_named: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(RetryableError, match=r"^no\.test has no address: Name or service not known$") as caught:
        get(client, "http://no.test/")
    assert "is the name right" in caught.value.hint


def test_an_answer_that_ends_early(client: Client, server: Server) -> None:
    def short(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b"short")

    server.answers["/"] = short
    with pytest.raises(RetryableError, match="ended the connection 95 bytes too early"):
        get(client, server.url + "/")


def test_what_does_not_speak_tls(client: Client, server: Server) -> None:
    host = server.url.removeprefix("http://")
    with pytest.raises(HttpError, match=f"^{host} does not speak TLS$"):
        get(client, f"https://{host}/")


def test_an_unwanted_answer_may_be_cut(client: Client) -> None:
    with Holding(HEAD + b"some") as holding:
        response = client.request("GET", holding.url, {}, silence=0.2)
        assert response.finish() == b""
