"""What an image's config says of its base, whoever made that: nothing is lost, counted wrong or put in disorder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.foreign_images import Layout, tar_of
from tests.image_spec import CONFIG, DOCKER_CONFIG, DOCKER_MANIFEST, MANIFEST, read_layout

if TYPE_CHECKING:
    from pathlib import Path

    from tests.end_to_end.conftest import Pybuild

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TIME = "2020-01-01T00:00:00Z"


def base(pybuild: Pybuild, path: Path, container: dict[str, Any], *, docker: bool = False, **top: Any) -> None:
    """Have the store load an image of two layers as `base`, whose config is exactly what is given."""
    layout = Layout(path)
    layers = [layout.layer(tar_of({name: name}), docker=docker) for name in ("one", "two")]
    raw = {
        "architecture": "amd64", "os": "linux", "created": TIME, "config": container, **top,
        "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers], **top.get("rootfs", {})},
    }  # fmt: skip
    manifest = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST if docker else MANIFEST,
        "config": layout.blob(json.dumps(raw, indent=3).encode(), DOCKER_CONFIG if docker else CONFIG),
        "layers": [descriptor for descriptor, _ in layers],
    }
    layout.name(layout.blob(json.dumps(manifest).encode(), str(manifest["mediaType"])), "base")
    pybuild.run("load", "-q", "-t", "base", f"{path}:base")


def built(pybuild: Pybuild, text: str, *options: str) -> dict[str, Any]:
    """Build on it, and read the config as it is written."""
    context = pybuild.context(text, a_txt="a")
    shown = pybuild.run("build", "--progress=plain", *options, "-o", "type=oci,dest=out.tar", context).stderr
    warnings = [line for line in shown.splitlines() if line.startswith("warning") and "JSONArgsRecommended" not in line]
    assert not warnings
    (image,) = read_layout(pybuild.work / "out.tar")
    found: dict[str, Any] = image.config
    return found


@pytest.mark.parametrize("docker", [False, True])
def test_what_pybuild_does_not_know_survives(pybuild: Pybuild, tmp_path: Path, docker: bool) -> None:
    strange = {"z": 1, "a": [1.5, None, "é", {"": True}], "nothing": None}
    container = {
        "Hostname": "h", "Domainname": "", "Tty": True, "StopTimeout": 7, "Image": "sha256:x", "Custom": strange,
        "Healthcheck": {"Test": ["CMD", "x"], "Interval": 5, "Extra": 1}, "Cmd": None, "Env": None, "Labels": None,
    }  # fmt: skip
    top = {"docker_version": "1.10", "container_config": {"Cmd": ["x"]}, "io.example": strange, "author": "bob"}
    history = [
        {"created": TIME, "created_by": "one", "example": strange},
        {"created": TIME, "created_by": "ENV", "empty_layer": True},
        {"created": TIME, "created_by": "two", "author": "x"},
    ]
    base(pybuild, tmp_path / "l", container, docker=docker, history=history, rootfs={"example": "q"}, **top)
    config = built(pybuild, "FROM base\nLABEL a=b\nCOPY a.txt /\n")
    assert {key: config[key] for key in top} == top
    kept = {key: value for key, value in container.items() if value is not None}
    assert config["config"] == {**kept, "Env": [PATH], "Labels": {"a": "b"}}
    assert config["rootfs"]["example"] == "q"
    assert config["history"][:3] == history
    assert [entry.get("empty_layer", False) for entry in config["history"][3:]] == [True, False]
    for option in ("--squash", "--squash-all", "--timestamp=5"):
        other = built(pybuild, "FROM base\nLABEL a=b\nCOPY a.txt /\n", option)
        assert {key: other[key] for key in top} == top
        assert other["config"] == config["config"]
        assert [entry.get("example") for entry in other["history"]][:3] == [strange, None, None]


@pytest.mark.parametrize(
    ("history", "empty"),
    [
        (None, [False, False]),
        ([], [False, False]),
        ([{"created_by": "all"}], [False, False]),
        ([{"created_by": "x", "empty_layer": True}], [True, False, False]),
        ([{"created_by": str(number)} for number in range(4)], [True, True, False, False]),
    ],
)
def test_a_history_that_does_not_fit(
    pybuild: Pybuild, tmp_path: Path, history: list[dict[str, Any]] | None, empty: list[bool]
) -> None:
    base(pybuild, tmp_path / "l", {"Env": ["PATH=/bin"]}, history=history)
    entries = built(pybuild, "FROM base\nCOPY a.txt /\nENV A=b\n")["history"]
    assert [entry.get("empty_layer", False) for entry in entries] == [*empty, False, True]
    squashed = built(pybuild, "FROM base\nCOPY a.txt /\nCOPY a.txt /b\n", "--squash")["history"]
    assert [entry.get("empty_layer", False) for entry in squashed] == [*empty, True, True, False]


def test_what_instructions_make_of_a_base(pybuild: Pybuild, tmp_path: Path) -> None:
    container = {
        "Env": ["B=1", "PATH=/own", "A=2", "B=3"], "Entrypoint": ["e"], "Cmd": ["c"], "User": "1:2",
        "ExposedPorts": {"90/tcp": {}, "80/tcp": {}}, "Volumes": {"/z": {}}, "Labels": {"z": "1", "m": "2"},
        "Shell": ["/x", "-c"], "OnBuild": ["ENV TRIGGERED=1", "LABEL t=1"], "WorkingDir": "/w", "StopSignal": "SIGINT",
        "Healthcheck": {"Test": ["CMD", "x"], "Interval": 5_000_000_000, "StartInterval": 7, "Retries": 2},
    }  # fmt: skip
    base(pybuild, tmp_path / "l", container)
    inherited = built(pybuild, "FROM base\n")
    left = {key: value for key, value in container.items() if key != "OnBuild"}
    labels = {"m": "2", "t": "1", "z": "1"}
    assert inherited["config"] == {**left, "Env": [*container["Env"], "TRIGGERED=1"], "Labels": labels}
    assert list(inherited["config"]["ExposedPorts"]) == ["80/tcp", "90/tcp"]
    assert list(inherited["config"]["Labels"]) == ["m", "t", "z"]

    text = (
        'FROM base\nENV B=4 C=\nENTRYPOINT ["new"]\nHEALTHCHECK NONE\nONBUILD RUN echo $A\nONBUILD COPY . /\n'
        'EXPOSE 100\nVOLUME /a\nLABEL a=1\nUSER root\nWORKDIR /\nSTOPSIGNAL 9\nSHELL ["/bin/sh", "-ec"]\n'
    )
    changed = built(pybuild, text)["config"]
    assert changed == {
        "User": "root", "Env": ["B=4", "PATH=/own", "A=2", "TRIGGERED=1", "C="], "Entrypoint": ["new"],
        "ExposedPorts": {"80/tcp": {}, "90/tcp": {}, "100/tcp": {}}, "Volumes": {"/a": {}, "/z": {}},
        "WorkingDir": "/", "Labels": {"a": "1", **labels}, "StopSignal": "9", "Healthcheck": {"Test": ["NONE"]},
        "OnBuild": ["RUN echo $A", "COPY . /"], "Shell": ["/bin/sh", "-ec"],
    }  # fmt: skip
    assert built(pybuild, 'FROM base\nCMD ["q"]\n')["config"]["ArgsEscaped"] is True, "as docker has it"
    shell = built(pybuild, "FROM base\nCMD echo $A\nHEALTHCHECK --interval=1m --start-period=2s CMD test -e /x\n")
    assert shell["config"]["Entrypoint"] == ["e"]
    assert shell["config"]["Cmd"] == ["/x", "-c", "echo $A"]
    assert shell["config"]["ArgsEscaped"] is True
    assert shell["config"]["Healthcheck"] == {
        "Test": ["CMD-SHELL", "test -e /x"], "Interval": 60_000_000_000, "StartPeriod": 2_000_000_000,
    }  # fmt: skip


def test_platforms(pybuild: Pybuild, tmp_path: Path) -> None:
    own: dict[str, Any] = {
        "architecture": "arm",
        "variant": "v6",
        "os": "linux",
        "os.version": "5.1",
        "os.features": ["x"],
    }
    base(pybuild, tmp_path / "l", {"ArgsEscaped": True}, **own)
    config = built(pybuild, "FROM base\nCOPY a.txt /\n", "--platform=linux/arm/v7")
    assert {key: config.get(key) for key in own} == own
    assert config["config"] == {"Env": [PATH], "ArgsEscaped": True}
    for asked, architecture, variant in (
        ("linux/arm/v7", "arm", "v7"), ("linux/arm", "arm", "v7"), ("linux/arm64/v8", "arm64", None),
        ("linux/arm64", "arm64", None), ("linux/x86_64", "amd64", None), ("linux/amd64/v3", "amd64", "v3"),
    ):  # fmt: skip
        config = built(pybuild, "FROM scratch\nCOPY a.txt /\n", f"--platform={asked}")
        assert (config["os"], config["architecture"], config.get("variant")) == ("linux", architecture, variant)
        assert config["config"] == {"Env": [PATH], "WorkingDir": "/"}
