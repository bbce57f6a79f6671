"""What a push does when the registry, or the way to it, is not well."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from buildah_py.errors import OutputError, RegistryError
from buildah_py.http.retry import Policy
from buildah_py.image import media_types
from buildah_py.image.reference import parse
from buildah_py.registry import Registry, RegistryOptions
from buildah_py.registry.options import Credentials, Sizes
from tests.registry.conftest import QUICK
from tests.registry.images import image, pull, push
from tests.registry_server import FaultProxy, Request, Served, docker_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["docker_registry"]

SIZE = 3_000_000
MADE = image(SIZE)
LAYER = MADE.manifest.layers[0]
PIECES = Sizes(whole=1000, piece=1_000_000, small=600_000)


@pytest.fixture
def registry(environ: dict[str, str]) -> Iterator[Registry]:
    with Registry(RegistryOptions.from_environment(environ, policy=QUICK)) as made:
        yield made


@pytest.fixture
def in_pieces(environ: dict[str, str]) -> Iterator[Registry]:
    """A registry to which blobs go in pieces."""
    with Registry(RegistryOptions.from_environment(environ, policy=QUICK, sizes=PIECES)) as made:
        yield made


@pytest.fixture
def proxy(docker_registry: Served) -> Iterator[FaultProxy]:
    with FaultProxy(docker_registry) as made:
        yield made


def cut_when_sent(request: Request) -> None:
    """Take the body, pass it on, and say nothing."""
    request.upstream()
    request.cut()


def cut_midway(request: Request) -> None:
    """Take some of the body, then reset the connection."""
    request.handler.rfile.read(int(request.headers["content-length"]) // 2)
    request.cut()


@pytest.mark.parametrize("action", [Request.cut, cut_midway, cut_when_sent, lambda request: request.reply(503)])
@pytest.mark.parametrize(("method", "where"), [("POST", "uploads"), ("PUT", "uploads"), ("HEAD", "blobs")])
def test_a_blob_gets_there_at_last(
    method: str, where: str, action: Callable[[Request], None], proxy: FaultProxy, registry: Registry
) -> None:
    if method != "PUT" and action is cut_midway:
        action = Request.cut
    proxy.fault(method, where, action, times=2)
    reference = parse(f"{proxy.host}/app")
    push(registry, reference, MADE)
    assert pull(registry, reference) == MADE


def test_a_lost_answer_is_asked_after(proxy: FaultProxy, registry: Registry) -> None:
    proxy.fault("PUT", "uploads", cut_when_sent)
    opened = []

    def open_blob() -> io.BytesIO:
        opened.append(1)
        return io.BytesIO(MADE.layers[0])

    assert registry.push_blob(parse(f"{proxy.host}/app"), LAYER, open_blob) == "uploaded"
    assert len(opened) == 1


@pytest.mark.parametrize("action", [Request.cut, cut_midway, cut_when_sent, lambda request: request.reply(500)])
def test_pieces_go_on_where_the_registry_says(
    action: Callable[[Request], None], proxy: FaultProxy, in_pieces: Registry
) -> None:
    reference = parse(f"{proxy.host}/app")
    proxy.fault("PATCH", "", proxy.pass_on)
    proxy.fault("PATCH", "", action)
    assert push(in_pieces, reference, MADE) == ["uploaded", "uploaded"]
    assert pull(in_pieces, reference) == MADE
    ranges = [request.headers["content-range"] for request in proxy.asked("PATCH")]
    assert ranges[:2] == ["0-999999", "1000000-1999999"]
    assert ranges[-1] == "2000000-2999999"
    (asked,) = proxy.asked("GET", "uploads")
    assert asked.path.startswith("/v2/app/blobs/uploads/")


def test_a_forgotten_upload_begins_again(proxy: FaultProxy, in_pieces: Registry) -> None:
    proxy.fault("PATCH", "", proxy.pass_on)
    proxy.fault("PATCH", "", Request.cut)
    proxy.fault("GET", "uploads", lambda request: request.reply(404))
    reference = parse(f"{proxy.host}/app")
    push(in_pieces, reference, MADE)
    assert pull(in_pieces, reference) == MADE
    assert [request.headers["content-range"][:2] for request in proxy.asked("PATCH")] == ["0-", "10", "0-", "10", "20"]


def test_half_a_piece_may_be_kept(proxy: FaultProxy, in_pieces: Registry) -> None:
    def half(request: Request) -> None:
        data = request.body()[:400_000]
        del request.handler.headers["Content-Length"]
        request.body = lambda: data
        status, headers, body = upstream(request, data)
        request.reply(
            status, body, **{name.replace("-", "_"): value for name, value in headers if name != "Content-Length"}
        )

    def upstream(request: Request, data: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        from http.client import HTTPConnection

        connection = HTTPConnection(proxy.upstream, timeout=20)
        try:
            connection.request("PATCH", request.path, data, {"Host": proxy.host})
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    proxy.fault("PATCH", "", half)
    reference = parse(f"{proxy.host}/app")
    push(in_pieces, reference, MADE)
    assert pull(in_pieces, reference) == MADE
    assert proxy.asked("PATCH")[1].headers["content-range"] == "400000-1399999"


@pytest.mark.parametrize("status", [400, 404, 405, 416, 501])
def test_registries_without_pieces_get_the_whole(status: int, proxy: FaultProxy, in_pieces: Registry) -> None:
    proxy.fault("PATCH", "", lambda request: request.reply(status), times=-1)
    reference = parse(f"{proxy.host}/app")
    assert push(in_pieces, reference, MADE) == ["uploaded", "uploaded"]
    assert pull(in_pieces, reference) == MADE
    assert len(proxy.asked("PATCH")) == 1


@pytest.mark.parametrize("way", ["PUT", "PATCH"])
def test_what_is_too_much_at_once_goes_in_smaller_pieces(way: str, proxy: FaultProxy, environ: dict[str, str]) -> None:
    def refuse(request: Request) -> None:
        if len(request.body()) > 700_000:
            request.reply(413)
        else:
            proxy.pass_on(request)

    proxy.fault(way, "uploads", refuse, times=-1)
    sizes = Sizes(whole=1000 if way == "PATCH" else 1 << 30, piece=1_000_000, small=600_000)
    reference = parse(f"{proxy.host}/app")
    with Registry(RegistryOptions.from_environment(environ, policy=QUICK, sizes=sizes)) as registry:
        assert push(registry, reference, MADE) == ["uploaded", "uploaded"]
        assert pull(registry, reference) == MADE
    assert [request.headers["content-range"] for request in proxy.asked("PATCH")][-1] == "2400000-2999999"


@pytest.mark.parametrize("patch", [405, 413])
def test_what_is_always_too_much_is_told(patch: int, proxy: FaultProxy, in_pieces: Registry) -> None:
    def refuse(request: Request) -> None:
        if len(request.body()) > 10_000:
            request.reply(413)
        else:
            proxy.pass_on(request)

    proxy.fault("PUT", "uploads", refuse, times=-1)
    proxy.fault("PATCH", "uploads", lambda request: request.reply(patch), times=-1)
    with pytest.raises(RegistryError, match=r"answered 413 .* Too Large"):
        push(in_pieces, parse(f"{proxy.host}/app"), MADE)


def test_a_registry_may_ask_for_larger_pieces(proxy: FaultProxy, in_pieces: Registry) -> None:
    def ask(request: Request) -> None:
        status, headers, body = request.upstream()
        named = {name.replace("-", "_"): value for name, value in headers if name != "Content-Length"}
        request.reply(status, body, OCI_Chunk_Min_Length="2000000", **named)

    proxy.fault("POST", "uploads", ask, times=-1)
    push(in_pieces, parse(f"{proxy.host}/app"), MADE)
    assert [request.headers["content-range"] for request in proxy.asked("PATCH")] == ["0-1999999", "2000000-2999999"]


def test_a_push_that_fails_for_good_is_told(proxy: FaultProxy, registry: Registry) -> None:
    proxy.fault("PUT", "uploads", lambda request: request.reply(507, b'{"errors":[{"message":"disk full"}]}'))
    reference = parse(f"{proxy.host}/app:v1")
    with pytest.raises(RegistryError, match="507 Insufficient Storage: disk full") as raised:
        push(registry, reference, MADE)
    assert raised.value.message.startswith(f"{reference}: blob {MADE.manifest.config.digest}: {proxy.host} answered")


@pytest.mark.parametrize("data", [MADE.layers[0][:-1], b""])
def test_a_blob_that_is_too_short_here(data: bytes, proxy: FaultProxy, registry: Registry) -> None:
    with pytest.raises(OutputError, match=f"has {len(data)} bytes, and not {SIZE}"):
        registry.push_blob(parse(f"{proxy.host}/app"), LAYER, lambda: io.BytesIO(data))


def test_a_blob_that_is_another_here(proxy: FaultProxy, registry: Registry) -> None:
    with pytest.raises(RegistryError, match="digest"):
        registry.push_blob(parse(f"{proxy.host}/app"), LAYER, lambda: io.BytesIO(bytes(SIZE)))
    assert not registry.has_blob(parse(f"{proxy.host}/app"), LAYER.digest)


def test_a_registry_that_takes_the_mount_for_an_upload(proxy: FaultProxy, registry: Registry) -> None:
    reference = parse(f"{proxy.host}/app")
    assert (
        registry.push_blob(reference, LAYER, lambda: io.BytesIO(MADE.layers[0]), [f"{proxy.host}/none"]) == "uploaded"
    )
    assert len(proxy.asked("DELETE", "uploads")) == 1


def test_a_registry_that_takes_nothing(proxy: FaultProxy, environ: dict[str, str]) -> None:
    large = image(32 << 20)
    proxy.fault("PUT", "uploads", proxy.be_silent, times=-1)
    policy = Policy(connect=5, silence=0.3, commit=0.3, patience=10, attempts=2, pause=0.01)
    with Registry(RegistryOptions.from_environment(environ, policy=policy)) as registry:
        reference = parse(f"{proxy.host}/app")
        with pytest.raises(RegistryError, match="took nothing for") as raised:
            registry.push_blob(reference, large.manifest.layers[0], lambda: io.BytesIO(large.layers[0]))
        assert raised.value.message.startswith(f"{reference}: blob {large.manifest.layers[0].digest}: {proxy.host} ")


def test_a_registry_may_take_longer_than_to_connect(proxy: FaultProxy, environ: dict[str, str]) -> None:
    large = image(32 << 20)

    def late(request: Request) -> None:
        proxy.silence.wait(0.7)
        proxy.pass_on(request)

    proxy.fault("PUT", "uploads", late)
    policy = Policy(connect=0.3, silence=20, commit=20, attempts=1)
    with Registry(RegistryOptions.from_environment(environ, policy=policy)) as registry:
        reference = parse(f"{proxy.host}/app")
        layer = large.manifest.layers[0]
        assert registry.push_blob(reference, layer, lambda: io.BytesIO(large.layers[0])) == "uploaded"


@pytest.mark.parametrize("status", [401, 403, 404, 405, 500, 503, 507])
def test_a_mount_that_is_refused(status: int, proxy: FaultProxy, registry: Registry) -> None:
    proxy.fault("POST", "mount=", lambda request: request.reply(status), times=-1)
    names = [f"{proxy.host}/none{number}" for number in range(9)]
    blob = io.BytesIO(MADE.layers[0])
    assert registry.push_blob(parse(f"{proxy.host}/app"), LAYER, lambda: blob, names) == "uploaded"
    assert len(proxy.asked("POST", "mount=")) == 3, "a mount only saves bytes"


def with_relative_location(request: Request) -> None:
    status, headers, body = request.upstream()
    named = {name.replace("-", "_"): value for name, value in headers if name != "Content-Length"}
    named["Location"] = named["Location"].partition(request.headers["host"])[2]
    request.reply(status, body, **named)


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize(("method", "where"), [("POST", "uploads"), ("PATCH", ""), ("PUT", "uploads"), ("PUT", "man")])
def test_what_has_moved_is_sent_where_it_is_now(
    method: str, where: str, status: int, proxy: FaultProxy, docker_registry: Served, environ: dict[str, str]
) -> None:
    """With its body, but without the credentials; a relative Location starts from where the answer came."""

    def move(request: Request) -> None:
        request.body()
        request.reply(status, Location=f"http://{there.host}{request.path}")

    def ask(request: Request) -> None:
        if "authorization" in request.headers:
            proxy.pass_on(request)
        else:
            request.reply(401, WWW_Authenticate='Basic realm="here"')

    options = RegistryOptions.from_environment(
        environ, policy=QUICK, sizes=PIECES, credentials=Credentials("anna", "geheim")
    )
    with FaultProxy(docker_registry) as there, Registry(options) as registry:
        there.fault("POST", "uploads", with_relative_location, times=-1)
        proxy.fault(method, where, move, times=-1)
        proxy.fault("", "", ask, times=-1)
        reference = parse(f"{proxy.host}/app")
        assert push(registry, reference, MADE) == ["uploaded", "uploaded"]
        assert pull(registry, reference) == MADE
        assert there.asked(method, where)
        assert not any("authorization" in request.headers for request in there.requests)


def test_what_may_not_be_sent_again_says_where_it_leads(proxy: FaultProxy, registry: Registry) -> None:
    proxy.fault("POST", "uploads", lambda request: request.reply(302, Location="http://moved.example/v2/"), times=-1)
    with pytest.raises(RegistryError, match="302 Found") as raised:
        push(registry, parse(f"{proxy.host}/app"), MADE)
    assert "http://moved.example/v2/" in raised.value.hint


def test_a_registry_that_calls_the_manifest_something_else(proxy: FaultProxy, registry: Registry) -> None:
    other = "sha256:" + "0" * 64
    proxy.fault("PUT", "manifests", lambda request: request.reply(201, Docker_Content_Digest=other))
    with pytest.raises(RegistryError, match=f"says that it is {other}"):
        registry.push_manifest(parse(f"{proxy.host}/app:1"), b"{}", media_types.OCI_MANIFEST)


def test_a_manifest_too_large_for_registries(proxy: FaultProxy, registry: Registry) -> None:
    with pytest.raises(RegistryError, match="registries take 4194304"):
        registry.push_manifest(parse(f"{proxy.host}/app:1"), b" " * (4 << 20) + b"{}", media_types.OCI_MANIFEST)
    assert proxy.requests == []
