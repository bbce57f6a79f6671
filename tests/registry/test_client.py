from __future__ import annotations

import gzip
import io
import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from buildah_py.errors import RegistryError
from buildah_py.image import descriptor, media_types
from buildah_py.image.index import Index
from buildah_py.image.reference import parse
from buildah_py.registry import Credentials, Registry, RegistryOptions
from tests.registry.conftest import QUICK
from tests.registry.images import Image, image, noise, pull, push
from tests.registry_server import PASSWORD, USER, FaultProxy, Request, Served, digest_of, docker_registry, serving

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

__all__ = ["docker_registry"]


@pytest.mark.parametrize("kind", ["plain", "tls", "basic", "tokens", "tls-basic"])
def test_what_is_pushed_is_pulled(kind: str, tmp_path: Path, environ: dict[str, str]) -> None:
    made = image(70_000, 10)
    credentials = None if kind in ("plain", "tls") else Credentials(USER, PASSWORD)
    with serving(tmp_path / "r", tls="tls" in kind, basic="basic" in kind, tokens=kind == "tokens") as served:
        options = RegistryOptions.from_environment(
            environ,
            policy=QUICK,
            credentials=credentials,
            tls_verify=True if "tls" in kind else None,
            ca_files=(served.ca,) if served.ca else (),
        )
        with Registry(options) as registry:
            reference = parse(f"{served.host}/me/app:v1")
            assert push(registry, reference, made) == ["uploaded"] * 3
            assert pull(registry, reference) == made
            assert push(registry, reference.with_tag("v2"), made) == ["exists"] * 3
            assert registry.tags(reference) == ["v1", "v2"]
            manifest = made.manifest.descriptor()
            assert registry.resolve(reference) == manifest
            assert registry.manifest(reference.with_digest(manifest.digest)).descriptor == manifest
            assert registry.has_blob(reference, made.manifest.layers[0].digest)
            assert not registry.has_blob(reference, digest_of(b"other"))


def test_blobs_are_mounted_from_other_repositories(docker_registry: Served, environ: dict[str, str]) -> None:
    made = image(1000)
    with Registry(RegistryOptions.from_environment(environ, policy=QUICK)) as registry:
        push(registry, parse(f"{docker_registry.host}/base:1"), made)
        names = ["docker.io/library/base", f"{docker_registry.host}/nothing", f"{docker_registry.host}/base"]
        app = parse(f"{docker_registry.host}/app:1")
        layer = made.manifest.layers[0]
        assert registry.push_blob(app, layer, io.BytesIO, names) == "mounted"
        with registry.open_blob(app, layer) as stream:
            assert stream.read() == made.layers[0]


def test_an_index_is_pushed_and_pulled(docker_registry: Served, environ: dict[str, str]) -> None:
    with Registry(RegistryOptions.from_environment(environ, policy=QUICK)) as registry:
        reference = parse(f"{docker_registry.host}/app")
        made = image(10)
        push(registry, reference._replace(digest=made.manifest.descriptor().digest), made)
        index = Index((made.manifest.descriptor(),))
        digest = registry.push_manifest(reference.with_default_tag(), index.to_bytes(), media_types.OCI_INDEX)
        got = registry.manifest(reference)
        assert got == (descriptor.of(media_types.OCI_INDEX, index.to_bytes()), index.to_bytes())
        assert got.descriptor.digest == digest


def test_what_is_not_there_is_named(docker_registry: Served, environ: dict[str, str]) -> None:
    with Registry(RegistryOptions.from_environment(environ, policy=QUICK)) as registry:
        reference = parse(f"{docker_registry.host}/app:none")
        with pytest.raises(RegistryError, match="404 Not Found: manifest unknown") as raised:
            registry.manifest(reference)
        assert raised.value.status == 404
        assert raised.value.message.startswith(f"{reference}: {docker_registry.host} answered")
        with pytest.raises(RegistryError, match="404") as raised:
            registry.open_blob(reference, descriptor.of("", b"none"))
        assert str(reference) in raised.value.message


def test_many_threads_share_a_registry(tmp_path: Path, environ: dict[str, str]) -> None:
    with serving(tmp_path / "r", tokens=True) as served:
        options = RegistryOptions.from_environment(environ, policy=QUICK, credentials=Credentials(USER, PASSWORD))
        with Registry(options) as registry, ThreadPoolExecutor(8) as pool:
            made = [image(30_000, 10, seed=10 * number) for number in range(8)]
            references = [parse(f"{served.host}/app:{number}") for number in range(8)]
            list(pool.map(lambda pair: push(registry, *pair), zip(references, made, strict=True)))
            assert list(pool.map(lambda reference: pull(registry, reference), references)) == made
        assert served.tokens is not None
        assert len(served.tokens.asked) == 2  # to push, to pull


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="needs skopeo")
@pytest.mark.parametrize("kind", ["oci", "v2s2"])
def test_skopeo_reads_ours_and_we_read_skopeos(
    kind: str, docker_registry: Served, environ: dict[str, str], tmp_path: Path
) -> None:
    config: dict[str, Any] = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": []},
    }
    layers = [gzip.compress(noise(5000, seed)) for seed in (1, 2)]
    config["rootfs"] = {"type": "layers", "diff_ids": [digest_of(gzip.decompress(layer)) for layer in layers]}
    made = Image(json.dumps(config).encode(), tuple(layers))
    here = f"docker://{docker_registry.host}"
    with Registry(RegistryOptions.from_environment(environ, policy=QUICK)) as registry:
        push(registry, parse(f"{docker_registry.host}/ours:1"), made)
        skopeo = ["skopeo", "--insecure-policy"]
        copy = [*skopeo, "copy", "--src-tls-verify=false", "--dest-tls-verify=false", f"--format={kind}"]
        subprocess.run([*copy, f"{here}/ours:1", f"{here}/theirs:1"], check=True, capture_output=True, env=environ)
        raw = [*skopeo, "inspect", "--raw", "--tls-verify=false", f"{here}/theirs:1"]
        said = subprocess.run(raw, check=True, capture_output=True, env=environ).stdout
        reference = parse(f"{docker_registry.host}/theirs:1")
        got = registry.manifest(reference)
        assert got.data == said
        assert (got.descriptor.media_type == media_types.DOCKER_MANIFEST) == (kind == "v2s2")
        assert registry.resolve(reference) == got.descriptor
        assert pull(registry, reference).layers == made.layers


def test_tags_come_in_pages(environ: dict[str, str]) -> None:
    def page(request: Request) -> None:
        last = request.path.rpartition("last=")[2] if "last=" in request.path else ""
        tags = [f"{number:02}" for number in range(int(last or 0) + 1, 8)][:3]
        link = f'</v2/app/tags/list?n=3&last={tags[-1]}>; rel="next"' if tags and tags[-1] != "07" else ""
        body = json.dumps({"name": "app", "tags": tags or None}).encode()
        request.reply(200, body, **({"Link": link} if link else {}))

    def round_and_round(request: Request) -> None:
        request.reply(200, b'{"tags":["a"]}', Link='</v2/circle/tags/list>; rel="next"')

    with FaultProxy("127.0.0.1:1") as server:
        server.fault("GET", "^/v2/$", lambda request: request.reply(200), times=-1)
        server.fault("GET", "/app/tags/list", page, times=-1)
        server.fault("GET", "/circle/tags/list", round_and_round, times=-1)
        server.fault("GET", "/none/tags/list", lambda request: request.reply(200, b'{"tags":3}'), times=-1)
        with Registry(RegistryOptions.from_environment(environ, policy=QUICK)) as registry:
            assert registry.tags(parse(f"{server.host}/app")) == [f"0{number}" for number in range(1, 8)]
            assert registry.tags(parse(f"{server.host}/circle")) == ["a"]
            with pytest.raises(RegistryError, match=f"{server.host} gave something that is not a list of tags"):
                registry.tags(parse(f"{server.host}/none"))
