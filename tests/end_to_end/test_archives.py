"""pybuild load, save and tag: archives and layouts of others are read, and others read ours."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.end_to_end.test_pull import base, layout
from tests.foreign_images import Layout, tar_of
from tests.podman import podman

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

    from tests.end_to_end.conftest import Pybuild
    from tests.podman import Podman

__all__ = ["layout", "podman"]


def skopeo(*arguments: object) -> str:
    """Run skopeo, or skip where there is none."""
    if shutil.which("skopeo") is None:
        pytest.skip("needs skopeo")
    done = subprocess.run(["skopeo", *map(str, arguments)], check=True, capture_output=True, text=True)
    return done.stdout


@pytest.mark.parametrize("form", ["oci-archive", "docker-archive", "oci", "dir.tar.gz"])
def test_what_skopeo_writes_is_loaded(pybuild: Pybuild, layout: Layout, tmp_path: Path, form: str) -> None:
    layout.name(base(layout), "one")
    place = tmp_path / "saved"
    kind = "oci-archive" if form == "dir.tar.gz" else form
    skopeo("copy", f"oci:{layout.path}:one", f"{kind}:{place}:localhost/app:1")
    if form == "dir.tar.gz":
        place.write_bytes(gzip.compress(place.read_bytes()))
    shown = pybuild.run("load", "-i", place).stdout
    assert shown == "Loaded image: localhost/app:1\n"
    assert pybuild.sh("cat /etc/one", image="localhost/app:1") == "1"
    assert pybuild.run("fsck").stdout.endswith("clean\n")
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    pybuild.run("tag", "localhost/app:1", "other", "more:2")
    assert pybuild.run("cat", "more:2:/etc/two").stdout == "2"
    pybuild.run("rmi", "localhost/app:1", "other")
    assert pybuild.sh("cat /etc/one", image="more:2") == "1"


def test_a_tar_of_others_is_saved_uncompressed(pybuild: Pybuild, tmp_path: Path) -> None:
    """What is noted of a layer is the length of its own tar, whatever padding the archive had that it came in."""
    with tarfile.open(tmp_path / "rootfs.tar", "w") as tar:  # padded to 10240 bytes
        tar.addfile(tarfile.TarInfo("etc/hi"))
    pybuild.run("import", tmp_path / "rootfs.tar", "-t", "one")
    pybuild.run("save", "--compression=uncompressed", "-o", tmp_path / "saved", "one")
    image = json.loads(pybuild.run("inspect", "one").stdout)[0]["Pybuild"]
    with tarfile.open(tmp_path / "saved") as tar:
        (manifest,) = json.load(cast("IO[bytes]", tar.extractfile("manifest.json")))
        assert [tar.getmember(name).size for name in manifest["Layers"]] == [layer["size"] for layer in image["layers"]]


def test_what_podman_saves_is_loaded_and_podman_loads_ours(
    pybuild: Pybuild, layout: Layout, tmp_path: Path, podman: Podman
) -> None:
    layout.name(base(layout), "one")
    pybuild.run("load", layout.path, "-t", "localhost/app:1")
    pybuild.run("save", "-o", tmp_path / "ours", "localhost/app:1")
    assert "localhost/app:1" in podman("load", "-i", tmp_path / "ours")
    podman("save", "-o", tmp_path / "theirs", "localhost/app:1")
    pybuild.run("rmi", "localhost/app:1")
    pybuild.run("prune", "-af")
    assert "localhost/app:1" in pybuild.run("load", tmp_path / "theirs").stdout
    assert pybuild.sh("cat /etc/one", image="localhost/app:1") == "1"


@pytest.mark.parametrize("form", ["oci-archive", "docker-archive", "oci-dir"])
def test_several_images_are_saved_and_loaded_again(pybuild: Pybuild, layout: Layout, tmp_path: Path, form: str) -> None:
    layout.name(base(layout), "one")
    two = layout.image([layout.layer(tar_of({"two": "2"}), "zstd")])
    layout.name(two, "two")
    pybuild.run("load", f"{layout.path}:one", "-t", "app:one")
    pybuild.run("load", f"{layout.path}:two", "-t", "app:two")
    pybuild.run("tag", "app:one", "app:first")
    before = pybuild.run("images", "-q", "--no-trunc").stdout.split()
    saved = tmp_path / "saved"
    pybuild.run("save", "--format", form, "-o", saved, "app:one", "app:two", "app:first")
    pybuild.run("rmi", "app:one", "app:first", "app:two")
    pybuild.run("prune", "-af")
    assert pybuild.run("images", "-q").stdout == ""
    pybuild.run("load", saved)
    assert sorted(pybuild.run("images", "-q", "--no-trunc").stdout.split()) == sorted(before)
    assert pybuild.sh("cat /etc/one", image="app:first") == "1"
    assert pybuild.run("cat", "app:two:/two").stdout == "2"
    assert pybuild.run("fsck").stdout.endswith("clean\n")
    if form == "docker-archive":
        with tarfile.open(saved) as tar:
            file = tar.extractfile("manifest.json")
            assert file is not None
            tags = [one["RepoTags"] for one in json.load(file)]
        assert sorted(map(sorted, tags)) == [["app:first", "app:one"], ["app:two"]]


def test_an_archive_goes_through_pipes(pybuild: Pybuild, layout: Layout) -> None:
    layout.name(base(layout), "one")
    pybuild.run("load", layout.path, "-t", "app")
    environ = {**pybuild.environ(), "PYBUILD_ROOT": f"{pybuild.root}2"}
    with subprocess.Popen([*pybuild.command, "save", "app"], stdout=subprocess.PIPE, env=pybuild.environ()) as saving:
        done = subprocess.run(
            [*pybuild.command, "load"], stdin=saving.stdout, env=environ, check=True, capture_output=True, text=True
        )
    assert done.stdout == "Loaded image: app:latest\n"
    listed = subprocess.run([*pybuild.command, "images", "-q"], env=environ, check=True, capture_output=True)
    assert listed.stdout.decode() == pybuild.run("images", "-q").stdout


def test_an_archive_of_old_dockers_is_loaded(pybuild: Pybuild, layout: Layout, tmp_path: Path) -> None:
    import io

    layers = [tar_of({"etc/one": "1"}), tar_of({"etc/two": "2"})]
    from tests.foreign_images import digest_of

    config = json.dumps({
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [*map(digest_of, layers), digest_of(layers[0])]},
    }).encode()  # fmt: skip
    names = {"a/layer.tar": layers[0], "b/layer.tar": layers[1], "config.json": config}
    names["manifest.json"] = json.dumps(
        [{"Config": "config.json", "RepoTags": None, "Layers": ["a/layer.tar", "b/layer.tar", "c/layer.tar"]}]
    ).encode()
    with tarfile.open(tmp_path / "old.tar", "w") as tar:
        for name, data in names.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        member = tarfile.TarInfo("c/layer.tar")
        member.type, member.linkname = tarfile.SYMTYPE, "../a/layer.tar"
        tar.addfile(member)
    shown = pybuild.run("load", "-q", tmp_path / "old.tar").stdout
    assert shown.strip() == digest_of(config)
    assert pybuild.run("cat", f"{shown.strip()}:/etc/two").stdout == "2"
    # What leaves is compressed, as images are.
    pybuild.run("tag", shown.strip(), "old")
    pybuild.run("save", "--format=oci-archive", "-o", tmp_path / "new.tar", "old")
    manifest = json.loads(skopeo("inspect", "--raw", f"oci-archive:{tmp_path / 'new.tar'}"))
    assert {layer["mediaType"] for layer in manifest["layers"]} == {"application/vnd.oci.image.layer.v1.tar+gzip"}


def test_what_is_no_archive_is_refused(pybuild: Pybuild, layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no archive at all\n" * 100)
    (tmp_path / "tar").write_bytes(tar_of({"a": "a"}))
    assert "text" in pybuild.run("load", tmp_path / "text", status=125).stderr
    assert "index.json" in pybuild.run("load", tmp_path / "tar", status=125).stderr
    assert "no such file" in pybuild.run("load", tmp_path / "none", status=125).stderr
    layout.name(layout.blob(b"no manifest", "application/vnd.oci.image.manifest.v1+json"), "odd")
    subprocess.run(["tar", "-cf", tmp_path / "odd.tar", "-C", layout.path, "."], check=True)
    assert "is not JSON" in pybuild.run("load", tmp_path / "odd.tar", status=125).stderr
    assert "is not JSON" in pybuild.run("load", layout.path, status=125).stderr
    layout.entries.clear()
    descriptor, diff_id = layout.layer(tar_of({"a": "a"}))
    layout.name(layout.image([(descriptor, diff_id)]), "one")
    path = layout.path / "blobs/sha256" / descriptor["digest"][7:]
    path.write_bytes(bytes(descriptor["size"]))
    assert descriptor["digest"] in pybuild.run("load", layout.path, status=125).stderr
    assert pybuild.run("fsck").stdout.endswith("clean\n")
    pybuild.run("save", "none", status=125)
    pybuild.run("tag", "none", "name", status=125)


def test_images_are_listed_by_filters(pybuild: Pybuild, layout: Layout) -> None:
    layout.name(base(layout, config={"Labels": {"team": "a"}}), "one")
    layout.name(layout.image([layout.layer(tar_of({"two": "2"}))]), "two")
    pybuild.run("load", f"{layout.path}:one", "-t", "app:one")
    pybuild.run("load", f"{layout.path}:two", "-t", "other:two")

    def listed(*filters: str) -> list[str]:
        options = [f"--filter={one}" for one in filters]
        shown = json.loads(pybuild.run("images", "--format=json", *options).stdout)
        return sorted(f"{one['repository']}:{one['tag']}" for one in shown)

    assert listed() == ["app:one", "other:two"]
    assert listed("label=team") == listed("label=team=a") == listed("reference=app") == ["app:one"]
    assert listed("reference=*:two", "dangling=false") == ["other:two"]
    assert listed("label=team=b") == listed("dangling=true") == []
    assert "DIGEST" in pybuild.run("images", "--digests").stdout
    pybuild.run("images", "--filter=size=1", status=2)


def test_an_image_with_the_history_of_a_step_is_no_cache(pybuild: Pybuild, layout: Layout, tmp_path: Path) -> None:
    """CVE-2024-24557: whatever an image says of how it was made, a step is executed that was not executed before."""
    layout.name(base(layout), "one")
    context = pybuild.context("FROM base\nCOPY file /file\n", file="right")
    maker = replace(pybuild, root=tmp_path / "elsewhere")
    for store in (maker, pybuild):
        store.run("load", f"{layout.path}:one", "-t", "base")
    maker.build(context)
    maker.run("save", "--format=oci-dir", "-o", tmp_path / "honest", "test")
    blobs = tmp_path / "honest/blobs/sha256"

    def read(descriptor: dict[str, Any]) -> Any:
        return json.loads((blobs / descriptor["digest"].partition(":")[2]).read_text())

    manifest = read(json.loads((tmp_path / "honest/index.json").read_text())["manifests"][0])
    config = read(manifest["config"])
    assert any("COPY file /file" in entry.get("created_by", "") for entry in config["history"])
    evil = Layout(tmp_path / "honest")
    layer, config["rootfs"]["diff_ids"][-1] = evil.layer(tar_of({"file": "wrong"}))
    manifest["layers"][-1] = layer
    manifest["config"] = evil.blob(json.dumps(config).encode(), manifest["config"]["mediaType"])
    evil.name(evil.blob(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json"), "evil")
    pybuild.run("load", f"{evil.path}:evil", "-t", "evil")
    assert pybuild.run("cat", "evil:/file").stdout == "wrong"
    assert pybuild.build(context).outcomes() == ["RAN"]
    assert pybuild.run("cat", "test:/file").stdout == "right"
