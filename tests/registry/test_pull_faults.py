"""What a pull does when the registry, or the way to it, is not well."""

from __future__ import annotations

import json
import socket
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from buildah_py.errors import Interrupted, RegistryError
from buildah_py.http.retry import Policy
from buildah_py.image import descriptor, media_types
from buildah_py.image.reference import parse
from buildah_py.registry import Credentials, Registry, RegistryOptions, session
from buildah_py.registry.endpoint import Endpoint
from tests.elsewhere import Elsewhere, elsewhere
from tests.registry.conftest import QUICK
from tests.registry.images import Image, image, noise, pull, push
from tests.registry_server import (
    PASSWORD,
    USER,
    FaultProxy,
    Request,
    Served,
    certificate,
    digest_of,
    docker_registry,
    serving,
)
from tests.web_server import full_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["docker_registry", "elsewhere"]

SIZE = 3 << 20
MADE = image(SIZE)
BLOB = "/blobs/" + MADE.manifest.layers[0].digest
MANIFEST = MADE.manifest.to_bytes()


@pytest.fixture
def registry(environ: dict[str, str]) -> Iterator[Registry]:
    with Registry(RegistryOptions.from_environment(environ, policy=QUICK)) as made:
        yield made


@pytest.fixture
def proxy(docker_registry: Served, registry: Registry) -> Iterator[FaultProxy]:
    """A proxy before a registry with an image `app`."""
    push(registry, parse(f"{docker_registry.host}/app"), MADE)
    with FaultProxy(docker_registry) as made:
        yield made


def cut_after(count: int) -> Callable[[Request], None]:
    """Give so many bytes of the body, then reset the connection."""

    def act(request: Request) -> None:
        status, headers, body = request.upstream()
        request.handler.send_response(status)
        for name, value in headers:
            request.handler.send_header(name, value)
        request.handler.end_headers()
        request.handler.wfile.write(body[:count])
        request.cut()

    return act


def test_a_blob_that_is_cut_goes_on_where_it_was(proxy: FaultProxy, registry: Registry) -> None:
    proxy.fault("GET", BLOB, cut_after(1 << 20), times=2)
    assert pull(registry, parse(f"{proxy.host}/app")) == MADE
    ranges = [request.headers.get("range", "") for request in proxy.asked("GET", BLOB)]
    starts = [int(text.removeprefix("bytes=").removesuffix("-")) for text in ranges[1:]]
    assert len(starts) == 2
    assert ranges[0] == ""
    assert 0 < starts[0] < starts[1] < SIZE


def test_a_server_without_ranges_is_read_again(proxy: FaultProxy, registry: Registry) -> None:
    proxy.fault("GET", BLOB, cut_after(1 << 20))
    proxy.fault("GET", BLOB, lambda request: request.reply(200, MADE.layers[0]))
    assert pull(registry, parse(f"{proxy.host}/app")) == MADE


def test_a_server_that_answers_with_another_range_is_not_believed(proxy: FaultProxy, registry: Registry) -> None:
    proxy.fault("GET", BLOB, cut_after(1 << 20))
    proxy.fault("GET", BLOB, lambda request: request.reply(206, b"x" * 10, Content_Range=f"bytes 5-14/{SIZE}"))
    with pytest.raises(RegistryError, match="gives those from 5 on") as raised:
        pull(registry, parse(f"{proxy.host}/app"))
    assert_names(raised.value, proxy)


def test_a_server_that_cuts_for_ever_is_given_up(proxy: FaultProxy, registry: Registry) -> None:
    proxy.fault("GET", BLOB, cut_after(100_000), times=-1)
    with pytest.raises(RegistryError, match="tried 4 times") as raised:
        pull(registry, parse(f"{proxy.host}/app"))
    assert_names(raised.value, proxy)
    assert len(proxy.asked("GET", BLOB)) == 4


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_passing_trouble_passes(status: int, proxy: FaultProxy, registry: Registry) -> None:
    proxy.fault("GET", "/manifests/", lambda request: request.reply(status, b"no", Retry_After="0"), times=2)
    proxy.fault("GET", BLOB, lambda request: request.reply(status))
    assert pull(registry, parse(f"{proxy.host}/app")) == MADE


def test_resets_pass(proxy: FaultProxy, registry: Registry) -> None:
    proxy.fault("GET", "/manifests/", Request.cut, times=2)
    proxy.fault("GET", BLOB, Request.cut)
    assert pull(registry, parse(f"{proxy.host}/app")) == MADE


def test_trouble_that_stays_is_told(proxy: FaultProxy, registry: Registry) -> None:
    proxy.fault("GET", "/manifests/", lambda request: request.reply(429, b"{}"), times=-1)
    with pytest.raises(RegistryError, match="429 Too Many Requests") as raised:
        registry.manifest(parse(f"{proxy.host}/app"))
    assert_names(raised.value, proxy)
    assert "pybuild login" in raised.value.hint
    assert raised.value.status == 429


def test_a_registry_that_asks_for_too_much_patience_is_left(proxy: FaultProxy, registry: Registry) -> None:
    proxy.fault("GET", "/manifests/", lambda request: request.reply(429, Retry_After="3600"), times=-1)
    with pytest.raises(RegistryError) as raised:
        registry.manifest(parse(f"{proxy.host}/app"))
    assert "3600 seconds" in raised.value.hint
    assert len(proxy.asked("GET", "/manifests/")) == 1


def test_wrong_bytes_are_found(proxy: FaultProxy, registry: Registry) -> None:
    wrong = MADE.layers[0][:-1] + bytes([MADE.layers[0][-1] ^ 1])
    proxy.fault("GET", BLOB, lambda request: request.reply(200, wrong))
    with registry.open_blob(parse(f"{proxy.host}/app"), MADE.manifest.layers[0]) as stream:
        got = 0
        with pytest.raises(RegistryError, match=digest_of(wrong)) as raised:  # noqa: PT012
            while data := stream.read(1 << 16):
                got += len(data)
        assert got < SIZE  # the last bytes are not given
        assert stream.read(1) == b""
    assert_names(raised.value, proxy)


@pytest.mark.parametrize("length", [SIZE - 1, SIZE + 1, 10, 1 << 60])
def test_an_announced_length_that_is_not_the_manifests(length: int, proxy: FaultProxy, registry: Registry) -> None:
    def lie(request: Request) -> None:
        request.handler.send_response(200)
        request.handler.send_header("Content-Length", str(length))
        request.handler.end_headers()
        request.handler.wfile.write(MADE.layers[0])
        request.cut()

    proxy.fault("GET", BLOB, lie)
    with pytest.raises(RegistryError, match=f"announces {length} bytes") as raised:
        registry.open_blob(parse(f"{proxy.host}/app"), MADE.manifest.layers[0])
    assert_names(raised.value, proxy)


@pytest.mark.parametrize("more", [b"x", b"x" * 1_000_000])
def test_more_bytes_than_the_manifest_says(more: bytes, proxy: FaultProxy, registry: Registry) -> None:
    def unannounced(request: Request) -> None:
        request.handler.send_response(200)
        request.handler.send_header("Connection", "close")
        request.handler.end_headers()
        request.handler.wfile.write(MADE.layers[0] + more)
        request.handler.close_connection = True

    proxy.fault("GET", BLOB, unannounced)
    with (
        registry.open_blob(parse(f"{proxy.host}/app"), MADE.manifest.layers[0]) as stream,
        pytest.raises(RegistryError, match="more than the 3145728 bytes") as raised,
    ):
        stream.read()
    assert_names(raised.value, proxy)


def test_an_endless_manifest_is_not_read(proxy: FaultProxy, registry: Registry) -> None:
    sent = 0

    def endless(request: Request) -> None:
        nonlocal sent
        request.handler.send_response(200)
        request.handler.send_header("Content-Type", media_types.OCI_MANIFEST)
        request.handler.end_headers()
        while True:
            request.handler.wfile.write(b" " * 100_000)
            sent += 100_000

    proxy.fault("GET", "/manifests/", endless)
    with pytest.raises(RegistryError, match="more than 4194304 bytes") as raised:
        registry.manifest(parse(f"{proxy.host}/app"))
    assert_names(raised.value, proxy)
    assert sent < 20_000_000  # some of which nobody has read


def test_a_truncated_manifest_is_asked_for_again(proxy: FaultProxy, registry: Registry) -> None:
    proxy.fault("GET", "/manifests/", cut_after(20), times=2)
    assert registry.manifest(parse(f"{proxy.host}/app")).data == MANIFEST


def test_a_manifest_with_another_digest(proxy: FaultProxy, registry: Registry) -> None:
    digest = digest_of(MANIFEST)

    def other(request: Request) -> None:
        request.reply(200, MANIFEST + b" ", Content_Type=media_types.OCI_MANIFEST, Docker_Content_Digest=digest)

    proxy.fault("GET", "/manifests/", other, times=-1)
    for text in (f"app@{digest}", "app:latest"):
        with pytest.raises(RegistryError, match="has to be " + digest) as raised:
            registry.manifest(parse(f"{proxy.host}/{text}"))
        assert_names(raised.value, proxy, text)


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        ("text/html", b"<html>Please log in</html>", "gave no manifest but text/html"),
        ("application/json", b"[]", "gave no manifest"),
        ("application/json", b"{}", "cannot use"),
        ("application/json", b"[" * 100_000, "gave no manifest"),
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", b"{}", "schema 1"),
        ("application/json", b'{"schemaVersion": 1}', "schema 1"),
        ("application/json", b'{"mediaType": "application/vnd.cncf.helm"}', "application/vnd.cncf.helm"),
    ],
)  # fmt: skip
def test_what_is_no_manifest(kind: str, body: bytes, said: str, proxy: FaultProxy, registry: Registry) -> None:
    proxy.fault("GET", "/manifests/", lambda request: request.reply(200, body, Content_Type=kind))
    with pytest.raises(RegistryError, match=said) as raised:
        registry.manifest(parse(f"{proxy.host}/app"))
    assert_names(raised.value, proxy)


def test_a_manifest_that_says_what_it_is_needs_no_content_type(proxy: FaultProxy, registry: Registry) -> None:
    proxy.fault("GET", "/manifests/", lambda request: request.reply(200, MANIFEST, Content_Type="application/json"))
    assert registry.manifest(parse(f"{proxy.host}/app")).descriptor.media_type == media_types.OCI_MANIFEST


def test_a_registry_without_head_is_asked_for_the_manifest(proxy: FaultProxy, registry: Registry) -> None:
    proxy.fault("HEAD", "/manifests/", lambda request: request.reply(405))
    assert registry.resolve(parse(f"{proxy.host}/app")) == MADE.manifest.descriptor()


@pytest.mark.parametrize("where", ["/manifests/", "/blobs/"])
def test_a_registry_that_falls_silent_ends_in_an_error(where: str, proxy: FaultProxy, environ: dict[str, str]) -> None:
    policy = Policy(connect=0.3, silence=0.3, patience=5, attempts=2, pause=0.01)
    proxy.fault("GET", where, proxy.be_silent, times=-1)
    with (
        Registry(RegistryOptions.from_environment(environ, policy=policy)) as registry,
        pytest.raises(RegistryError, match="said nothing for") as raised,
    ):
        pull(registry, parse(f"{proxy.host}/app"))
    assert_names(raised.value, proxy)


def test_a_registry_that_drips_ends_in_an_error(proxy: FaultProxy, environ: dict[str, str]) -> None:
    def drip(request: Request) -> None:
        request.handler.send_response(200)
        request.handler.send_header("Content-Length", str(SIZE))
        request.handler.end_headers()
        while not proxy.silence.wait(0.05):
            request.handler.wfile.write(b"x")

    proxy.fault("GET", BLOB, drip, times=-1)
    policy = Policy(connect=1, silence=0.3, patience=5, attempts=2, pause=0.01)
    with (
        Registry(RegistryOptions.from_environment(environ, policy=policy)) as registry,
        pytest.raises(RegistryError, match=r"gave \d+ bytes in") as raised,
    ):
        pull(registry, parse(f"{proxy.host}/app"))
    assert_names(raised.value, proxy)


@pytest.mark.parametrize("where", ["/manifests/", "/tags/"])
def test_metadata_that_drips_ends_in_an_error(where: str, proxy: FaultProxy, environ: dict[str, str]) -> None:
    def drip(request: Request) -> None:
        request.handler.send_response(200)
        request.handler.send_header("Content-Length", "1000000")
        request.handler.end_headers()
        while not proxy.silence.wait(0.05):
            request.handler.wfile.write(b" ")

    proxy.fault("GET", where, drip, times=-1)
    policy = Policy(connect=1, silence=0.3, patience=5, attempts=2, pause=0.01)
    with Registry(RegistryOptions.from_environment(environ, policy=policy)) as registry:
        ask = registry.tags if "tags" in where else registry.manifest
        with pytest.raises(RegistryError, match=r"gave \d+ bytes in") as raised:
            ask(parse(f"{proxy.host}/app:latest"))
    assert_names(raised.value, proxy)


def test_what_accepts_and_never_speaks(environ: dict[str, str]) -> None:
    policy = Policy(connect=0.2, silence=0.2, patience=5, attempts=2, pause=0.01)
    with socket.create_server(("127.0.0.1", 0)) as server:
        host = f"127.0.0.1:{server.getsockname()[1]}"
        for verify in (None, True, False):
            with Registry(RegistryOptions.from_environment(environ, policy=policy, tls_verify=verify)) as registry:
                with pytest.raises(RegistryError, match=r"said nothing|did not take") as raised:
                    registry.manifest(parse(f"{host}/app"))
                assert raised.value.message.startswith(f"{host}/app: {host} ")


def test_what_does_not_even_accept(environ: dict[str, str]) -> None:
    policy = Policy(connect=0.2, silence=5, patience=5, attempts=2, pause=0.01)
    options = RegistryOptions.from_environment(environ, policy=policy)
    with full_server() as (address, port), Registry(options) as registry:
        host = f"{address}:{port}"
        with pytest.raises(RegistryError, match="did not take the connection") as raised:
            registry.manifest(parse(f"{host}/app"))
        assert raised.value.message.startswith(f"{host}/app: {host} ")


def test_where_nobody_listens(environ: dict[str, str], registry: Registry) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        host = f"127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(RegistryError, match="cannot be reached: Connection refused") as raised:
        registry.manifest(parse(f"{host}/app"))
    assert raised.value.message.startswith(f"{host}/app: {host} ")


def test_a_closed_registry_ends_waiting(proxy: FaultProxy, environ: dict[str, str]) -> None:
    registry = Registry(RegistryOptions.from_environment(environ, policy=Policy(pause=60, patience=600)))

    def close(request: Request) -> None:
        request.reply(500)
        registry.close()

    proxy.fault("GET", "/manifests/", close)
    with pytest.raises(Interrupted):
        registry.manifest(parse(f"{proxy.host}/app"))


def test_closing_ends_what_waits_for_an_answer(proxy: FaultProxy, environ: dict[str, str]) -> None:
    registry = Registry(RegistryOptions.from_environment(environ))  # with the patience that users have
    came = threading.Barrier(3)

    def wait(request: Request) -> None:
        came.wait(30)
        proxy.be_silent(request)

    def drip(request: Request) -> None:
        request.handler.send_response(200)
        request.handler.send_header("Content-Length", str(SIZE))
        request.handler.end_headers()
        wait(request)

    proxy.fault("GET", "/manifests/", wait)
    proxy.fault("GET", BLOB, drip)
    reference = parse(f"{proxy.host}/app")
    with ThreadPoolExecutor(2) as pool:
        waiting: list[Future[Any]] = [
            pool.submit(registry.manifest, reference),
            pool.submit(lambda: registry.open_blob(reference, MADE.manifest.layers[0]).read()),
        ]
        came.wait(30)
        registry.close()
        for one in waiting:
            with pytest.raises(Interrupted):
                one.result()


def test_errors_of_registries_cannot_write_on_the_terminal(proxy: FaultProxy, registry: Registry) -> None:
    body = json.dumps({"errors": [{"code": "X", "message": "\x1b[2Jgone\n" + "y" * 5000}]}).encode()
    proxy.fault("GET", "/manifests/", lambda request: request.reply(404, body))
    with pytest.raises(RegistryError, match="gone") as raised:
        registry.manifest(parse(f"{proxy.host}/app"))
    assert raised.value.message.isprintable()
    assert len(raised.value.message) < 600


def test_redirects_take_no_credentials_along(tmp_path: Path, environ: dict[str, str]) -> None:
    options = RegistryOptions.from_environment(environ, policy=QUICK, credentials=Credentials(USER, PASSWORD))
    with serving(tmp_path / "r", basic=True) as served, FaultProxy(served) as proxy, FaultProxy(served) as other:
        other.fault("", "/elsewhere", lambda request: request.reply(200, MADE.layers[0]), times=-1)
        with Registry(options) as registry:
            push(registry, parse(f"{served.host}/app"), MADE)
            url = f"http://{USER}:{PASSWORD}@{other.host}/elsewhere?signature=1"
            proxy.fault("GET", BLOB, lambda request: request.reply(307, Location=url))
            assert pull(registry, parse(f"{proxy.host}/app")) == MADE
            (came,) = other.requests
            assert "authorization" not in came.headers
            assert came.path == "/elsewhere?signature=1"
            assert "authorization" in proxy.asked("GET", BLOB)[-1].headers
            # nor when the other host asks for them
            proxy.fault("GET", BLOB, lambda request: request.reply(307, Location=f"http://{other.host}/ask"))
            other.fault("", "/ask", lambda request: request.reply(401, WWW_Authenticate='Basic realm="tests"'))
            with pytest.raises(RegistryError, match="401"):
                pull(registry, parse(f"{proxy.host}/app"))
            assert all("authorization" not in request.headers for request in other.requests)


def test_a_blob_in_chunks_is_cut_too(proxy: FaultProxy, registry: Registry) -> None:
    last = b"0\r\n\r\n"

    def chunks(ends: bytes) -> Callable[[Request], None]:
        def act(request: Request) -> None:
            request.handler.send_response(200)
            request.handler.send_header("Transfer-Encoding", "chunked")
            request.handler.end_headers()
            data = MADE.layers[0]
            for start in range(0, SIZE, 300_000):
                piece = data[start : start + 300_000]
                request.handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                if start > SIZE / 2 and ends is not last:
                    break
            request.handler.wfile.write(ends)
            request.handler.close_connection = True

        return act

    for ends in (b"", b"fff\r\n", b"xyz\r\n"):
        proxy.fault("GET", BLOB, chunks(ends))
    proxy.fault("GET", BLOB, chunks(last))
    assert pull(registry, parse(f"{proxy.host}/app")) == MADE


def test_redirects_within_the_registry_are_followed(proxy: FaultProxy, registry: Registry) -> None:
    proxy.fault("GET", "/manifests/latest", lambda request: request.reply(302, Location="/v2/app/manifests/latest"))
    assert pull(registry, parse(f"{proxy.host}/app")) == MADE


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("file:///etc/passwd", "not an address of a web server"),
        ("ftp://host/x", "not an address of a web server"),
        ("", "not an address of a web server"),
        ("http://[", "not an address of a web server"),
        ("http://host:port/", "not an address of a web server"),
        ("/v2/app/manifests/latest", "more than 10 redirects"),
    ],
)
def test_redirects_that_lead_nowhere(location: str, said: str, proxy: FaultProxy, registry: Registry) -> None:
    proxy.fault("GET", "/manifests/", lambda request: request.reply(307, Location=location), times=-1)
    with pytest.raises(RegistryError, match=said) as raised:
        registry.manifest(parse(f"{proxy.host}/app"))
    assert_names(raised.value, proxy)


def test_no_redirect_leaves_tls(tmp_path: Path, environ: dict[str, str], docker_registry: Served) -> None:
    tls = certificate(tmp_path / "tls")
    options = RegistryOptions.from_environment(environ, policy=QUICK, tls_verify=True, ca_files=[tls.ca])
    url = f"http://127.0.0.2:{docker_registry.port}/v2/app/manifests/latest"
    with FaultProxy(docker_registry, tls) as proxy, Registry(options) as registry:
        proxy.fault("GET", "/manifests/", lambda request: request.reply(307, Location=url))
        with pytest.raises(RegistryError, match="leads from https to http"):
            registry.manifest(parse(f"{proxy.host}/app"))


def test_foreign_layers_come_from_their_urls(proxy: FaultProxy, registry: Registry) -> None:
    data = noise(1000, 99)
    with FaultProxy("127.0.0.1:1") as other:
        other.fault("", "/first", lambda request: request.reply(404))
        other.fault("", "/second", lambda request: request.reply(200, data))
        layer = descriptor.of(media_types.DOCKER_FOREIGN + ".gzip", data)
        layer = layer._replace(urls=(f"http://{other.host}/first", f"http://{other.host}/second"))
        with registry.open_blob(parse(f"{proxy.host}/app"), layer) as stream:
            assert stream.read() == data
    with pytest.raises(RegistryError, match="404 Not Found: blob unknown"):
        registry.open_blob(parse(f"{proxy.host}/app"), layer._replace(urls=("file:///etc/passwd",)))


@pytest.mark.parametrize(
    ("here", "there", "said"),
    [
        ("https://registry.test", "http://127.0.0.1:80/x", "from https to http"),
        ("https://registry.test", "https://127.0.0.1/x", "this machine or its link"),
        ("https://registry.test", "https://localhost:80/x", "this machine or its link"),
        ("https://registry.test", "https://169.254.169.254/latest/meta-data", "this machine or its link"),
        ("https://registry.test", "https://[::1]/x", "this machine or its link"),
        ("https://registry.test", "https://0.0.0.0/x", "this machine or its link"),
        ("https://registry.test", "http://other.test/x", "from https to http"),
        ("https://registry.test", "http://registry.test:80/x", "from https to http"),
        ("https://registry.test", "http://registry.test/x", ""),
        ("https://registry.test", "https://other.test/x", ""),
        ("https://registry.test", "/x", ""),
    ],
)
def test_where_a_registry_may_lead(here: str, there: str, said: str, environ: dict[str, str]) -> None:
    shared = session.Shared(RegistryOptions.from_environment(environ))
    one = session.Session(shared, Endpoint("registry.test", "app"), "registry.test/app")
    if said:
        with pytest.raises(RegistryError, match=said):
            one.follow(here, there)
    else:
        assert one.follow(here, there).startswith("https://")


def test_an_empty_blob(docker_registry: Served, registry: Registry) -> None:
    made = Image(b"{}", (b"",))
    reference = parse(f"{docker_registry.host}/empty")
    push(registry, reference, made)
    assert pull(registry, reference) == made


def assert_names(error: RegistryError, proxy: FaultProxy, text: str = "app:latest") -> None:
    """The registry and the reference stand in the message."""
    reference = parse(f"{proxy.host}/{text}")
    assert error.message.startswith(f"{reference.name}")
    assert proxy.host in error.message.partition(": ")[2]


@pytest.mark.parametrize("name", ["2130706433", "0x7f.1", "its own address"])
def test_no_registry_elsewhere_leads_to_this_machine(environ: dict[str, str], elsewhere: Elsewhere, name: str) -> None:
    options = RegistryOptions.from_environment(environ, policy=QUICK, tls_verify=False)
    own = elsewhere.address[:-1] + "1"
    address, host = (own, own) if name == "its own address" else ("127.0.0.1", name)
    with (
        FaultProxy("none", machine=elsewhere) as there,
        FaultProxy("none", address=address) as here,
        Registry(options) as registry,
    ):
        place = f"{host}:{here.host.rpartition(':')[2]}"
        here.fault("", "", lambda request: request.reply(200, MANIFEST), -1)
        there.fault("GET", "/v2/$", lambda request: request.reply(200), -1)
        there.fault("GET", "/manifests/", redirect_to(f"http://{place}/secret"))
        challenge = f'Bearer realm="http://{place}/token",service="x"'
        there.fault("GET", "/manifests/", lambda request: request.reply(401, WWW_Authenticate=challenge))
        for _ in ("redirect", "token"):
            with pytest.raises(RegistryError, match=f"{there.host} leads to {place}, which is this machine or"):
                registry.manifest(parse(f"{there.host}/app"))
        assert len(there.asked("GET", "/manifests/")) == 2
        assert here.requests == []


def redirect_to(url: str) -> Callable[[Request], None]:
    return lambda request: request.reply(307, Location=url)


def test_a_registry_on_this_machine_may_lead_there(environ: dict[str, str], elsewhere: Elsewhere) -> None:
    options = RegistryOptions.from_environment(environ, policy=QUICK, tls_verify=False)
    ours = elsewhere.address[:-1] + "1"
    with FaultProxy("none", address=ours) as here, FaultProxy("none") as loopback, Registry(options) as registry:
        here.fault("GET", "/v2/$", lambda request: request.reply(200), -1)
        port = loopback.host.rpartition(":")[2]
        here.fault("GET", "/manifests/", redirect_to(f"http://2130706433:{port}/moved"))
        loopback.fault(
            "GET", "/moved", lambda request: request.reply(200, MANIFEST, Content_Type=MADE.manifest.media_type)
        )
        registry.manifest(parse(f"{here.host}/app"))
        assert loopback.asked("GET", "/moved")
