from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import pytest

from buildah_py.errors import CacheError, Interrupted
from buildah_py.http.retry import Waiter
from buildah_py.image import descriptor
from buildah_py.sharing import gha, s3
from buildah_py.sharing.backend import Backend, read_blob
from buildah_py.sharing.gha import ActionsCache
from buildah_py.sharing.local import LocalCache
from buildah_py.sharing.reapi.cache import ReapiCache
from buildah_py.sharing.s3 import S3Cache
from buildah_py.sharing.spec import parse_to
from tests import actions_server, reapi_server, s3_server
from tests.web_server import Holding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.actions_server import Actions
    from tests.reapi_server import BuildGrid, Server
    from tests.s3_server import Bucket


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with s3_server.serve() as served:
        yield served


@pytest.fixture
def actions() -> Iterator[Actions]:
    with actions_server.serve() as served:
        yield served


@pytest.fixture
def reapi() -> Iterator[Server]:
    with reapi_server.serve(instance="main/a") as served:
        yield served


@pytest.fixture(scope="module")
def buildgrid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BuildGrid]:
    if reapi_server.BUILDGRID is None:
        pytest.skip(reapi_server.WITHOUT)
    with reapi_server.buildgrid(tmp_path_factory.mktemp("buildgrid")) as served:
        yield served


@pytest.fixture(params=["local", "s3", "gha", "reapi", "buildgrid"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Backend]:
    """Give the cache of a name, in one of the places."""
    if request.param == "local":
        return lambda name: LocalCache(str(tmp_path / "cache"), name)
    if request.param == "s3":
        bucket: Bucket = request.getfixturevalue("bucket")
        prefix = f"{request.node.name}/ü &=+"
        return lambda name: S3Cache(parse_to(f'{bucket.spec},name={name},"prefix={prefix}/"'), bucket.environ())
    if request.param in ("reapi", "buildgrid"):
        server: Server | BuildGrid = request.getfixturevalue(request.param)
        return lambda name: ReapiCache(parse_to(f"{server.spec},name={name}"), {})
    actions: Actions = request.getfixturevalue("actions")
    return lambda name: ActionsCache(parse_to(f"type=gha,scope={name}"), actions.environ())


def test_what_is_put_is_there_for_others(make: Callable[[str], Backend]) -> None:
    backend = make("main")
    data = os.urandom(300_000)
    blob = descriptor.of("application/octet-stream", data)
    assert backend.manifest() is None
    assert not backend.has(blob)
    backend.put(blob, lambda: io.BytesIO(data))
    backend.put(blob, lambda: io.BytesIO(data))
    backend.put_manifest(b'{"first":1}')
    backend.put_manifest(b'{"second":2}')
    again = make("main")
    counted: list[int] = []
    assert again.has(blob)
    assert read_blob(again, blob, 1 << 20, counted.append) == data
    assert sum(counted) == len(data)
    assert again.manifest() == b'{"second":2}'
    for other in ("main2", "mai", "main-"):
        assert make(other).manifest() is None


@pytest.mark.parametrize("lie", [b"what it shoult be", b"what it should be, and more", b"what"])
def test_only_what_a_digest_says_is_read(lie: bytes, tmp_path: Path) -> None:
    true = descriptor.of("application/octet-stream", b"what it should be")
    backend = LocalCache(str(tmp_path))
    backend.put(true, lambda: io.BytesIO(lie))
    with pytest.raises(CacheError, match=true.digest):
        read_blob(backend, true, 1 << 20)


def test_what_is_missing_or_too_large_is_an_error(make: Callable[[str], Backend]) -> None:
    missing = descriptor.of("application/octet-stream", b"never sent")
    with pytest.raises(CacheError):
        read_blob(make("main"), missing, 1 << 20)
    with pytest.raises(CacheError, match="refused"):
        read_blob(make("main"), missing._replace(size=1 << 30), 1 << 20)


def test_local_sweeps_what_only_the_older_cache_had(tmp_path: Path) -> None:
    def blob_of(data: bytes) -> descriptor.Descriptor:
        blob = descriptor.of("application/octet-stream", data)
        for tag in ("a", "b"):
            LocalCache(str(tmp_path), tag).put(blob, lambda: io.BytesIO(data))
        return blob

    import json

    old, shared, new = blob_of(b"old"), blob_of(b"shared"), blob_of(b"new")

    def manifest(*blobs: descriptor.Descriptor) -> bytes:
        return json.dumps({"config": blobs[0].to_dict(), "layers": [one.to_dict() for one in blobs]}).encode()

    LocalCache(str(tmp_path), "a").put_manifest(manifest(old, shared))
    LocalCache(str(tmp_path), "b").put_manifest(manifest(shared))
    LocalCache(str(tmp_path), "a").put_manifest(manifest(new))
    local = LocalCache(str(tmp_path), "a")
    assert [local.has(one) for one in (old, shared, new)] == [False, True, True]
    assert LocalCache(str(tmp_path), "b").manifest() == manifest(shared)


def test_s3_sends_large_blobs_in_parts(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "_SINGLE", 1000)
    monkeypatch.setattr(s3, "_PART", 5 << 20)
    data = os.urandom((5 << 20) + 1234)
    blob = descriptor.of("application/octet-stream", data)
    place = parse_to(f"{bucket.spec},prefix=parts/")
    S3Cache(place, bucket.environ()).put(blob, lambda: io.BytesIO(data))
    assert read_blob(S3Cache(place, bucket.environ()), blob, 1 << 23) == data


def test_gha_sends_large_blobs_in_blocks(actions: Actions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gha, "_SINGLE", 1000)
    monkeypatch.setattr(gha, "_PART", 700)
    data = os.urandom(3000)
    blob = descriptor.of("application/octet-stream", data)
    backend = ActionsCache(parse_to("type=gha"), actions.environ())
    backend.put(blob, lambda: io.BytesIO(data))
    assert len(actions.entries[0].blocks) == 5
    assert read_blob(backend, blob, 1 << 20) == data


def test_services_that_stumble_are_asked_again(actions: Actions) -> None:
    backend = ActionsCache(parse_to("type=gha"), actions.environ())
    data = b"x" * 100_000
    blob = descriptor.of("application/octet-stream", data)
    actions.faults = 2
    backend.put(blob, lambda: io.BytesIO(data))
    actions.faults = 2
    assert read_blob(backend, blob, 1 << 20) == data


@pytest.mark.parametrize("kind", ["s3", "gha"])
def test_nobody_waits_for_a_service_when_the_build_has_ended(kind: str) -> None:
    with Holding() as holding:
        waiter = Waiter(cancelled=holding.asked.is_set)
        backend: Backend
        if kind == "s3":
            backend = S3Cache(parse_to(f"type=s3,endpoint_url={holding.url},bucket=b"), {}, waiter)
        else:
            environ = {"ACTIONS_RESULTS_URL": holding.url, "ACTIONS_RUNTIME_TOKEN": "t"}
            backend = ActionsCache(parse_to("type=gha"), environ, waiter)
        with pytest.raises(Interrupted):
            backend.manifest()
        assert holding.connections == 1


def test_refusals_name_the_place_and_no_secret(actions: Actions, bucket: Bucket) -> None:
    environ = actions.environ() | {"ACTIONS_RUNTIME_TOKEN": "wrong-token"}
    with pytest.raises(CacheError) as caught:
        ActionsCache(parse_to("type=gha"), environ).manifest()
    assert "401" in str(caught.value)
    assert "wrong-token" not in str(caught.value)
    place = parse_to("type=s3,endpoint_url=http://127.0.0.1:9,bucket=b,access_key_id=AK,secret_access_key=sesame")
    assert "sesame" not in str(place)
    backend = S3Cache(place, {})
    assert "sesame" not in backend.location
    with pytest.raises(CacheError, match="b/manifests/pybuild") as caught:
        backend.manifest()
    assert "sesame" not in str(caught.value)
