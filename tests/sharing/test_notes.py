"""Notes in the places that keep them: one of several writers has its way, and who cannot promise that says so."""

from __future__ import annotations

import http.server
import io
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from buildah_py.errors import CacheAway, CacheError
from buildah_py.image import descriptor, platform
from buildah_py.registry import Registry, RegistryOptions
from buildah_py.sharing import registry as in_registry
from buildah_py.sharing.backend import ABSENT
from buildah_py.sharing.gha import ActionsCache
from buildah_py.sharing.local import LocalCache
from buildah_py.sharing.registry import RegistryCache
from buildah_py.sharing.s3 import S3Cache
from buildah_py.sharing.spec import parse_share
from tests import actions_server, s3_server
from tests.registry_server import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from buildah_py.sharing.backend import Backend
    from tests.registry_server import Served

EXACT = ["local", "s3", "gha"]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """Give a registry."""
    with serving(tmp_path / "registry") as registry:
        yield registry


@pytest.fixture
def make(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], Backend]]:
    """Give one of the places, as often as it is asked for: by another builder each time."""
    kind = request.param
    if kind == "local":
        yield lambda: LocalCache(str(tmp_path / "cache"))
    elif kind == "s3":
        with s3_server.serve() as bucket:
            yield lambda: S3Cache(parse_share(f"{bucket.spec},prefix=x y/"), bucket.environ())
    elif kind == "gha":
        with actions_server.serve() as actions:
            yield lambda: ActionsCache(parse_share("type=gha"), actions.environ())
    else:
        registry: Served = request.getfixturevalue("served")
        monkeypatch.setattr(in_registry, "_SETTLED", 0.05)
        ref, options = f"{registry.host}/app:cache", RegistryOptions.from_environment({})
        yield lambda: RegistryCache(ref, Registry(options), platform.host())


@pytest.mark.parametrize("make", [*EXACT, "registry"], indirect=True)
def test_who_writes_says_what_is_replaced(make: Callable[[], Backend]) -> None:
    anna, bert = make(), make()
    assert anna.unconditional() == ""
    assert anna.read_note("step-1") is None
    first = anna.write_note("step-1", b"anna", over=ABSENT)
    assert first
    assert bert.write_note("step-1", b"bert", over=ABSENT) == ABSENT
    seen = bert.read_note("step-1")
    assert seen is not None
    assert seen == (b"anna", first)
    second = bert.write_note("step-1", b"bert", over=first)
    assert second not in ("", first)
    assert anna.write_note("step-1", b"anna again", over=first) == ABSENT
    if anna.kind != "gha":  # whose entries may be gone, and are numbered all the same
        assert anna.write_note("step-2", b"x", over=first) == ABSENT, "there is nothing to replace"
    assert anna.read_note("step-1") == (b"bert", second)
    third = anna.write_note("step-1", b"whatever was there", over=None)
    assert bert.read_note("step-1") == (b"whatever was there", third)
    assert anna.manifest() is None, "notes are not the cache"


def _write(place: Backend, who: int, name: str, barrier: threading.Barrier, won: list[int]) -> None:
    barrier.wait()
    if place.write_note(name, b"%d" % who, over=ABSENT):
        won.append(who)


@pytest.mark.parametrize("make", EXACT, indirect=True)
def test_one_of_many_has_its_way(make: Callable[[], Backend]) -> None:
    places = [make() for _ in range(6)]
    barrier = threading.Barrier(len(places))
    for number in range(5):
        name, won = f"step-{number}", list[int]()
        threads = [
            threading.Thread(target=_write, args=(one, who, name, barrier, won)) for who, one in enumerate(places)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        note = places[0].read_note(name)
        assert note is not None
        assert note.data == b"%d" % won[0]


@pytest.mark.parametrize("make", ["registry"], indirect=True)
def test_a_registry_keeps_what_a_note_names(make: Callable[[], Backend], served: Served) -> None:
    data = b"a layer"
    blob = descriptor.of("application/vnd.oci.image.layer.v1.tar", data)
    place = make()
    place.put(blob, lambda: io.BytesIO(data))
    place.write_note("step-1", b"text", over=None, blobs=[blob])
    status, _, manifest = served.ask(
        "GET", "/v2/app/manifests/step-1", Accept="application/vnd.oci.image.manifest.v1+json"
    )
    assert status == 200
    assert blob.digest.encode() in manifest


def test_a_server_of_the_remote_execution_api_says_that_it_has_no_conditions() -> None:
    pytest.importorskip("grpc")
    from buildah_py.sharing.reapi.cache import ReapiCache
    from tests import reapi_server

    with reapi_server.serve() as served:
        anna, bert = (ReapiCache(parse_share(served.spec), {}) for _ in range(2))
        assert "no conditional writes" in anna.unconditional()
        assert anna.read_note("step-1") is None
        blob = descriptor.of("application/vnd.oci.image.layer.v1.tar", b"a layer")
        anna.put(blob, lambda: io.BytesIO(b"a layer"))
        version = anna.write_note("step-1", b"text", over=None, blobs=[blob])
        assert bert.read_note("step-1") == (b"text", version)
        assert bert.write_note("step-1", b"another", over=None) != version
        assert anna.read_note("step-2") is None
        assert anna.manifest() is None


def test_a_directory_with_notes_is_not_swept(tmp_path: Path) -> None:
    blobs = [descriptor.of("application/octet-stream", data) for data in (b"old", b"new")]
    place = LocalCache(str(tmp_path))
    for blob, data in zip(blobs, (b"old", b"new"), strict=True):
        place.put(blob, lambda data=data: io.BytesIO(data))  # type: ignore[misc]
    place.write_note("step-1", b"names the old one", over=None)
    for blob in blobs:
        place.put_manifest(f'{{"config": {{"digest": "{blob.digest}"}}, "layers": []}}'.encode())
    assert place.has(blobs[0])


@contextmanager
def _store(status: int) -> Iterator[str]:
    """Serve objects; a PUT on a condition that does not hold is answered with a status, 200 for not heeding it."""
    found: dict[str, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["If-None-Match"] and status == 501:
                self._answer(501, b"<Code>NotImplemented</Code>")
            else:
                found[self.path] = data
                self._answer(200, b"")

        def do_DELETE(self) -> None:
            found.pop(self.path, None)
            self._answer(204, b"")

        def do_GET(self) -> None:
            self._answer(200 if self.path in found else 404, found.get(self.path, b""))

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("ETag", '"x"')
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
            assert not found, "what was tried is removed"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "why"), [(200, "does not heed If-None-Match"), (501, "has no conditional writes: .* 501")]
)
def test_an_endpoint_that_knows_no_conditions_is_found_out(status: int, why: str) -> None:
    import re

    with _store(status) as url:
        place = S3Cache(parse_share(f"type=s3,endpoint_url={url},bucket=b"), {})
        assert re.search(why, place.unconditional())


def test_a_file_system_without_locks_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    place = LocalCache(str(tmp_path))
    monkeypatch.setattr(fcntl, "flock", refuse)
    assert place.unconditional() == "its file system has no locks: Operation not supported"


def test_what_may_pass_is_told_from_what_will_not(tmp_path: Path) -> None:
    with actions_server.serve() as actions:
        actions.faults = 100
        with pytest.raises(CacheAway):
            ActionsCache(parse_share("type=gha"), actions.environ()).read_note("step-1")
        actions.faults = 0
        wrong = {**actions.environ(), "ACTIONS_RUNTIME_TOKEN": "x"}
        with pytest.raises(CacheError) as caught:
            ActionsCache(parse_share("type=gha"), wrong).read_note("step-1")
        assert not isinstance(caught.value, CacheAway)
