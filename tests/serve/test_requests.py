"""Requests to `pybuild serve`, part by part: bodies, parameters of a build, credentials, versions, paths."""

from __future__ import annotations

import base64
import io
import json
import os
from email.message import Message
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildah_py.serve.body import Body
from buildah_py.serve.build import words
from buildah_py.serve.credentials import HUB, credentials_file
from buildah_py.serve.faults import ClientGoneError, RequestError
from buildah_py.serve.handlers import ROUTES, find
from buildah_py.serve.images import filters_of, prune_words
from buildah_py.serve.server import check_version

if TYPE_CHECKING:
    from collections.abc import Mapping


def body(data: bytes, **headers: str) -> Body:
    message = Message()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    return Body(io.BufferedReader(io.BytesIO(data)), message)


def whole(one: Body, size: int = 7) -> bytes:
    return b"".join(iter(lambda: one.read(size), b""))


@given(st.lists(st.binary(min_size=1, max_size=40)), st.integers(1, 50))
def test_a_chunked_body_is_what_was_sent_whatever_its_pieces(pieces: list[bytes], size: int) -> None:
    sent = (
        b"".join(b"%X;name=value\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nTrailer: x\r\n\r\nnext"
    )
    one = body(sent, Transfer_Encoding="Chunked")
    assert whole(one, size) == b"".join(pieces)
    assert one.done


def test_a_body_ends_where_its_length_says() -> None:
    one = body(b"12345next", Content_Length="5")
    assert whole(one) == b"12345"
    assert (one.done, body(b"next").done) == (True, True)
    assert body(b'{"a": 1}', Content_Length="8").json() == {"a": 1}
    assert not body(b"x" * 100, Content_Length="100").drop(50)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n",
        b"zz\r\n",
        b"-1\r\n",
        b"fffffffffffffffff\r\n",
        b"3\r\nabcd\r\n",
        b"0" * 5000,
        b"0\r\n" + b"a: b\r\n" * 200,
    ],
)
def test_chunks_that_are_none_are_refused(data: bytes) -> None:
    with pytest.raises((RequestError, ClientGoneError)):
        whole(body(data, Transfer_Encoding="chunked"))


@pytest.mark.parametrize(
    "headers",
    [
        {"Transfer_Encoding": "gzip"}, {"Transfer_Encoding": "chunked", "Content_Length": "3"},
        {"Content_Length": "-1"}, {"Content_Length": "1_0"}, {"Content_Length": "9" * 30},
    ],
)  # fmt: skip
def test_a_body_whose_end_is_not_clear_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(RequestError) as raised:
        body(b"abc", **headers)
    assert raised.value.status == 400


def test_json_that_is_none_and_json_without_an_end_are_refused() -> None:
    for data in (b"[]", b"{", b"\xff", b"[" * 100_000):
        with pytest.raises(RequestError):
            body(data, Content_Length=str(len(data))).json()
    with pytest.raises(RequestError) as raised:
        body(b" " * (2 << 20), Content_Length=str(2 << 20)).json()
    assert raised.value.status == 413


def line(**query: str | list[str]) -> tuple[list[str], list[str]]:
    warned: list[str] = []
    values: Mapping[str, list[str]] = {name: [one] if isinstance(one, str) else one for name, one in query.items()}
    return words(values, warned.append), warned


def test_what_docker_sends_for_a_build() -> None:
    """The parameters of `docker build` with the classic builder, as the command line of docker 28 sends them."""
    found, warned = line(
        buildargs='{"A":"1","B":null}', cachefrom="[]", cgroupparent="", cpuperiod="0", cpuquota="0", cpusetcpus="",
        cpusetmems="", cpushares="0", dockerfile="Dockerfile", labels='{"k":"v=w"}', memory="268435456", memswap="-1",
        networkmode="default", rm="1", shmsize="0", t=["app", "app:2"], target="", ulimits="null", version="1",
    )  # fmt: skip
    assert found == [
        "build", "--progress=json", "--file=Dockerfile", "--tag=app", "--tag=app:2", "--memory=268435456",
        "--memory-swap=-1", "--network=default", "--build-arg=A=1", "--label=k=v=w", "--", "-",
    ]  # fmt: skip
    assert warned == []


def test_other_parameters_of_a_build() -> None:
    found, warned = line(
        remote="https://example.com/x.git#main:sub", nocache="true", pull="1", squash="1", q="1",
        platform="linux/arm64",
        ulimits='[{"Name":"nofile","Soft":10,"Hard":20}]', extrahosts="a:1.2.3.4,b:5.6.7.8", cachefrom='["x"]',
        networkmode="host", target="t", cpuquota="5", dockerfile="sub/F", nonsense="1", securityopt='["seccomp=x"]',
    )  # fmt: skip
    assert set(found) >= {
        "--no-cache", "--pull=always", "--squash", "--platform=linux/arm64", "--ulimit=nofile=10:20",
        "--add-host=a:1.2.3.4", "--add-host=b:5.6.7.8", "--cache-from=x", "--network=host", "--target=t",
        "--cpu-quota=5", "--file=sub/F", "--security-opt=seccomp=x",
    }  # fmt: skip
    assert found[-2:] == ["--", "https://example.com/x.git#main:sub"]
    assert warned == ["the parameter nonsense has no effect"]
    assert not [
        one for one in line(remote="https://example.com/Dockerfile", dockerfile="Dockerfile")[0] if "--file" in one
    ]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"version": "2"}, "classic builder"),
        ({"remote": "/etc"}, "not a URL"),
        ({"remote": "-"}, "not a URL"),
        ({"dockerfile": "-"}, "not a path"),
        ({"dockerfile": "https://example.com/x"}, "not a path"),
        ({"buildargs": "[]"}, "not a JSON object"),
        ({"buildargs": '{"": "x"}'}, "cannot be a name"),
        ({"buildargs": '{"a=b": "x"}'}, "cannot be a name"),
        ({"cachefrom": "{}"}, "not a JSON array"),
        ({"ulimits": "[1]"}, "not a limit"),
        ({"ulimits": '[{"Name": "nofile"}]'}, "not a limit"),
        ({"memory": "1x"}, "not a number"),
        ({"nocache": "perhaps"}, "neither true nor false"),
        ({"cpusetmems": "0"}, "not tied to nodes"),
        ({"outputs": "x"}, "BuildKit"),
        ({"target": "a\0b"}, "null byte"),
    ],
)
def test_parameters_that_cannot_be(query: dict[str, str], said: str) -> None:
    with pytest.raises(RequestError, match=said) as raised:
        line(**query)
    assert raised.value.status == 400


def _header(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def test_credentials_become_a_file_for_as_long_as_the_request_lasts() -> None:
    config = {HUB: {"username": "anna", "password": "p€?>"}, "r:5000": {"identitytoken": "t"}, "x": {"auth": "eDp5"}}
    with credentials_file(_header(config), None) as path:
        assert os.stat(path).st_mode & 0o077 == 0 or os.stat(os.path.dirname(path)).st_mode & 0o077 == 0
        with open(path, encoding="utf-8") as file:
            auths = json.load(file)["auths"]
    assert not os.path.exists(path)
    assert base64.b64decode(auths[HUB]["auth"]).decode() == "anna:p€?>"
    assert (auths["r:5000"]["identitytoken"], auths["x"]["auth"]) == ("t", "eDp5")
    with credentials_file(None, _header({"username": "a", "password": "b"}), "r:1") as path, open(path, "rb") as known:
        assert list(json.load(known)["auths"]) == ["r:1"]
    for nothing in (None, _header({}), _header({"username": ""})):
        with credentials_file(None, nothing) as path:
            assert path == ""
    for bad in ("!!!", "a", _header([1]), _header({"a": "secret"})):
        with pytest.raises(RequestError) as raised, credentials_file(bad, None):
            pass
        assert "secret" not in raised.value.message


def test_versions_that_are_not_answered_are_told_in_the_words_that_clients_know() -> None:
    check_version(1, 24)
    check_version(1, 47)
    with pytest.raises(RequestError, match=r"client version 1\.23 is too old\. Minimum supported API version is 1\.24"):
        check_version(1, 23)
    with pytest.raises(RequestError, match=r"client version 2\.0 is too new\. Maximum supported API version is 1\.47"):
        check_version(2, 0)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nope", 404), ("PUT", "/build", 405), ("GET", "/build", 405), ("POST", "/containers/create", 501),
     ("GET", "/networks", 501), ("GET", "/", 404), ("GET", "", 404), ("GET", "/images/", 404)],
)  # fmt: skip
def test_what_is_not_answered(method: str, path: str, status: int) -> None:
    def ask() -> None:
        handler, _ = find(method, path)
        handler(None)

    with pytest.raises(RequestError) as raised:
        ask()
    assert raised.value.status == status


def test_every_route_is_found_by_its_own_path() -> None:
    for method, path, handler in ROUTES:
        assert find(method, path.replace("{name}", "host:5000/a/b:tag")) == (
            handler,
            "host:5000/a/b:tag" if "{name}" in path else "",
        )


def test_filters_and_what_they_prune() -> None:
    assert filters_of('{"dangling": {"true": true, "false": false}, "label": ["a=b"]}') == [
        ("dangling", "true"), ("label", "a=b"),
    ]  # fmt: skip
    query = {"filters": ['{"dangling": ["false"], "until": ["24h"], "label!": ["x"]}']}
    assert prune_words(query, cache=False) == [
        "prune", "--images", "--force", "--format=json", "--all", "--filter=until=24h", "--filter=label!=x",
    ]  # fmt: skip
    query = {"all": ["1"], "keep-storage": ["1000"]}
    assert prune_words(query, cache=True)[-2:] == ["--all", "--reserved-space=1000"]
    for bad in ({"filters": ['{"x": ["y"]}']}, {"filters": ['{"until": 3}']}, {"keep-storage": ["-1"]}):
        with pytest.raises(RequestError):
            prune_words(bad, cache=True)
