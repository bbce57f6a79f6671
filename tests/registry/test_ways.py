"""The ways to a registry: certificates, proxies, plain HTTP where nothing else is spoken."""

from __future__ import annotations

import socket
import ssl
import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from buildah_py.errors import RegistryError, UsageError
from buildah_py.image.reference import parse
from buildah_py.registry import Registry, RegistryOptions
from tests.registry.conftest import QUICK
from tests.registry.images import image, pull, push
from tests.registry_server import Certificate, FaultProxy, Served, certificate, docker_registry, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["docker_registry"]

MADE = image(1000)


def opened(environ: dict[str, str], **options: Any) -> Registry:
    return Registry(RegistryOptions.from_environment(environ, policy=QUICK, **options))


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "r", tls=True) as served:
        yield served


def test_a_ca_is_believed_wherever_it_is_named(tls: Served, environ: dict[str, str], tmp_path: Path) -> None:
    reference = parse(f"localhost:{tls.port}/app")
    with opened(environ, tls_verify=True) as registry:
        with pytest.raises(RegistryError, match="certificate is not to be trusted") as raised:
            push(registry, reference, MADE)
        assert raised.value.message.startswith(f"{reference}: blob ")
        assert f"localhost:{tls.port}" in raised.value.message
    ways: list[dict[str, Any]] = [{"ca_files": [tls.ca]}, {"cert_dir": str(Path(tls.ca).parent / "only")}]
    Path(ways[1]["cert_dir"]).mkdir()
    Path(ways[1]["cert_dir"], "some.crt").write_bytes(Path(tls.ca).read_bytes())
    for way in ways:
        with opened(environ, tls_verify=True, **way) as registry:
            push(registry, reference, MADE)
    with opened({**environ, "SSL_CERT_FILE": tls.ca}, tls_verify=True) as registry:
        assert pull(registry, reference) == MADE
    for folder in (".config/containers/certs.d", ".docker/certs.d"):
        certs = Path(environ["HOME"], folder, f"localhost:{tls.port}")
        certs.mkdir(parents=True)
        (certs / "ca.crt").write_bytes(Path(tls.ca).read_bytes())
        with opened(environ, tls_verify=True) as registry:
            assert pull(registry, reference) == MADE
        (certs / "ca.crt").unlink()
        certs.rmdir()
    nowhere = {**environ, "SSL_CERT_FILE": str(tmp_path / "none")}
    with opened(nowhere, tls_verify=True) as registry, pytest.raises(UsageError, match="SSL_CERT_FILE"):
        pull(registry, reference)


def test_a_certificate_for_another_host_is_not_believed(tls: Served, environ: dict[str, str]) -> None:
    with (
        Proxy() as proxy,
        opened({**environ, "https_proxy": proxy.host}, ca_files=[tls.ca]) as registry,
        pytest.raises(RegistryError, match=r"Hostname mismatch.*registry\.test"),
    ):
        pull(registry, parse(f"registry.test:{tls.port}/app"))


def test_loopback_needs_no_certificate_unless_asked_for(tls: Served, environ: dict[str, str]) -> None:
    for host in (f"localhost:{tls.port}", f"127.0.0.1:{tls.port}"):
        with opened(environ) as registry:
            push(registry, parse(f"{host}/app"), MADE)
        with opened(environ, tls_verify=False) as registry:
            assert pull(registry, parse(f"{host}/app")) == MADE


def test_plain_http_is_for_loopback(docker_registry: Served, environ: dict[str, str]) -> None:
    reference = parse(f"localhost:{docker_registry.port}/app")
    with opened(environ) as registry:
        push(registry, reference, MADE)
        assert pull(registry, reference) == MADE
    with opened(environ, tls_verify=True) as registry:
        with pytest.raises(RegistryError, match="does not speak TLS") as raised:
            pull(registry, reference)
        assert "--tls-verify=false" in raised.value.hint


@pytest.fixture
def demanding(tmp_path: Path) -> Iterator[tuple[str, Certificate]]:
    """A server that wants a client's certificate, and says the client's name as a digest's media type."""
    made = certificate(tmp_path / "demanding")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    context.load_verify_locations(made.ca)
    context.verify_mode = ssl.CERT_REQUIRED

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"name":"app","tags":["seen"]}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:  # a client without a certificate
            pass

        def finish_request(self, request: Any, address: Any) -> None:
            with context.wrap_socket(request, server_side=True) as wrapped:
                super().finish_request(wrapped, address)

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"127.0.0.1:{server.server_port}", made
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_client_certificate(demanding: tuple[str, Certificate], environ: dict[str, str]) -> None:
    host, made = demanding
    with opened(environ, tls_verify=True, ca_files=[made.ca]) as registry:
        with pytest.raises(RegistryError, match="TLS") as raised:
            registry.tags(parse(f"{host}/app"))
        assert "client.cert" in raised.value.hint
    certs = Path(environ["HOME"], ".config/containers/certs.d", host)
    certs.mkdir(parents=True)
    mine, key = made.client(Path(made.ca).parent, "me")
    (certs / "ca.crt").write_bytes(Path(made.ca).read_bytes())
    (certs / "client.cert").write_bytes(Path(mine).read_bytes())
    with opened(environ, tls_verify=True) as registry, pytest.raises(UsageError, match=r"client\.cert has no key"):
        registry.tags(parse(f"{host}/app"))
    (certs / "client.key").write_bytes(Path(key).read_bytes())
    with opened(environ, tls_verify=True) as registry:
        assert registry.tags(parse(f"{host}/app")) == ["seen"]
    (certs / "ca.crt").write_text("no certificate")
    with opened(environ, tls_verify=True) as registry, pytest.raises(UsageError, match="holds no certificates"):
        registry.tags(parse(f"{host}/app"))


class Proxy:
    """An HTTP proxy: CONNECT for TLS, whole URLs for plain HTTP. All names lead to 127.0.0.1; `asked` are the lines."""

    def __init__(self, password: str = "") -> None:
        self.asked: list[str] = []
        self._password = password
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            head = b""
            while b"\r\n\r\n" not in head:
                data = client.recv(65536)
                if not data:
                    return
                head += data
            line = head.split(b"\r\n")[0].decode()
            self.asked.append(line)
            method, target, _ = line.split()
            wanted = "Basic " + b64encode(self._password.encode()).decode()
            if self._password and f"proxy-authorization: {wanted}".lower() not in head.decode().lower():
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
            place = target if method == "CONNECT" else target.split("/")[2]
            with socket.create_connection(("127.0.0.1", int(place.rpartition(":")[2]))) as server:
                if method == "CONNECT":
                    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    path = "/" + target.split("/", 3)[3]
                    head = head.replace(target.encode(), path.encode(), 1)
                    server.sendall(head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
                back = threading.Thread(target=_pump, args=(server, client))
                back.start()
                _pump(client, server)
                back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_RDWR)
    except OSError:  # the other side has gone
        pass


def test_tls_goes_through_a_proxy(tls: Served, environ: dict[str, str]) -> None:
    reference = parse(f"registry.test:{tls.port}/app")
    with Proxy("me:p@ss") as proxy:
        with opened({**environ, "HTTPS_PROXY": f"http://me:p%40ss@{proxy.host}"}, tls_verify=False) as registry:
            push(registry, reference, MADE)
            assert pull(registry, reference) == MADE
        assert {line.rpartition(" ")[0] for line in proxy.asked} == {f"CONNECT registry.test:{tls.port}"}
        with opened({**environ, "https_proxy": f"http://me:wrong-xyz@{proxy.host}"}, ca_files=[tls.ca]) as registry:
            with pytest.raises(RegistryError, match=r"the proxy for registry\.test:[0-9]+ cannot be used") as raised:
                pull(registry, reference)
            assert "407" in str(raised.value)
            assert "wrong-xyz" not in str(raised.value)


def test_plain_http_goes_through_a_proxy(docker_registry: Served, environ: dict[str, str]) -> None:
    reference = parse(f"registry.test:{docker_registry.port}/app")
    with Proxy() as proxy:
        with opened({**environ, "http_proxy": proxy.host}, tls_verify=False) as registry:
            push(registry, reference, MADE)
            assert pull(registry, reference) == MADE
        assert f"GET http://registry.test:{docker_registry.port}/v2/app/manifests/latest HTTP/1.1" in proxy.asked


def test_a_registry_may_not_know_that_tls_ends_before_it(
    docker_registry: Served, environ: dict[str, str], tmp_path: Path
) -> None:
    made = certificate(tmp_path / "front")
    with FaultProxy(docker_registry, made) as front:
        reference = parse(f"{front.host}/app")
        with opened(environ, tls_verify=True, ca_files=[made.ca]) as registry:
            push(registry, reference, MADE)
            assert pull(registry, reference) == MADE
        assert len(front.asked("PUT", "uploads")) == 2
