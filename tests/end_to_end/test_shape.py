"""What options of the command line make of an image: squashed, dated, with or without history, labels, annotations."""

from __future__ import annotations

import json
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Pybuild

pytestmark = pytest.mark.root

TEXT = r"""
FROM busybox AS base
RUN mkdir -p /d/gone /d/new /keep && echo old >/d/old && echo 1 >/keep/1 && ln /d/old /d/z && chmod 700 /keep
LABEL from=base
ENV FROM_BASE=1
FROM base
RUN rm -r /d/gone /d/old /bin/vi && echo new >/d/new/x && ln /d/new/x /d/new/y && chown 3:4 /keep/1
RUN rm -r /d/new && mkdir /d/new && echo newer >/d/new/z && echo waste >/waste && chmod 755 /keep
RUN rm /waste && rm /keep/1 && mkdir /keep/1 && ln -s nowhere /keep/1/link
ENV A=1
"""
OTHER = "! -path './etc*' ! -path './proc*' ! -path './sys*' ! -path './dev*'"
LIST = f"cd / && find . -mindepth 1 -xdev {OTHER} -exec stat -c '%N %A %u %g %Y' {{}} + | sort"


def read_layout(path: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Give the index, the manifest and the config of an OCI layout with one image."""

    def blob(descriptor: dict[str, Any]) -> dict[str, Any]:
        name = path / "blobs" / descriptor["digest"].replace(":", "/")
        return dict(json.loads(name.read_bytes()))

    index = json.loads((path / "index.json").read_bytes())
    manifest = blob(index["manifests"][0])
    if "manifests" in manifest:
        manifest = blob(manifest["manifests"][0])
    return index, manifest, blob(manifest["config"])


def made_layers(config: dict[str, Any]) -> int:
    return sum(not entry.get("empty_layer") for entry in config["history"])


@pytest.mark.parametrize("option", ["--squash", "--squash-all"])
def test_squash(busybox: Pybuild, option: str, tmp_path: Path) -> None:
    context = busybox.context(TEXT)
    busybox.build(context)
    expected = busybox.sh(LIST)
    base = json.loads(busybox.run("inspect", "busybox").stdout)[0]["Pybuild"]["rootfs"]["diff_ids"]
    plain = json.loads(busybox.run("inspect", "test").stdout)[0]["Pybuild"]
    busybox.build(context, option, "-o", "type=oci,dest=out,tar=false")
    _, manifest, config = read_layout(busybox.work / "out")
    kept = len(base) if option == "--squash" else 0
    assert config["rootfs"]["diff_ids"][:-1] == base[:kept]
    assert len(manifest["layers"]) == kept + 1 == made_layers(config)
    assert len(config["history"]) == len(plain["history"]) + 1
    assert config["config"] == plain["config"]
    assert busybox.sh(LIST).splitlines() == expected.splitlines()
    with tarfile.open(busybox.work / "out/blobs" / manifest["layers"][-1]["digest"].replace(":", "/")) as tar:
        names = tar.getnames()
    assert "waste" not in names
    assert "d/gone" not in names
    assert ("bin/.wh.vi" in names) == (option == "--squash")
    bundle = tmp_path / "bundle"
    subprocess.run(
        ["umoci", "unpack", "--image", f"{busybox.work}/out:latest", bundle], check=True, capture_output=True
    )
    assert sorted(path.name for path in (bundle / "rootfs/d").iterdir()) == ["new", "z"]
    assert not (bundle / "rootfs/bin/vi").is_symlink()
    assert (bundle / "rootfs/keep/1/link").is_symlink()
    again = busybox.build(context, option)
    assert set(again.outcomes()) == {"HIT"}
    assert json.loads(busybox.run("inspect", "test").stdout)[0]["Pybuild"]["rootfs"] == config["rootfs"]


def test_an_opaque_directory_stays_opaque(busybox: Pybuild) -> None:
    busybox.build(busybox.context("FROM busybox\nRUN mkdir /d && touch /d/a /d/b\n"), "-t", "lower")
    text = "FROM lower\nRUN rm -r /d && mkdir /d && touch /d/c\nRUN chmod 711 /d\n"
    busybox.build(busybox.context(text), "--squash")
    assert busybox.sh("ls /d; stat -c %a /d") == "c\n711\n"


def test_config(busybox: Pybuild) -> None:
    context = busybox.context(TEXT)
    busybox.build(context, "-t", "lower", "--label", "mine=1")
    text = "FROM lower\nENV B=2\nLABEL own=1\n"
    options = ("--unsetenv=FROM_BASE", "--unsetenv=PATH", "--unsetlabel=from", "--unsetlabel=mine", "--label=mine=2")
    busybox.build(busybox.context(text), *options, "--identity-label", "--omit-history")
    config = json.loads(busybox.run("inspect", "test").stdout)[0]["Pybuild"]
    assert config["config"]["Env"] == ["A=1", "B=2"]
    version = busybox.run("--version").stdout.split()[1]
    assert config["config"]["Labels"] == {"io.pybuild.version": version, "mine": "2", "own": "1"}
    assert "history" not in config
    assert "the same again" in busybox.run("verify", "test").stdout


def test_timestamp(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nRUN echo 1 >/new && touch -d @1000000000 /old\nENV A=1\n")
    digests = set()
    for seconds in ("1500000000", "0"):
        options = ("--no-cache", f"--timestamp={seconds}", "-o", f"type=oci,dest=out{seconds},tar=false")
        busybox.build(context, *options, "-o", f"type=tar,dest={seconds}.tar", SOURCE_DATE_EPOCH="1")
        _, manifest, config = read_layout(busybox.work / f"out{seconds}")
        digests.add(config["created"])
        assert {entry["created"] for entry in config["history"][1:]} == {config["created"]}
        with tarfile.open(
            busybox.work / f"out{seconds}/blobs" / manifest["layers"][-1]["digest"].replace(":", "/")
        ) as tar:
            assert {member.name: member.mtime for member in tar} == {"new": int(seconds), "old": int(seconds)}
        with tarfile.open(busybox.work / f"{seconds}.tar") as tar:
            assert tar.getmember("old").mtime == int(seconds)
    assert digests == {"2017-07-14T02:40:00Z", "1970-01-01T00:00:00Z"}
    assert "give one of them" in busybox.run(context, "--timestamp=1", "--source-date-epoch=1", status=2).stderr
    assert "--timestamp" in busybox.run(context, "--timestamp=now", status=2).stderr


def test_annotations(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\n")
    options = ("--annotation=a=b=c", "--annotation=manifest-descriptor:d=1", "--annotation=manifest[linux/s390x]:no=1")
    busybox.build(context, *options, "-o", "type=oci,dest=one,tar=false,annotation.e=f")
    index, manifest, _ = read_layout(busybox.work / "one")
    assert manifest["annotations"] == {"a": "b=c", "e": "f"}
    assert index["manifests"][0]["annotations"]["d"] == "1"
    options = (
        "--annotation=index,manifest:x=y",
        "--annotation=manifest-descriptor:d=1",
        "--annotation=index-descriptor:i=1",
    )
    busybox.build(context, *options, "-o", "type=oci,dest=two.tar", "-o", "type=oci,dest=two,tar=false")
    index, manifest, _ = read_layout(busybox.work / "two")
    assert manifest["annotations"] == {"x": "y"}
    assert index["manifests"][0]["annotations"]["i"] == "1"
    inner = json.loads((busybox.work / "two/blobs" / index["manifests"][0]["digest"].replace(":", "/")).read_bytes())
    assert (inner["annotations"], inner["manifests"][0]["annotations"]) == ({"x": "y"}, {"d": "1"})
    for place in ("oci-archive:two.tar:latest", "oci:two:latest"):
        subprocess.run(["skopeo", "inspect", place], check=True, cwd=busybox.work, capture_output=True)
    for wrong in ("a", "=b", "imdex:a=b", "manifest[x/y/z/w]:a=b"):
        assert "--annotation" in busybox.run(context, f"--annotation={wrong}", status=2).stderr


def test_files_that_tell(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nENV A=1\n")
    told, image = busybox.work / "metadata.json", busybox.work / "id"
    busybox.build(context, "--metadata-file", told, "--iidfile", image)
    found = json.loads(told.read_bytes())
    build = found.pop("buildx.build.ref").removeprefix("default/default/")
    assert build in busybox.run("builds", build).stdout
    expected = json.loads(busybox.run("inspect", "test").stdout)[0]["Pybuild"]["id"]
    assert image.read_text() == expected
    name = "docker.io/library/test:latest"
    digests = {"containerimage.config.digest": expected, "containerimage.digest": expected, "image.name": name}
    assert found == digests
    busybox.build(context, "--metadata-file", told, "-o", "type=oci,dest=out,tar=false")
    found = json.loads(told.read_bytes())
    index, _, _ = read_layout(busybox.work / "out")
    assert found["containerimage.digest"] == index["manifests"][0]["digest"]
    assert found["containerimage.descriptor"]["size"] == index["manifests"][0]["size"]
    assert found["containerimage.descriptor"]["platform"]["os"] == "linux"
    failing = busybox.context("FROM busybox\nRUN false\n", "failing")
    busybox.run(failing, "--metadata-file", told, "--iidfile", image, status=1)
    assert not told.exists(), "what an earlier build told would be wrong"
    assert not image.exists()
    nowhere = "--cache-to=type=local,dest=/dev/null/cache"
    busybox.run(context, "-t", "test", nowhere, "--metadata-file", told, "--iidfile", image, status=125)
    made = json.loads(busybox.run("inspect", "test").stdout)[0]["Pybuild"]
    assert image.read_text() == json.loads(told.read_text())["containerimage.digest"] == made["id"]
    assert "there is no directory" in busybox.run(context, "--iidfile", "missing/x", status=125).stderr
