from __future__ import annotations

import datetime as dt
import functools
import io
import ipaddress
import json
import os
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from buildah_py.errors import CacheError, Interrupted, ReadOnlyCache, UsageError
from buildah_py.http.retry import Policy, RetryableError, Waiter
from buildah_py.image import descriptor
from buildah_py.image.media_types import OCI_LAYER, OCI_LAYER_GZIP
from buildah_py.sharing import artifact
from buildah_py.sharing.backend import read_blob
from buildah_py.sharing.export import Content, send
from buildah_py.sharing.reapi import faults, messages
from buildah_py.sharing.reapi.cache import ReapiCache
from buildah_py.sharing.spec import parse_from, parse_to
from tests import reapi_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from buildah_py.image.descriptor import Descriptor
    from tests.reapi_server import Server

QUICK = Policy(pause=0.01, silence=20)
LARGE = os.urandom(1_300_000)


@pytest.fixture
def server() -> Iterator[Server]:
    with reapi_server.serve() as served:
        yield served


def cache_of(server: Server, more: str = "", environ: dict[str, str] | None = None, **named: Any) -> ReapiCache:
    return ReapiCache(parse_to(server.spec + more), environ or {}, policy=named.pop("policy", QUICK), **named)


def blob_of(data: bytes, media_type: str = OCI_LAYER_GZIP) -> Descriptor:
    return descriptor.of(media_type, data)


def put(cache: ReapiCache, data: bytes, media_type: str = OCI_LAYER_GZIP) -> Descriptor:
    blob = blob_of(data, media_type)
    cache.put(blob, lambda: io.BytesIO(data))
    return blob


@pytest.mark.skipif(reapi_server.BUILDGRID is None, reason=reapi_server.WITHOUT)
def test_messages_are_those_of_the_definitions() -> None:
    defined = reapi_server.buildgrid_definitions()
    count = 0
    for name, fields in messages.table():
        for one in fields:
            number, kind, repeated = defined[name][one.name]
            sent = "int32" if kind == "enum" else kind
            assert (one.number, one.type, one.repeated) == (number, sent, repeated), f"{name}.{one.name}"
            count += 1
    assert count > 60
    methods = [one for one in vars(messages).values() if isinstance(one, messages.Method)]
    assert len(methods) == 9
    for method in methods:
        assert defined[method.path] == [method.request, method.answer]


# What a server can take


def test_small_blobs_go_in_messages_and_large_ones_in_streams(server: Server) -> None:
    cache = cache_of(server)
    small, large = put(cache, b"small" * 1000), put(cache, LARGE)
    assert [one for one in server.calls if "@" not in one] == ["GetCapabilities", "BatchUpdateBlobs", "Write"]
    server.calls.clear()
    assert read_blob(cache, small, 1 << 20) == b"small" * 1000
    assert read_blob(cache, large, 1 << 21) == LARGE
    assert server.calls == ["BatchReadBlobs", "Read", "blobs@0"]


@pytest.mark.parametrize("batch", [1, 4200, 5000, 100_000])
def test_no_message_is_larger_than_the_server_allows(batch: int, server: Server) -> None:
    server.batch = batch
    cache = cache_of(server)
    for size in (1, 90, 850, 905, 60_000):
        data = os.urandom(size)
        assert read_blob(cache, put(cache, data), 1 << 20) == data
    cache.put_manifest(b'{"a":1}')
    assert cache_of(server).manifest() == b'{"a":1}'
    assert server.largest <= batch


def test_what_is_not_compressed_is_carried_compressed_where_the_server_can(server: Server) -> None:
    server.zstd = True
    data = b"".join(b"line %d\n" % number for number in range(300_000))
    cache = cache_of(server)
    plain, packed = put(cache, data, OCI_LAYER), put(cache, LARGE)
    assert [read_blob(cache, one, 1 << 23) for one in (plain, packed)] == [data, LARGE]
    carried = ["compressed-blobs/zstd@0", "blobs@0"]
    assert [one for one in server.calls if "@" in one] == carried * 2


def test_nothing_is_asked_about_the_empty_blob(server: Server) -> None:
    cache = cache_of(server)
    blob = put(cache, b"")
    assert not server.blobs
    assert cache.has(blob)
    assert read_blob(cache, blob, 10) == b""


# Servers that stumble


@pytest.mark.parametrize("code", ["UNAVAILABLE", "ABORTED", "RESOURCE_EXHAUSTED", "INTERNAL", "UNKNOWN", "CANCELLED"])
def test_calls_are_made_again(code: str, server: Server) -> None:
    methods = ["GetCapabilities", "FindMissingBlobs", "BatchUpdateBlobs", "BatchReadBlobs", "GetActionResult"]
    methods += ["UpdateActionResult", "Read", "Write"]
    server.faults = {name: [code, code] for name in methods}
    cache = cache_of(server)
    assert not cache.has(blob_of(LARGE))
    small, large = put(cache, b"small"), put(cache, LARGE)
    cache.put_manifest(b'{"a":1}')
    assert cache.manifest() == b'{"a":1}'
    assert [read_blob(cache, one, 1 << 21) for one in (small, large)] == [b"small", LARGE]
    assert not any(server.faults.values())


def test_calls_are_not_made_for_ever(server: Server) -> None:
    server.faults = {"BatchReadBlobs": ["UNAVAILABLE"] * 20}
    cache = cache_of(server)
    with pytest.raises(CacheError, match="tried 5 times") as caught:
        read_blob(cache, put(cache, b"small"), 100)
    assert "BatchReadBlobs" in str(caught.value)
    assert len(server.faults["BatchReadBlobs"]) == 15


@pytest.mark.parametrize("media_type", [OCI_LAYER_GZIP, OCI_LAYER])
def test_reading_goes_on_after_a_cut(media_type: str, server: Server) -> None:
    server.zstd = True
    cache = cache_of(server)
    blob = put(cache, LARGE, media_type)
    server.cuts = {"Read": [400_000, 300_000, 0]}
    server.calls.clear()
    counted: list[int] = []
    assert read_blob(cache, blob, 1 << 21, counted.append) == LARGE
    assert sum(counted) == len(LARGE)
    offsets = [int(one.rpartition("@")[2]) for one in server.calls if "@" in one]
    assert len(offsets) == 4
    assert 0 == offsets[0] < offsets[1] < offsets[2] == offsets[3]


@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.parametrize("media_type", [OCI_LAYER_GZIP, OCI_LAYER])
def test_writing_goes_on_after_a_cut(media_type: str, tells: bool, server: Server) -> None:
    server.zstd, server.tells_status = True, tells
    server.cuts = {"Write": [600_000, 700_000]}
    blob = put(cache_of(server), LARGE, media_type)
    assert server.blobs[blob.digest[7:]] == LARGE
    offsets = [int(one.rpartition("@")[2]) for one in server.calls if "@" in one]
    assert len(offsets) == 3
    if tells and media_type == OCI_LAYER_GZIP:
        assert 600_000 <= offsets[1] <= offsets[2]
    else:
        assert offsets == [0, 0, 0]


def test_a_file_that_cannot_be_read_is_its_own_error(server: Server) -> None:
    class Bad(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 500_000:
                raise OSError(5, "Input/output error")
            return super().read(size)

    cache = cache_of(server)
    with pytest.raises(OSError, match="Input/output error"):
        cache.put(blob_of(LARGE), lambda: Bad(LARGE))
    with pytest.raises(CacheError, match="shorter"):
        cache.put(blob_of(LARGE), lambda: io.BytesIO(LARGE[:-1]))
    assert not cache.has(blob_of(LARGE))


@pytest.mark.parametrize("method", ["BatchReadBlobs", "Read"])
def test_a_server_that_says_nothing_is_given_up(method: str, server: Server) -> None:
    data = b"small" if method == "BatchReadBlobs" else LARGE
    cache = cache_of(server, policy=QUICK._replace(silence=0.3))
    blob = put(cache, data)
    server.hold = threading.Event()
    with pytest.raises(CacheError, match=r"answer in time|said nothing") as caught:
        read_blob(cache, blob, 1 << 21)
    assert "tried twice" in str(caught.value)


def test_a_server_that_takes_nothing_is_given_up_and_a_slow_file_is_not(server: Server) -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            time.sleep(0.3)
            return super().read(size)

    blob = blob_of(LARGE)
    cache_of(server, policy=QUICK._replace(commit=1.0)).put(blob, lambda: Slow(LARGE))
    assert [one for one in server.calls if "@" in one] == ["blobs@0"]
    cache = cache_of(server, policy=QUICK._replace(commit=0.3))
    cache.has(blob)
    server.hold, server.held = threading.Event(), "Write"
    with pytest.raises(CacheError, match=r"took nothing for 0\.3 seconds"):
        put(cache, LARGE + b"1")


# Servers that lie


@pytest.mark.parametrize("zstd", [True, False])
@pytest.mark.parametrize("size", [1000, 1_300_000])
@pytest.mark.parametrize(
    "lie",
    [lambda data: data[:-1] + bytes([data[-1] ^ 1]), lambda data: data[:-1], lambda data: data + bytes(5 << 20)],
    ids=["other", "less", "more"],
)
def test_only_what_a_digest_says_is_read(lie: Callable[[bytes], bytes], size: int, zstd: bool, server: Server) -> None:
    server.zstd = zstd
    cache = cache_of(server)
    blob = put(cache, LARGE[:size], OCI_LAYER)
    server.lie = lie
    with pytest.raises(CacheError, match="reapi 127"):
        read_blob(cache, blob, 1 << 24)


def test_what_is_not_zstd_is_an_error(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.zstd = True
    cache = cache_of(server)
    blob = put(cache, LARGE, OCI_LAYER)
    monkeypatch.setattr(reapi_server, "_packed", lambda data: data)
    with pytest.raises(CacheError, match="is damaged"):
        read_blob(cache, blob, 1 << 24)


def test_answers_that_nobody_asked_for_are_errors(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    known = messages.classes()
    cache = cache_of(server)
    blob = put(cache, b"small")

    def compressed(_server: Server, request: Any, _context: Any) -> Any:
        answer = known["BatchReadBlobsResponse"]()
        answer.responses.add(digest=request.digests[0], data=b"small", compressor=messages.ZSTD)
        return answer

    def of_others(name: str) -> Callable[..., Any]:
        def answer(*_: Any) -> Any:
            made = known[name]()
            made.responses.add(digest=known["Digest"](hash="0" * 64, size_bytes=5))
            return made

        return answer

    monkeypatch.setattr(type(server), "batch_read_blobs", compressed)
    with pytest.raises(CacheError, match="which nobody asked for"):
        read_blob(cache, blob, 100)
    monkeypatch.setattr(type(server), "batch_read_blobs", of_others("BatchReadBlobsResponse"))
    with pytest.raises(CacheError, match="says nothing of the blob"):
        read_blob(cache, blob, 100)
    monkeypatch.setattr(type(server), "batch_update_blobs", of_others("BatchUpdateBlobsResponse"))
    with pytest.raises(CacheError, match="says nothing of the blob"):
        put(cache, b"other")


def test_a_blob_that_the_server_takes_for_another_is_told(server: Server) -> None:
    cache = cache_of(server)
    with pytest.raises(CacheError, match=r"BatchUpdateBlobs: .* answered INVALID_ARGUMENT"):
        cache.put(blob_of(b"right"), lambda: io.BytesIO(b"wrong"))
    assert not server.blobs


def test_messages_without_data_do_not_come_for_ever(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    import itertools

    cache = cache_of(server)
    blob = put(cache, LARGE)
    empty = messages.classes()["ReadResponse"]()
    monkeypatch.setattr(type(server), "read", lambda *_: itertools.repeat(empty, 1500))
    with pytest.raises(CacheError, match="without data for ever"):
        read_blob(cache, blob, 1 << 21)


@pytest.mark.parametrize("kept", [len(LARGE), len(LARGE) - 1])
def test_all_of_a_blob_has_to_be_kept(kept: int, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = cache_of(server)
    answer = messages.classes()["WriteResponse"](committed_size=kept)
    monkeypatch.setattr(type(server), "write", lambda *_: answer)  # before it was sent anything
    if kept == len(LARGE):
        put(cache, LARGE)
    else:
        with pytest.raises(CacheError, match=f"kept {kept} of {len(LARGE)} bytes"):
            put(cache, LARGE)


def test_a_blob_that_is_there_already_is_sent(server: Server) -> None:
    server.faults = {"Write": ["ALREADY_EXISTS"]}
    put(cache_of(server), LARGE)
    assert server.calls[-1] == "Write"


@pytest.mark.parametrize("change", ["no manifest", "too large", "no digest", "failed"])
def test_a_result_that_is_not_ours_is_an_error(change: str, server: Server) -> None:
    cache = cache_of(server)
    cache.put_manifest(b'{"a":1}')
    for result in server.results.values():
        (file,) = result.output_files
        if change == "no manifest":
            file.path = "other"
        elif change == "too large":
            file.digest.size_bytes = 1 << 40
        elif change == "no digest":
            file.digest.hash = "../../etc/passwd"
        else:
            result.exit_code = 1
    with pytest.raises(CacheError, match="the action's result"):
        cache.manifest()


def test_sizes_and_digests_that_cannot_be_are_refused(server: Server) -> None:
    cache = cache_of(server)
    for blob in (blob_of(b"")._replace(size=1 << 70), blob_of(b"")._replace(digest="sha512:" + "0" * 128)):
        for call in (cache.has, cache.open, functools.partial(cache.put, source=io.BytesIO)):
            with pytest.raises(CacheError):
                call(blob)


# What is evicted


class Parts(NamedTuple):
    manifest: str
    config: str
    records: str
    layer: str


def _sent(cache: ReapiCache) -> Parts:
    """Send a cache with a layer; the digits of its blobs."""
    layer = blob_of(LARGE)
    send(cache, Content([], [], (), [layer]), lambda _: lambda: io.BytesIO(LARGE))
    data = cache.manifest()
    assert data is not None
    manifest = artifact.read_manifest(data, "cache")
    records = next(one for one in manifest.layers if one.media_type == artifact.RECORDS)
    parts = (blob_of(data), manifest.config, records, layer)
    return Parts(*(one.digest[7:] for one in parts))


@pytest.mark.parametrize("complete", [True, False])
def test_what_is_evicted_is_missed(complete: bool, server: Server) -> None:
    server.complete = complete
    cache = cache_of(server)
    parts = _sent(cache)
    kept = dict(server.blobs)
    for gone in (parts.manifest, parts.config, parts.records):
        server.blobs = {name: data for name, data in kept.items() if name != gone}
        assert cache.manifest() is None
    # Without a layer, the others can be had.
    server.blobs = {name: data for name, data in kept.items() if name != parts.layer}
    assert cache.manifest() is not None
    with pytest.raises(CacheError, match=r"not there \(any more\)"):
        cache.open(blob_of(LARGE))
    assert not cache.has(blob_of(LARGE))


def test_results_name_all_blobs_and_reading_counts_as_use(server: Server) -> None:
    parts = _sent(cache_of(server))
    named = sorted(sorted(one.digest.hash for one in result.output_files) for result in server.results.values())
    head = sorted((parts.manifest, parts.config, parts.records))
    assert named == sorted([head, sorted((*head, parts.layer))])
    server.calls.clear()
    cache_of(server).manifest()
    assert server.calls == ["GetCapabilities", "GetActionResult", "BatchReadBlobs", "FindMissingBlobs"]


def test_several_names_are_all_written_and_the_first_that_is_there_is_read(server: Server) -> None:
    cache_of(server, ",name=a;b").put_manifest(b'{"both":1}')
    cache_of(server, ",name=b").put_manifest(b'{"b":1}')
    assert cache_of(server, ",name=missing;b;a").manifest() == b'{"b":1}'
    assert cache_of(server, ",name=a").manifest() == b'{"both":1}'


# Servers that refuse


def test_a_cache_that_takes_no_updates_can_be_read(server: Server) -> None:
    parts = _sent(cache_of(server))
    server.writable = False
    cache = cache_of(server)
    for call in (
        lambda: cache.has(blob_of(b"1")),
        lambda: put(cache, b"1"),
        lambda: cache.put_manifest(b"{}"),
    ):
        with pytest.raises(ReadOnlyCache):
            call()
    assert cache.manifest() is not None
    assert read_blob(cache, blob_of(LARGE), 1 << 21) == LARGE
    assert parts.layer in server.blobs


@pytest.mark.parametrize(("code", "hint"), [("UNAUTHENTICATED", "token="), ("PERMISSION_DENIED", "ignore-error")])
def test_refusals_are_said_once(code: str, hint: str, server: Server) -> None:
    server.faults = {name: [code] * 5 for name in ("BatchUpdateBlobs", "UpdateActionResult", "Write")}
    cache = cache_of(server)
    for data in (b"1", LARGE):
        with pytest.raises(CacheError, match=code) as caught:
            put(cache, data)
        assert hint in str(caught.value)
    server.faults["BatchUpdateBlobs"] = []
    with pytest.raises(CacheError, match=f"UpdateActionResult: .* answered {code}"):
        cache.put_manifest(b"{}")
    assert {len(left) for left in server.faults.values()} == {0, 4}


def test_credentials_come_from_the_environment_and_are_never_shown(server: Server) -> None:
    server.secret = ("x-buildbuddy-api-key", "sesame")
    more = ",header.x-buildbuddy-api-key=KEY"
    assert cache_of(server, more, {"KEY": " sesame\n"}).manifest() is None
    cache = cache_of(server, more, {"KEY": "wrong-sesame"})
    with pytest.raises(CacheError, match="UNAUTHENTICATED") as caught:
        cache.manifest()
    for shown in (str(caught.value), cache.location, cache.name, str(parse_to(server.spec + more))):
        assert "sesame" not in shown
    # Where the store says that a blob is, another process can open it.
    again = ReapiCache(parse_from(cache.location), {"KEY": "sesame"})
    assert again.manifest() is None
    server.secret = ("authorization", "Bearer t0ken")
    assert cache_of(server, ",token=T", {"T": "t0ken"}).manifest() is None
    said = messages.classes()["RequestMetadata"].FromString(
        server.headers[-1]["build.bazel.remote.execution.v2.requestmetadata-bin"]
    )
    assert said.tool_details.tool_name == "pybuild"


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"digest_functions": (9,)}, "SHA-256"),
        ({"versions": (3, 3)}, "versions 3 to 3"),
        ({"faults": {"GetCapabilities": ["UNIMPLEMENTED"]}}, "is that a server"),
        ({"faults": {"GetCapabilities": ["DEADLINE_EXCEEDED"] * 2}}, "did not answer in time"),
        ({"instance": "other"}, "is the instance right"),
    ],
)
def test_a_server_that_cannot_keep_a_cache_is_told(settings: dict[str, Any], complaint: str) -> None:
    with reapi_server.serve(**settings) as server:
        server.instance = ""
        cache = cache_of(server)
        server.instance = settings.get("instance", "")
        with pytest.raises(CacheError) as caught:
            cache.manifest()
        assert complaint in str(caught.value)


def test_a_server_that_is_not_there_is_told() -> None:
    with reapi_server.serve() as server:
        pass
    with pytest.raises(CacheError, match="cannot be reached") as caught:
        cache_of(server).manifest()
    assert "tried twice" in str(caught.value)
    assert f"127.0.0.1:{server.port}" in str(caught.value)


def test_a_server_of_something_else_is_told(tmp_path: Path) -> None:
    from tests.web_server import serve

    with serve(tmp_path) as web:
        port = web.url.rpartition(":")[2]
        with pytest.raises(CacheError, match=f"127.0.0.1:{port}"):
            ReapiCache(parse_to(f"type=reapi,endpoint=grpc://127.0.0.1:{port}"), {}, policy=QUICK).manifest()


# Waiting that ends


@pytest.mark.parametrize("method", ["manifest", "read", "write"])
def test_nobody_waits_for_a_server_when_the_build_has_ended(method: str, server: Server) -> None:
    blob = put(cache_of(server), LARGE)
    looks = 0

    def cancelled() -> bool:  # when somebody has waited for a while
        nonlocal looks
        looks += server.hold is not None and server.asked.is_set()
        return looks > 6

    cache = cache_of(server, waiter=Waiter(cancelled=cancelled))
    assert cache.has(blob)
    server.asked.clear()
    server.hold = threading.Event()
    calls: dict[str, Callable[[], object]] = {
        "manifest": cache.manifest,
        "read": lambda: read_blob(cache, blob, 1 << 21),
        "write": lambda: put(cache, LARGE + b"1"),
    }
    with pytest.raises(Interrupted):
        calls[method]()
    assert not server.overdue


def test_nobody_waits_for_a_connection_when_the_build_has_ended() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        taken: list[socket.socket] = []
        thread = threading.Thread(target=lambda: taken.append(silent.accept()[0]))
        thread.start()
        spec = parse_to(f"type=reapi,endpoint=grpc://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(Interrupted):
            ReapiCache(spec, {}, Waiter(cancelled=lambda: bool(taken))).manifest()
        thread.join()
        taken[0].close()


def test_a_server_elsewhere_is_reached_through_the_proxy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(60)
        asked: list[bytes] = []

        def answer() -> None:
            connection, _ = proxy.accept()
            with connection:
                asked.append(connection.recv(4096))

        thread = threading.Thread(target=answer)
        thread.start()
        environ = {"http_proxy": f"http://me:sesame@127.0.0.1:{proxy.getsockname()[1]}"}
        spec = parse_to("type=reapi,endpoint=grpc://cache.example:8980")
        with pytest.raises(Interrupted):
            ReapiCache(spec, environ, Waiter(cancelled=lambda: bool(asked))).manifest()
        thread.join()
    assert asked[0].startswith(b"CONNECT cache.example:8980 ")
    environ = {"all_proxy": "https://me:sesame@proxy.example:1"}
    with pytest.raises(CacheError, match=r"https://proxy.example:1 cannot be used") as caught:
        ReapiCache(spec, environ).manifest()
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("details", "said", "attempts"),
    [
        ("errors resolving h:1: [field:hostname lookup error:Domain name not found]", "h:1 cannot be reached", 2),
        ("DNS resolution failed for h:1: C-ares status is not ARES_SUCCESS", "h:1 cannot be reached", 2),
        ("failed to connect to all addresses; last error: UNKNOWN: ipv4:1.2.3.4:1: Connection refused",
         "h:1 cannot be reached: Connection refused", 2),
        ("Socket closed", "h:1 broke off: Socket closed", 0),
    ],
)  # fmt: skip
def test_faults_of_connections_are_told_apart(details: str, said: str, attempts: int) -> None:
    failure = faults.of_status("UNAVAILABLE", details, "what", "h:1")
    assert isinstance(failure, RetryableError)
    assert failure.text.startswith(said)
    assert failure.attempts == attempts


# TLS


class Certificates(NamedTuple):
    """Files: of a CA, and what it signed for a server and for a client."""

    ca: Path
    server: tuple[Path, Path]
    client: tuple[Path, Path]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    folder = tmp_path_factory.mktemp("tls")
    now = dt.datetime.now(dt.UTC)
    made: dict[str, Any] = {}

    def make(name: str, signer: str, names: list[x509.GeneralName]) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(made[signer][1] if signer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=not signer, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        made[name] = key, subject
        signed = builder.sign(made[signer][0] if signer else key, hashes.SHA256())
        paths = folder / f"{name}.pem", folder / f"{name}.key"
        paths[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        form = serialization.PrivateFormat.PKCS8
        paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
        return paths

    ca, _ = make("ca", "", [])
    names = [x509.DNSName("cache.example"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    return Certificates(ca, make("server", "ca", names), make("client", "ca", [x509.DNSName("client")]))


def test_tls_and_certificates_of_clients(certificates: Certificates) -> None:
    files = certificates
    key, chain, ca = files.server[1].read_bytes(), files.server[0].read_bytes(), files.ca.read_bytes()
    with reapi_server.serve((key, chain, None)) as server:
        assert cache_of(server, f",cacert={files.ca}").manifest() is None
        assert cache_of(server, f",cacert={files.ca},servername=cache.example").manifest() is None
        assert cache_of(server, "", {"SSL_CERT_FILE": str(files.ca)}).manifest() is None
        folder = files.ca.parent / "hashed"
        (folder / "below").mkdir(parents=True)
        (folder / "01234567.0").symlink_to(files.ca)
        assert cache_of(server, "", {"SSL_CERT_DIR": str(folder)}).manifest() is None
        for more in ("", f",cacert={files.ca},servername=other.example"):
            with pytest.raises(CacheError, match="is not to be trusted") as caught:
                cache_of(server, more).manifest()
            assert "cacert=FILE" in str(caught.value)
        server.scheme = "grpc"
        with pytest.raises(CacheError, match="grpcs://"):
            cache_of(server).manifest()
    with reapi_server.serve((key, chain, ca)) as server:
        pair = f",cert={files.client[0]},key={files.client[1]}"
        assert cache_of(server, f",cacert={files.ca}{pair}").manifest() is None
        with pytest.raises(CacheError):
            cache_of(server, f",cacert={files.ca}").manifest()
    with reapi_server.serve() as server:
        server.scheme = "grpcs"
        with pytest.raises(CacheError, match="TLS"):
            cache_of(server).manifest()


# What is said


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "add endpoint="),
        ("endpoint=cache:8980", "grpc://HOST:PORT"),
        ("endpoint=grpc://cache", "grpc://HOST:PORT"),
        ("endpoint=grpc://cache:99999", "grpc://HOST:PORT"),
        ("endpoint=grpc://cache:1/main", "grpc://HOST:PORT"),
        ("endpoint=https://cache:1", "grpcs://HOST:PORT"),
        ("endpoint=grpc://me:sesame@cache:1", "holds credentials"),
        ("endpoint=grpc://cache:1,cacert=ca.pem", "endpoint=grpcs://cache:1"),
        ("endpoint=grpcs://cache:1,cacert=missing.pem", "missing.pem does not exist"),
        ("endpoint=grpcs://cache:1,cert=a.pem", "needs its key"),
        ("endpoint=grpcs://cache:1,cert=a.pem,key=b.pem", "a.pem does not exist"),
        ("endpoint=grpc://cache:1,name=;", "name= is empty"),
        ("endpoint=grpc://cache:1,header.x-key=MISSING", "that variable is not set"),
        ("endpoint=grpc://cache:1,header.x-key=sesame-open!", "name of an environment variable"),
        ("endpoint=grpc://cache:1,header.=A", "cannot be sent|not the name of a header"),
        ("endpoint=grpc://cache:1,header.grpc-timeout=A", "not the name of a header"),
        ("endpoint=grpc://cache:1,header.x=TWO_LINES", "cannot be sent as a header"),
        ("endpoint=grpc://cache:1,token=A,header.authorization=A", "given too"),
        ("endpoint=grpc://cache:1,headers.x=A", "no attribute `headers.x`"),
        ("endpoint=grpc://cache:1,instances=a", "did you mean instance"),
    ],
)
def test_what_is_wrong_is_named(text: str, complaint: str) -> None:
    import re

    environ = {"A": "a", "TWO_LINES": "a\nb"}
    with pytest.raises(UsageError) as caught:
        ReapiCache(parse_to(f"type=reapi,{text}" if text else "type=reapi"), environ)
    assert re.search(complaint, str(caught.value))
    assert "sesame" not in str(caught.value)


def test_an_encrypted_connection_has_a_usual_port() -> None:
    assert "cache.example:443" in ReapiCache(parse_to("type=reapi,endpoint=grpcs://cache.example"), {}).name


@pytest.mark.parametrize("module", ["grpc", "google.protobuf"])
def test_packages_that_are_missing_are_named(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=r"buildah_py\[reapi\]") as caught:
        ReapiCache(parse_to("type=reapi,endpoint=grpc://cache:1"), {})
    assert ("grpcio" if module == "grpc" else "protobuf") in str(caught.value)


def test_places_say_where_they_are_even_with_commas(server: Server) -> None:
    cache = cache_of(server, ',"name=a,b ""c"""')
    cache.put_manifest(json.dumps({"a": 1}).encode())
    assert ReapiCache(parse_from(cache.location), {}).manifest() == b'{"a": 1}'
