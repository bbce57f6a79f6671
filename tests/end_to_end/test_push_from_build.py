"""`build --push`: what it is told of registries, what it sends of base images elsewhere, names in the store."""

from __future__ import annotations

import base64
import json
import shutil
from dataclasses import replace
from http.client import HTTPSConnection
from ssl import create_default_context
from typing import TYPE_CHECKING, Any

import pytest

from tests.foreign_images import Layout, tar_of
from tests.registry_server import PASSWORD, USER, FaultProxy, Served, docker_registry, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.end_to_end.conftest import Pybuild

__all__ = ["docker_registry"]

AUTHORIZATION = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Served]:
    """Give a registry with TLS that asks for a password."""
    with serving(tmp_path / "guarded", tls=True, basic=True) as served:
        yield served


def manifest(registry: Served, name: str, tag: str) -> dict[str, Any]:
    connection = HTTPSConnection(registry.host, context=create_default_context(cafile=registry.ca))
    accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
    connection.request("GET", f"/v2/{name}/manifests/{tag}", headers={"Authorization": AUTHORIZATION, "Accept": accept})
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    assert answer.status == 200, data
    found: dict[str, Any] = json.loads(data)
    return found


def test_media_types_do_not_depend_on_earlier_pushes(pybuild: Pybuild, docker_registry: Served) -> None:
    context = pybuild.context("FROM scratch\nCOPY a.txt /\n", a_txt="a")
    name = f"{docker_registry.host}/app:1"
    pybuild.build(context, "-o", f"type=image,name={name},push=true,oci-mediatypes=false")
    layout = pybuild.work / "layout"
    pybuild.build(context, "-o", f"type=oci,dest={layout},tar=false")
    (image,) = json.loads((layout / "index.json").read_text())["manifests"]
    assert image["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    pybuild.run("push", name)
    accepted = "application/vnd.oci.image.manifest.v1+json"
    assert docker_registry.ask("GET", "/v2/app/manifests/1", Accept=accepted)[1]["content-type"] == accepted


@pytest.mark.either_user
def test_a_build_pushes_with_what_it_is_told_of_registries(pybuild: Pybuild, guarded: Served) -> None:
    context = pybuild.context("FROM scratch\nCOPY a.txt /\n", a_txt="a")
    name = f"{guarded.host}/me/app:1"
    verified: tuple[object, ...] = ("-t", name, "--push", "--tls-verify=true", "--progress=plain", context)
    assert "certificate" in pybuild.run("build", *verified, status=125).stderr
    certificates = pybuild.work / "certs"
    certificates.mkdir()
    shutil.copy(guarded.ca, certificates / "ca.crt")
    verified = (f"--cert-dir={certificates}", *verified)
    assert "401" in pybuild.run("build", *verified, status=125).stderr
    refused = pybuild.run("build", f"--creds={USER}:wrong", *verified, status=125).stderr
    assert "wrong" not in refused
    pybuild.run("build", f"--creds={USER}:{PASSWORD}", *verified)
    assert len(manifest(guarded, "me/app", "1")["layers"]) == 1
    authfile = pybuild.work / "auth.json"
    authfile.write_text(json.dumps({"auths": {guarded.host: {"auth": AUTHORIZATION.removeprefix("Basic ")}}}))
    pybuild.run("build", f"--authfile={authfile}", "-o", f"type=registry,name={guarded.host}/me/app:2", *verified)
    assert manifest(guarded, "me/app", "2") == manifest(guarded, "me/app", "1")


def test_credentials_of_a_push_are_not_shown_to_the_base_images_registry(
    pybuild: Pybuild, docker_registry: Served, guarded: Served, tmp_path: Path
) -> None:
    layout = Layout(tmp_path / "layout")
    layout.push(docker_registry.host, "base:1", layout.image([layout.layer(tar_of({"one": "1"}))]))
    with FaultProxy(docker_registry) as proxy:
        proxy.fault("", "/v2/", lambda request: request.reply(401, WWW_Authenticate='Basic realm="base"'), times=-1)
        context = pybuild.context(f"FROM {proxy.host}/base:1\nENV A=b\n")
        said = (f"--creds={USER}:{PASSWORD}", context)
        pybuild.run("build", "-o", f"type=registry,name={guarded.host}/app:1", *said, status=125)
        assert proxy.requests
        assert not [request for request in proxy.requests if "authorization" in request.headers]
        pybuild.run("build", *said, status=125)
        assert [request for request in proxy.requests if "authorization" in request.headers]


def test_caches_in_registries_are_reached_likewise(pybuild: Pybuild, guarded: Served, tmp_path: Path) -> None:
    context = pybuild.context("FROM scratch\nCOPY a.txt /\n", a_txt="a")
    said = ("--tls-verify=true", f"--cert-dir={tmp_path}", f"--creds={USER}:{PASSWORD}")
    shutil.copy(guarded.ca, tmp_path / "ca.crt")
    cache = f"type=registry,ref={guarded.host}/me/cache"
    assert "401" in pybuild.run("build", f"--cache-to={cache},mode=max", context, status=125).stderr
    pybuild.run("build", *said, f"--cache-to={cache},mode=max", context)
    other = replace(pybuild, root=tmp_path / "other")
    assert other.build(context, *said, f"--cache-from={cache}").outcomes() == ["HIT"]
    output = f"type=registry,name={guarded.host}/me/app:1"
    other.run("build", *said, f"--cache-from={cache}", "-o", output, "-o", "type=tar,dest=a.tar", context)
    assert len(manifest(guarded, "me/app", "1")["layers"]) == 1


@pytest.mark.parametrize("form", ["", ",compression=zstd,force-compression=true"])
def test_a_base_that_nothing_ran_on_is_pushed_on_without_unpacking(
    pybuild: Pybuild, docker_registry: Served, guarded: Served, tmp_path: Path, form: str
) -> None:
    layout = Layout(tmp_path / "layout")
    layers = [layout.layer(tar_of({"etc/": "755", "etc/one": "1"})), layout.layer(tar_of({"etc/two": "2"}))]
    layout.push(docker_registry.host, "base:1", layout.image(layers))
    with FaultProxy(docker_registry) as proxy:
        context = pybuild.context(f"FROM {proxy.host}/base:1\nENV A=b\n")
        output = f"type=registry,name={guarded.host}/app:1{form}"
        pybuild.run("build", f"--creds={USER}:{PASSWORD}", "-o", output, context)
        assert [len(proxy.asked("GET", layer["digest"])) for layer, _ in layers] == [1, 1]
    sent = [layer["digest"] for layer in manifest(guarded, "app", "1")["layers"]]
    assert (sent == [layer["digest"] for layer, _ in layers]) is not bool(form)
    assert list((pybuild.root / "layers").iterdir()) == []
    assert pybuild.run("fsck").stdout.endswith("clean\n")


def test_an_output_names_the_image_in_the_store(pybuild: Pybuild, docker_registry: Served) -> None:
    context = pybuild.context("FROM scratch\nCOPY a.txt /\n", a_txt="a")
    told = pybuild.run("build", "-q", "-o", 'type=image,"name=one,quay.io/me/two:2"', context).stdout.strip()
    pushed = f"{docker_registry.host}/three:3"
    by_digest = f"{docker_registry.host}/four"
    pybuild.run("build", "-t", "four", "-o", f"type=image,push=true,name={pushed}", context)
    pybuild.run("build", "-o", f"type=image,push=true,push-by-digest=true,name={by_digest}", context)
    for name in ("one", "quay.io/me/two:2", pushed, "four"):
        assert pybuild.run("inspect", "--format={{.Id}}", name).stdout.strip() == told
    pybuild.run("inspect", by_digest, status=125)
    pinned = f"type=image,name=one@sha256:{'0' * 64}"
    assert "pinned to a digest" in pybuild.run("build", "-o", pinned, context, status=2).stderr


def test_a_registry_in_trouble_is_not_one_without_the_image(pybuild: Pybuild, docker_registry: Served) -> None:
    context = pybuild.context("FROM scratch\nCOPY a.txt /\n", a_txt="a")
    with FaultProxy(docker_registry) as proxy:
        pybuild.run("build", "-t", f"{proxy.host}/app:1", "--push", context)
        proxy.fault("HEAD", "/manifests/", lambda request: request.reply(400), times=-1)
        uploads = len(proxy.asked("POST"))
        assert "400" in pybuild.run("push", f"{proxy.host}/app:1", f"{proxy.host}/app:2", status=125).stderr
        assert len(proxy.asked("POST")) == uploads
    with FaultProxy(docker_registry) as proxy:  # what may not be looked at may yet be pushed
        proxy.fault("HEAD", "/manifests/", lambda request: request.reply(403), times=-1)
        image = pybuild.run("images", "-q").stdout.split()[0]
        digest = pybuild.run("push", "-q", image, f"{proxy.host}/app:3").stdout.strip()
    status, headers, _ = docker_registry.ask(
        "HEAD", "/v2/app/manifests/3", Accept="application/vnd.oci.image.manifest.v1+json"
    )
    assert (status, headers["docker-content-digest"]) == (200, digest)
