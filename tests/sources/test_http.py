from __future__ import annotations

import contextlib
import socket
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from buildah_py.buildfile.remote import kind_of
from buildah_py.copy.select import select
from buildah_py.errors import Interrupted, SourceError
from buildah_py.http.retry import Policy
from buildah_py.layers.limits import ArchiveLimits
from buildah_py.sources.http import fetch, name_of
from buildah_py.sources.reach import NOWHERE, Reach
from buildah_py.sources.urls import redact
from tests.elsewhere import Elsewhere, elsewhere
from tests.web_server import DATA, Handler, Holding, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from buildah_py.sources import http

DIGEST = "sha256:" + sha256(DATA).hexdigest()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        yield made


__all__ = ["elsewhere"]


QUICK = Policy(connect=5, silence=10, patience=20, attempts=4, pause=0.01)
"""Waits that suit tests."""


def get(url: str, cache: Path, reach: Reach = NOWHERE, *, policy: Policy = QUICK, checksum: str = "") -> http.Fetched:
    return fetch(url, str(cache), reach, environ={}, policy=policy, checksum=checksum)


def test_a_file(server: Server, tmp_path: Path) -> None:
    fetched = get(server.url + "/dir/a%20b.txt?x=1#y", tmp_path)
    assert (fetched.name, fetched.size, fetched.digest) == ("a b.txt", len(DATA), DIGEST)
    assert fetched.mtime == 1445412480 * 10**9
    assert server.requests[0][0] == "/dir/a%20b.txt?x=1"
    (source,) = select(fetched.tree(), ["a b.txt"], where="the URL").sources
    (entry,) = source.entries
    assert (entry.mode, entry.uid, entry.gid, entry.digest) == (0o600, 0, 0, DIGEST)


def test_what_has_not_changed_is_not_sent_again(server: Server, tmp_path: Path) -> None:
    first = get(server.url + "/f", tmp_path)
    assert get(server.url + "/f", tmp_path) == first
    assert server.requests[1][1]["if-none-match"] == '"tag"'
    get(server.url + "/f", tmp_path, checksum=DIGEST)
    assert len(server.requests) == 2, "a checksum that is known needs no server"
    server.answers["/f"] = lambda handler: handler.answer(200, {}, b"new")
    changed = get(server.url + "/f", tmp_path)
    assert (changed.size, changed.mtime) == (3, 0)


def test_a_wrong_checksum(server: Server, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has the digest " + DIGEST):
        get(server.url + "/f", tmp_path, checksum="sha256:" + "0" * 64)
    with pytest.raises(SourceError, match="not supported"):
        get(server.url + "/f", tmp_path, checksum="md5:00")


def test_redirects(server: Server, tmp_path: Path) -> None:
    server.answers["/a"] = lambda handler: handler.answer(302, {"Location": "sub/b"})
    server.answers["/sub/b"] = lambda handler: handler.answer(301, {"Location": "/c"})
    fetched = get(server.url + "/a", tmp_path)
    assert (fetched.digest, fetched.name) == (DIGEST, "a")
    server.answers["/loop"] = lambda handler: handler.answer(302, {"Location": "/loop"})
    with pytest.raises(SourceError, match="more than 10 redirects"):
        get(server.url + "/loop", tmp_path)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "gopher://x/"])
def test_redirects_stay_on_http(server: Server, tmp_path: Path, target: str) -> None:
    server.answers["/a"] = lambda handler: handler.answer(302, {"Location": target})
    with pytest.raises(SourceError, match="not an address of a web server"):
        get(server.url + "/a", tmp_path)


def redirect_to(url: str) -> Callable[[Handler], None]:
    return lambda handler: handler.answer(302, {"Location": url})


def test_a_redirect_from_elsewhere_to_this_machine_is_refused(
    server: Server, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    ours = elsewhere.address[:-1] + "1"
    with Server(elsewhere) as there, Server(address=ours) as here:
        for number, (target, name) in enumerate(((server.url, "127.0.0.1"), (here.url, ours))):
            there.answers[f"/{number}"] = redirect_to(target + "/secret")
            with pytest.raises(SourceError, match=rf"leads to {name}:\d+, which is this machine"):
                get(f"{there.url}/{number}", tmp_path)
        assert server.requests == here.requests == []
        here.answers["/secret"] = lambda handler: handler.answer(200, {}, b"local")
        assert get(there.url + "/1", tmp_path, Reach(local_redirects=True)).size == 5


def test_credentials_go_to_their_host_alone_and_into_no_message(server: Server, tmp_path: Path) -> None:
    with Server() as other:
        server.answers["/a"] = lambda handler: handler.answer(
            302, {"Location": other.url.replace("127.0.0.1", "localhost")}
        )
        secrets = {"HTTP_AUTH_TOKEN_127.0.0.1": b"hidden\n"}
        get(server.url + "/a", tmp_path, Reach(secret=secrets.get))
        server.answers["/port"] = lambda handler: handler.answer(302, {"Location": other.url})
        get(server.url + "/port", tmp_path, Reach(secret=secrets.get))
        assert server.requests[0][1]["authorization"] == server.requests[1][1]["authorization"] == "Bearer hidden"
        assert "authorization" not in other.requests[0][1]
        assert "authorization" not in other.requests[1][1]
    server.answers["/b"] = lambda handler: handler.answer(404)
    with pytest.raises(SourceError) as caught:
        get(server.url.replace("//", "//me:pass%40word@") + "/b?access_token=abc", tmp_path)
    assert server.requests[2][1]["authorization"] == "Basic bWU6cGFzc0B3b3Jk"
    assert "404" in str(caught.value)
    for secret in ("me:", "pass", "abc"):
        assert secret not in str(caught.value)


def test_a_server_that_stumbles_is_asked_again(server: Server, tmp_path: Path) -> None:
    def stumble(handler: Handler) -> None:
        if len(server.requests) < 3:
            handler.answer(503)
        else:
            handler.plain()

    server.answers["/f"] = stumble
    assert get(server.url + "/f", tmp_path).digest == DIGEST
    server.answers["/g"] = lambda handler: handler.answer(500)
    with pytest.raises(SourceError, match="the server answered 500"):
        get(server.url + "/g", tmp_path)


def test_an_answer_that_ends_early_is_not_kept(server: Server, tmp_path: Path) -> None:
    def short(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b"short")

    server.answers["/f"] = short
    with pytest.raises(SourceError, match="ended the connection 95 bytes too early"):
        get(server.url + "/f", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_nobody_there(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(SourceError, match="Connection refused"):
        get(f"http://127.0.0.1:{port}/f", tmp_path)
    for url in ("http://127.0.0.1/a b\r\nX: y", "http://[::1/"):
        with pytest.raises(SourceError, match="is not a URL"):
            get(url, tmp_path)


def test_a_damaged_cache_is_fetched_again(server: Server, tmp_path: Path) -> None:
    fetched = get(server.url + "/f", tmp_path)
    (record,) = tmp_path.glob("*.json")
    for bad in (b"", b"{}", b"[]", b'{"digest": 3}'):
        record.write_bytes(bad)
        assert get(server.url + "/f", tmp_path) == fetched


def test_a_proxy_is_used(server: Server, tmp_path: Path) -> None:
    environment = {"http_proxy": server.url.replace("//", "//u:p@")}
    fetched = fetch("http://example.invalid/f", str(tmp_path), environ=environment)
    assert fetched.digest == DIGEST
    assert server.requests[0][0] == "http://example.invalid/f"
    assert server.requests[0][1]["proxy-authorization"] == "Basic dTpw"
    assert server.requests[0][1]["host"] == "example.invalid"


@pytest.mark.parametrize(
    ("url", "name"),
    [("http://h/a/b.tar.gz?x", "b.tar.gz"), ("http://h", "__unnamed__"), ("http://h/%2e%2e", "__unnamed__"),
     ("http://h/a%2Fb", "b"), ("http://h/dir/", "dir")],
)  # fmt: skip
def test_names(url: str, name: str) -> None:
    assert name_of(url) == name


def test_kinds_of_sources() -> None:
    kinds = {
        "http://h/x": "http", "https://h/x.git": "git", "https://h/x.git#main:sub": "git",
        "https://h/x.git?ref=a": "git", "git@h:o/r.git": "git", "git@h:o/r#x": "git", "ssh://h/r": "git",
        "git://h/r": "git", "a/b": "path",
        "a@b": "path", "http:/x": "path", "C:x": "path", "github.com/o/r": "path",
    }  # fmt: skip
    assert {source: kind_of(source) for source in kinds} == kinds


def test_redact() -> None:
    text = "get https://user:pass@h/x?a=1&X-Amz-Signature=abc&b=2 and git://tok@h/"
    assert redact(text) == "get https://xxxxx@h/x?a=1&X-Amz-Signature=xxxxx&b=2 and git://xxxxx@h/"


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\n\r\n"], ids=["head", "body"])
def test_what_drips_is_silent(tmp_path: Path, head: bytes) -> None:
    with Holding(head, drip=True) as slow:
        with pytest.raises(SourceError, match=r"did not answer within 0.3 seconds|gave \d+ bytes in") as caught:
            get(slow.url, tmp_path / "cache", policy=QUICK._replace(silence=0.3))
        assert "tried twice" in caught.value.hint
        assert slow.connections == 2
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(
    "head", [b"", b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\n\r\n"], ids=["start", "head", "body"]
)
def test_what_nobody_waits_for_ends_at_once(tmp_path: Path, head: bytes) -> None:
    with Holding(head, drip=True) as slow:
        with pytest.raises(Interrupted):
            get(slow.url, tmp_path / "cache", Reach(cancelled=slow.asked.is_set))
        assert slow.connections == 1
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("announced", [True, False])
def test_the_size_has_a_bound(server: Server, tmp_path: Path, *, announced: bool) -> None:
    def endless(handler: Handler) -> None:
        handler.send_response(200)
        if announced:
            handler.send_header("Content-Length", str(1 << 60))
        handler.end_headers()
        with contextlib.suppress(OSError):
            while True:
                handler.wfile.write(bytes(1 << 16))

    server.answers["/f"] = endless
    with pytest.raises(SourceError, match="is larger than the allowed 1000000 bytes") as caught:
        get(server.url + "/f", tmp_path / "cache", Reach(limits=ArchiveLimits(size=1_000_000, hint="--max-layer-size")))
    assert "--max-layer-size" in caught.value.hint
    assert list((tmp_path / "cache").iterdir()) == []
    assert get(server.url + "/g", tmp_path / "cache", Reach(limits=ArchiveLimits(size=len(DATA)))).size == len(DATA)
