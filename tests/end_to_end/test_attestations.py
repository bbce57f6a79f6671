"""Attestations of builds, read back by other tools."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import tarfile
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from tests.git_server import git, repo, server
from tests.registry_server import Served, docker_registry
from tests.web_server import Web, web

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Pybuild

__all__ = ["docker_registry", "repo", "server", "web"]
pytestmark = pytest.mark.root
SLSA = "https://slsa.dev/provenance/"
FILE = """
FROM busybox
ARG WHO=nobody
COPY a.txt node_modules/ /node_modules/
RUN --network=none --mount=type=secret,id=tok echo "$WHO" >/who
"""
PACKAGE = '{"name": "left-pad", "version": "1.3.0", "license": "WTFPL"}'


def skopeo(*words: str) -> Any:
    return json.loads(subprocess.run(["skopeo", *words], check=True, capture_output=True, text=True).stdout)


def statements(layout: Path) -> dict[str, list[dict[str, Any]]]:
    """Return what is attested in a layout: statements by the digests of the manifests that they are about."""

    def blob(descriptor: dict[str, Any]) -> Any:
        data = (layout / "blobs/sha256" / descriptor["digest"].partition(":")[2]).read_bytes()
        assert sha256(data).hexdigest() == descriptor["digest"].partition(":")[2]
        assert len(data) == descriptor["size"]
        return json.loads(data)

    (top,) = json.loads((layout / "index.json").read_text())["manifests"]
    found: dict[str, list[dict[str, Any]]] = {}
    index = blob(top)
    images = {one["digest"] for one in index["manifests"] if one["platform"]["os"] != "unknown"}
    for one in index["manifests"]:
        if one["digest"] in images:
            continue
        assert one["platform"] == {"architecture": "unknown", "os": "unknown"}
        assert one["annotations"]["vnd.docker.reference.type"] == "attestation-manifest"
        about = one["annotations"]["vnd.docker.reference.digest"]
        assert about in images
        manifest = blob(one)
        blob(manifest["config"])
        for layer in manifest["layers"]:
            assert layer["mediaType"] == "application/vnd.in-toto+json"
            said = blob(layer)
            assert said["_type"] == "https://in-toto.io/Statement/v0.1"
            assert said["predicateType"] == layer["annotations"]["in-toto.io/predicate-type"]
            assert {subject["digest"]["sha256"] for subject in said["subject"]} == {about.partition(":")[2]}
            found.setdefault(about, []).append(said)
    return found


def context_of(store: Pybuild) -> Path:
    context = store.context(FILE, a_txt="a")
    package = context / "node_modules/left-pad/package.json"
    package.parent.mkdir(parents=True)
    package.write_text(PACKAGE)
    return context


def test_attestations_stand_beside_the_image(busybox: Pybuild) -> None:
    context = context_of(busybox)
    (busybox.work / "tok").write_text("s3cret-value")
    options = ("--build-arg=WHO=me", f"--secret=id=tok,src={busybox.work}/tok", "-o", "type=oci,dest=out,tar=false")
    busybox.build(context, *options, "--provenance=mode=max,reproducible=true,builder-id=urn:me", "--sbom")
    ((about, said),) = statements(busybox.work / "out").items()
    sbom, provenance = said
    assert (sbom["predicateType"], provenance["predicateType"]) == ("https://spdx.dev/Document", f"{SLSA}v1")
    assert provenance["subject"][0]["name"].startswith("pkg:docker/test@latest?platform=linux%2F")
    packages = {one["name"]: one for one in sbom["predicate"]["packages"]}
    assert packages["left-pad"]["licenseDeclared"] == "WTFPL"
    definition, details = provenance["predicate"]["buildDefinition"], provenance["predicate"]["runDetails"]
    request = definition["externalParameters"]["request"]
    assert request["args"]["build-arg:WHO"] == "me"
    assert request["secrets"] == [{"id": "tok"}]
    (base,) = definition["resolvedDependencies"]
    assert base["uri"].startswith("pkg:docker/busybox@latest?platform=")
    steps = definition["internalParameters"]["buildConfig"]["steps"]
    assert [step["operation"]["op"] for step in steps] == ["base", "copy", "run"]
    assert steps[2]["inputs"] == ["step2"]
    layers = json.loads(busybox.run("inspect", "test").stdout)[0]["RootFS"]["Layers"]
    assert [step["layer"] for step in steps[1:]] == layers[-2:]
    metadata = details["metadata"]
    assert metadata["buildkit_hermetic"] is True
    assert metadata["buildkit_reproducible"] is True
    assert metadata["buildkit_completeness"] == {"request": True, "resolvedDependencies": False}
    assert metadata["startedOn"] <= metadata["finishedOn"]
    (source,) = metadata["buildkit_metadata"]["source"]["infos"]
    assert base64.b64decode(source["data"]).decode() == FILE
    assert source["filename"] == "Buildfile"
    assert details["builder"]["id"] == "urn:me"
    assert metadata["invocationId"] in busybox.run("builds", "--format=json").stdout
    assert "s3cret-value" not in json.dumps(said)
    assert str(busybox.work) not in json.dumps(said), "no directory of this machine is told"
    config = skopeo("inspect", "--config", f"oci:{busybox.work}/out:latest")
    assert config["rootfs"]["diff_ids"] == layers
    assert (
        about
        in subprocess.run(
            ["skopeo", "inspect", "--raw", f"oci:{busybox.work}/out:latest"], check=True, capture_output=True, text=True
        ).stdout
    )


def test_min_tells_no_values_and_v0_2_is_the_predicate_of_before(busybox: Pybuild) -> None:
    context = context_of(busybox)
    options = ("--build-arg=WHO=hidden-value", "-o", "type=oci,dest=out,tar=false,oci-artifact=true")
    busybox.build(context, *options, "--provenance=version=v0.2", "--attest", "type=sbom,format=cyclonedx")
    ((_, said),) = statements(busybox.work / "out").items()
    assert [one["predicateType"] for one in said] == ["https://cyclonedx.org/bom", f"{SLSA}v0.2"]
    assert "hidden-value" not in json.dumps(said)
    predicate = said[1]["predicate"]
    assert predicate["invocation"]["configSource"] == {"entryPoint": "Buildfile"}
    assert predicate["metadata"]["completeness"] == {"parameters": False, "environment": True, "materials": False}
    assert "buildConfig" not in predicate
    index = json.loads((busybox.work / "out/index.json").read_text())["manifests"][0]["digest"].partition(":")[2]
    attached = json.loads((busybox.work / "out/blobs/sha256" / index).read_text())["manifests"][1]
    manifest = json.loads((busybox.work / "out/blobs/sha256" / attached["digest"].partition(":")[2]).read_text())
    assert manifest["artifactType"] == "application/vnd.docker.attestation.manifest.v1+json"
    assert manifest["subject"]["digest"] == attached["annotations"]["vnd.docker.reference.digest"]


def test_without_being_asked_nothing_is_attested(busybox: Pybuild, docker_registry: Served) -> None:
    context = context_of(busybox)
    name = f"{docker_registry.host}/plain:1"
    off = ("--provenance=false", "--sbom=false", "--attest=type=provenance,disabled=true")
    digests = set()
    for options in ((), off):
        busybox.run("-t", name, "--push", "--metadata-file=meta.json", *options, context)
        digests.add(json.loads((busybox.work / "meta.json").read_text())["containerimage.digest"])
    raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{name}")
    assert raw["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert len(digests) == 1


def test_a_registry_has_them_and_gives_them_back(busybox: Pybuild, docker_registry: Served) -> None:
    context = context_of(busybox)
    name = f"{docker_registry.host}/attested:1"
    both = "--platform=linux/amd64,linux/arm64"
    flat = busybox.context(
        "FROM scratch\nARG TARGETARCH\nCOPY node_modules/ /node_modules/\nCOPY a.txt /$TARGETARCH\n", "context"
    )
    assert flat == context
    busybox.run("-t", name, "--push", both, "--sbom", "--provenance", "--metadata-file=meta.json", context)
    remote = ["--src-tls-verify=false", f"docker://{name}"]
    subprocess.run(["skopeo", "copy", "-q", "--all", *remote, f"oci:{busybox.work}/copied"], check=True)
    found = statements(busybox.work / "copied")
    assert len(found) == 2
    assert all(len(said) == 2 for said in found.values())
    metadata = json.loads((busybox.work / "meta.json").read_text())
    assert {"buildx.build.provenance/linux/amd64", "buildx.build.provenance/linux/arm64"} <= set(metadata)
    theirs = json.loads(busybox.run("sbom", f"docker://{name}", "--platform=linux/arm64").stdout)
    ours = json.loads(busybox.run("sbom", name, "--platform=linux/arm64").stdout)
    assert theirs == ours
    assert "left-pad" in [one["name"] for one in ours["packages"]]
    missing = busybox.run("sbom", "--format=cyclonedx", f"docker://{name}", status=125).stderr
    assert "no such attestation" in missing
    # What the store keeps goes along where the image goes from there.
    busybox.run("push", name, f"{docker_registry.host}/again:1")
    busybox.run("save", "--format=oci-dir", "-o", "saved", name)
    assert list(statements(busybox.work / "saved").values()) == list(found.values())
    again = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{docker_registry.host}/again:1")
    assert len(again["manifests"]) == 4
    listed = json.loads(busybox.run("manifest", "inspect", name).stdout)
    assert len(listed["manifests"]) == 4


def test_the_packages_of_an_image(busybox: Pybuild) -> None:
    busybox.build(context_of(busybox))
    made = json.loads(busybox.run("sbom", "test").stdout)
    assert made["spdxVersion"] == "SPDX-2.3"
    assert json.loads(busybox.run("sbom", "test").stdout) == made, "the same image has the same list"
    lines = busybox.run("sbom", "--format=table", "test").stdout.splitlines()
    assert lines[1].split() == ["left-pad", "1.3.0", "npm"]
    busybox.run("sbom", "--format=cyclonedx", "-o", "bom.json", "test")
    assert json.loads((busybox.work / "bom.json").read_text())["bomFormat"] == "CycloneDX"
    assert "there is no image" in busybox.run("sbom", "nothing", status=125).stderr


def test_files_have_them_beside_them(busybox: Pybuild) -> None:
    context = context_of(busybox)
    busybox.build(context, "--sbom", "--provenance", "-o", "out", "-o", "type=tar,dest=out.tar,attestation-prefix=x-")
    said = json.loads((busybox.work / "out/provenance.json").read_text())
    subjects = {one["name"]: one["digest"]["sha256"] for one in said["subject"]}
    assert subjects["who"] == sha256((busybox.work / "out/who").read_bytes()).hexdigest()
    assert json.loads((busybox.work / "out/sbom.spdx.json").read_text())["predicate"]["spdxVersion"] == "SPDX-2.3"
    with tarfile.open(busybox.work / "out.tar") as archive:
        assert {"x-provenance.json", "x-sbom.spdx.json", "who"} <= set(archive.getnames())
    both = ("--platform=linux/amd64,linux/arm64", "--provenance=inline-only=true", "--sbom=filename=list.json")
    flat = busybox.context("FROM scratch\nCOPY a.txt /\n", "flat", a_txt="a")
    busybox.build(flat, *both, "-o", "each", "-o", "type=local,dest=one,platform-split=false")
    assert sorted(os.listdir(busybox.work / "each/linux_arm64")) == ["a.txt", "list.json"]
    assert sorted(os.listdir(busybox.work / "one")) == ["a.txt", "list.linux_amd64.json", "list.linux_arm64.json"]
    clash = busybox.context("FROM scratch\nCOPY a.txt /provenance.json\n", "clash", a_txt="a")
    assert "attestation-prefix" in busybox.build(clash, "--provenance", "-o", "clash-out", status=125).shown


def test_materials(busybox: Pybuild, web: Web) -> None:
    (web.files / "file").write_bytes(b"from the web")
    url = web.url.replace("http://", "http://user:passw0rd@")
    context = busybox.context(f"FROM scratch\nADD {url}/file /\nCOPY a.txt /\n", a_txt="a")
    git(context, "init", "-q", "-b", "main")
    git(context, "remote", "add", "origin", "https://user:passw0rd@example.com/x.git")
    git(context, "add", ".")
    git(context, "commit", "-q", "-m", "one")
    busybox.build(context, "--provenance", "--metadata-file=meta.json")
    text = (busybox.work / "meta.json").read_text()
    assert "passw0rd" not in text
    said = json.loads(text)["buildx.build.provenance"]
    assert said["buildDefinition"]["resolvedDependencies"] == [
        {"uri": f"{web.url}/file", "digest": {"sha256": sha256(b"from the web").hexdigest()}}
    ]
    own = git(context, "rev-parse", "HEAD").strip()
    vcs = said["runDetails"]["metadata"]["buildkit_metadata"]["vcs"]
    assert vcs == {"source": "https://example.com/x.git", "revision": own}


def test_a_context_of_a_repository_is_where_the_build_came_from(busybox: Pybuild, server: str, repo: Path) -> None:
    (repo / "Buildfile").write_text("FROM scratch\nCOPY sub/file /\n")
    git(repo, "add", ".")
    git(repo, "commit", "-q", "-m", "three")
    commit = git(repo, "rev-parse", "HEAD")
    busybox.run("-t", "test", "--provenance", "--metadata-file=meta.json", f"{server}/app.git#main")
    said = json.loads((busybox.work / "meta.json").read_text())["buildx.build.provenance"]
    parameters = said["buildDefinition"]["externalParameters"]
    origin = {"path": "Buildfile", "uri": f"{server}/app.git#main", "digest": {"sha1": commit}}
    assert parameters["configSource"] == origin
    assert "locals" not in parameters["request"]
    assert said["runDetails"]["metadata"]["buildkit_completeness"]["resolvedDependencies"] is True


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--provenance=mode=most", "there is no mode `most`"),
        ("--provenance=modus=max", "did you mean mode?"),
        ("--provenance=version=v2", "there is no version `v2`"),
        ("--sbom=format=swid", "there is no format `swid`"),
        ("--sbom=generator=docker/scout-sbom-indexer", "pybuild lists packages itself"),
        ("--attest=type=vsa", "there is no type `vsa`"),
        ("--attest=mode=max", "it does not say which type"),
        ("--provenance=filename=a/b", "is not the name of a file"),
    ],
)
def test_what_cannot_be_attested_is_refused_before_the_build(busybox: Pybuild, option: str, words: str) -> None:
    refused = busybox.build(busybox.context("FROM busybox\n"), option, status=2).shown
    assert words in refused


def test_outputs_without_room_for_them(busybox: Pybuild) -> None:
    context = busybox.context("FROM scratch\nCOPY a.txt /\n", a_txt="a")
    shown = busybox.build(context, "--provenance", "-o", "type=docker,dest=out.tar").shown
    assert "type=docker has no room for attestations" in shown
    refused = busybox.build(context, "--sbom", "-o", "type=oci,dest=o.tar,oci-mediatypes=false", status=2).shown
    assert "Docker's media types know no attestations" in refused
