from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from buildah_py.errors import HttpError
from buildah_py.http.redirects import LeadsHereError, follow, is_redirect, origin, target

if TYPE_CHECKING:
    from buildah_py.http.response import Response


def test_an_origin_may_name_the_usual_port() -> None:
    assert origin("https://Host:443/a") == origin("https://me:x@host")
    assert origin("http://host:80") == origin("HTTP://HOST/x")
    assert len({origin(url) for url in ("http://a", "https://a", "https://a:80", "https://b")}) == 4
    with pytest.raises(HttpError, match="host:x: the port is not a number") as caught:
        origin("http://me:secret@host:x/")
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("status", [200, 300, 301, 302, 303, 304, 305, 307, 308, 404])
def test_only_what_stays_the_same_request_is_sent_on(status: int) -> None:
    assert is_redirect("GET", status) is (status in (301, 302, 303, 307, 308))
    assert is_redirect("PUT", status) is (status in (307, 308))


@pytest.mark.parametrize(
    ("here", "location", "there"),
    [
        ("http://a.test/x/y", "z", "http://a.test/x/z"),
        ("http://a.test/x", "//b.test/z", "http://b.test/z"),
        ("http://a.test/x", "https://b.test", "https://b.test"),
        ("http://a.test/x", "http://me:pass@b.test/z?q=1", "http://b.test/z?q=1"),
        ("http://me:pass@a.test/x", "/z", "http://a.test/z"),
        ("https://a.test/x", "http://a.test/z", "https://a.test/z"),
        ("https://a.test:5000/x", "http://a.test:5000/z", "https://a.test:5000/z"),
    ],
)
def test_where_a_location_leads(here: str, location: str, there: str) -> None:
    assert target(here, location) == there


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "ftp://host/x", "data:,x", "gopher://x/", "", "http://[", "http://h:port/"],
)
def test_where_no_web_server_is(location: str) -> None:
    with pytest.raises(HttpError, match=r"^a\.test leads to `.*`, which is not an address of a web server"):
        target("http://a.test/x", location)


def test_what_a_location_says_cannot_write_on_the_terminal() -> None:
    with pytest.raises(HttpError) as caught:
        target("http://a.test/x", "x:\x1b[2J" + "y" * 5000)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 500


@pytest.mark.parametrize("location", ["http://b.test/x", "http://a.test:80/x", "http://a.test:8080/x"])
def test_no_way_leads_from_https_to_http(location: str) -> None:
    with pytest.raises(HttpError, match="leads from https to http://"):
        target("https://a.test/x", location)
    assert target("https://a.test/x", location, downgrades=True) == location


@pytest.mark.parametrize(
    "host", ["localhost", "x.localhost:80", "127.0.0.1:80", "[::1]", "0.0.0.0", "169.254.169.254", "[fe80::1%25eth0]"]
)
def test_who_is_elsewhere_may_not_lead_here(host: str) -> None:
    with pytest.raises(LeadsHereError, match=r"^b\.test leads to .*, which is this machine or its link"):
        target("http://a.test/x", f"http://{host}/x", led_by="b.test")
    assert target("http://a.test/x", f"http://{host}/x") == f"http://{host}/x"


class Chain:
    """Servers by their hosts; those that `here` names are on this machine. A path is the way: /next.host/next.host/…"""

    def __init__(self, *here: str) -> None:
        self._here = here
        self.sent: list[tuple[str, str]] = []

    def send(self, url: str, led_by: str) -> Response:
        host, _, path = url.removeprefix("http://").partition("/")
        self.sent.append((host, led_by))
        headers = {"Location": f"http://{path}"} if path else {}
        made = SimpleNamespace(url=url, host=host, here=host in self._here, headers=headers)
        made.status, made.finish = 302 if path else 200, lambda: b""
        return cast("Response", made)


def test_each_server_is_told_who_led_there() -> None:
    chain = Chain()
    assert follow("GET", "http://a/b/c", chain.send).url == "http://c"
    assert chain.sent == [("a", ""), ("b", "a"), ("c", "b")]


def test_this_machine_may_lead_to_itself_until_somebody_else_did() -> None:
    chain = Chain("a", "b", "d")
    follow("GET", "http://a/b/c/d/b", chain.send)
    assert chain.sent == [("a", ""), ("b", ""), ("c", ""), ("d", "c"), ("b", "d")]


def test_the_user_may_allow_it() -> None:
    chain = Chain()
    follow("GET", "http://a/localhost", chain.send, to_local=True)
    assert chain.sent == [("a", ""), ("localhost", "")]
    with pytest.raises(LeadsHereError):
        follow("GET", "http://a/localhost", chain.send)


def test_who_was_led_there_before_leads_on_as_somebody_elsewhere() -> None:
    chain = Chain("a")
    follow("GET", "http://a/b", chain.send, led_by="registry")
    assert chain.sent == [("a", "registry"), ("b", "a")]


def test_ten_redirects_and_no_more() -> None:
    assert follow("GET", "http://" + "/".join("abcdefghijk"), Chain().send).url == "http://k"
    with pytest.raises(HttpError, match="leads through more than 10 redirects"):
        follow("GET", "http://" + "/".join("abcdefghijkl"), Chain().send)


def test_what_may_not_be_sent_again_is_the_answer() -> None:
    assert follow("POST", "http://a/b", Chain().send).status == 302
