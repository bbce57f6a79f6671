"""Base images from registries and layouts: what is fetched and when, and what comes of it."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.foreign_images import Layout, digest_of, tar_of
from tests.registry_server import FaultProxy, Served, docker_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.end_to_end.conftest import Pybuild

__all__ = ["docker_registry"]

BUSYBOX = shutil.which("busybox")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Give an empty layout."""
    return Layout(tmp_path / "layout")


@pytest.fixture
def proxy(docker_registry: Served) -> Iterator[FaultProxy]:
    """Give a proxy before an empty registry."""
    with FaultProxy(docker_registry) as made:
        yield made


def base_layers(layout: Layout, compression: str = "gzip", *, docker: bool = False) -> list[tuple[dict[str, Any], str]]:
    """Write the layers of an image in which commands run."""
    assert BUSYBOX
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(BUSYBOX, "bin/busybox")
        for link in ("sh", "cat", "ls", "stat", "echo", "test", "find", "sort"):
            member = tarfile.TarInfo(f"./bin/{link}")
            member.type, member.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(member)
    tars = buffer.getvalue(), tar_of({"etc/one": "1", "etc/two": "2"})
    return [layout.layer(tar, compression, docker=docker) for tar in tars]


def base(layout: Layout, compression: str = "gzip", **more: Any) -> dict[str, Any]:
    """Write an image in which commands run; its manifest's descriptor."""
    return layout.image(base_layers(layout, compression, docker=more.get("docker", False)), **more)


def layers_asked(proxy: FaultProxy, layout: Layout) -> set[str]:
    """Tell which of the layout's layers were asked for."""
    manifests = [json.loads(data) for data in blobs(layout) if b'"layers": [' in data]
    layers = {layer["digest"] for manifest in manifests for layer in manifest["layers"]}
    return {digest for digest in layers if proxy.asked("GET", digest)}


def blobs(layout: Layout) -> list[bytes]:
    return [path.read_bytes() for path in sorted((layout.path / "blobs/sha256").iterdir())]


@pytest.mark.either_user
def test_a_base_image_is_pulled_when_something_runs_on_it(pybuild: Pybuild, layout: Layout, proxy: FaultProxy) -> None:
    layout.push(proxy.upstream, "app:1", base(layout))
    name = f"{proxy.host}/app:1"
    context = pybuild.context(f"FROM {name}\nENV A=b\n")
    pybuild.build(context)
    assert layers_asked(proxy, layout) == set()
    config = json.loads(pybuild.run("inspect", "test").stdout)[0]["Pybuild"]
    assert config["config"]["Env"] == ["PATH=/bin", "A=b"]

    context = pybuild.context(f"FROM {name}\nENV A=b\nRUN cat /etc/one > /got\n")
    assert pybuild.build(context).outcomes() == ["RAN"]
    assert len(layers_asked(proxy, layout)) == 2
    assert pybuild.sh("cat /got /etc/two") == "12"
    assert pybuild.run("fsck").stdout.endswith("clean\n")

    before = len(proxy.requests)
    assert pybuild.build(context).outcomes() == ["HIT"]
    assert len(proxy.requests) == before


def test_what_is_in_the_store_needs_no_network(pybuild: Pybuild, layout: Layout, docker_registry: Served) -> None:
    layout.push(docker_registry.host, "app", base(layout))
    with FaultProxy(docker_registry) as proxy:
        name = f"{proxy.host}/app"
        pybuild.run("pull", name)
    context = pybuild.context(f"FROM {name}\nRUN cat /etc/one\n")
    assert pybuild.build(context).outcomes() == ["RAN"]
    assert pybuild.build(context, "--pull=never").outcomes() == ["HIT"]
    shown = pybuild.build(context, "--pull=newer").shown
    assert "the image in the store is used" in shown
    assert "cannot be reached" in pybuild.build(context, "--pull", status=125).shown


def test_policies(pybuild: Pybuild, layout: Layout, proxy: FaultProxy) -> None:
    layout.push(proxy.upstream, "app", base(layout, config={"Labels": {"a": "old"}}))
    name = f"{proxy.host}/app"
    context = pybuild.context(f"FROM {name}\n")
    assert "--pull=never" in pybuild.build(context, "--pull=never", status=125).shown

    def label(*options: str) -> str:
        pybuild.build(context, *options)
        return str(json.loads(pybuild.run("inspect", "test").stdout)[0]["Pybuild"]["config"]["Labels"]["a"])

    assert label() == "old"
    layout.push(proxy.upstream, "app", base(layout, config={"Labels": {"a": "new"}}))
    assert label() == "old"
    assert label("--pull=newer") == "new"
    gets = len(proxy.asked("GET", "manifests|blobs"))
    assert label("--pull") == "new"
    assert len(proxy.asked("GET", "manifests|blobs")) == gets  # a HEAD told that nothing is newer
    assert "is not a policy" in pybuild.run("build", "--pull=often", ".", status=2).stderr


def test_the_manifest_for_a_platform_is_chosen(pybuild: Pybuild, layout: Layout, proxy: FaultProxy) -> None:
    plain = base(layout)
    arm = [
        layout.image([layout.layer(tar_of({"v": variant}))], architecture="arm", variant=variant)
        for variant in ("v6", "v7")
    ]
    every = [layout.attestation(plain), *arm, plain]
    for docker in (False, True):
        manifests = every[1:] if docker else every
        layout.push(proxy.upstream, f"app:{docker}", layout.index(manifests, docker=docker))
        name = f"{proxy.host}/app:{docker}"
        pybuild.build(pybuild.context(f"FROM {name}\nRUN cat /etc/one > /got\n"))
        assert pybuild.sh("cat /got") == "1"
        pybuild.build(pybuild.context(f"FROM --platform=linux/arm {name}\nENV A=b\n"))
        assert pybuild.run("cat", "test:/v").stdout == "v7"
        # Both are there now: the name still means this machine's, and neither needs the registry again.
        before = len(proxy.requests)
        pybuild.build(pybuild.context(f"FROM --platform=linux/arm/v6 {name}\nENV A=b\n"), "--pull=always")
        assert pybuild.run("cat", "test:/v").stdout == "v6"
        pybuild.build(pybuild.context(f"FROM --platform=linux/arm {name}\nENV A=c\n"), "--pull=never")
        assert pybuild.run("cat", f"{name}:/etc/one").stdout == "1"
        assert len(proxy.requests) > before
        pybuild.run("prune", "-f")
        assert pybuild.run("images").stdout.count(f"{proxy.host}/app   {docker}") == 3
    shown = pybuild.build(pybuild.context(f"FROM --platform=linux/s390x {name}\n"), status=125).shown
    assert "no manifest for linux/s390x" in shown
    assert "linux/amd64" in shown


@pytest.mark.either_user
def test_device_nodes_stay_in_the_blob_where_nobody_can_make_them(
    pybuild: Pybuild, layout: Layout, proxy: FaultProxy
) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, kind in (("srv/null", tarfile.CHRTYPE), ("srv/disk", tarfile.BLKTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.devmajor, member.devminor = kind, 1, 3
            tar.addfile(member)
    image = layout.image([*base_layers(layout), layout.layer(made.getvalue())])
    layout.push(proxy.upstream, "app", image)
    pulled = pybuild.run("pull", f"{proxy.host}/app")
    assert ("2 device nodes of a layer cannot be made here" in pulled.stderr) == bool(pybuild.owner)
    pybuild.build(
        pybuild.context(f"FROM {proxy.host}/app\nRUN ls /srv > /there\nCOPY --from={proxy.host}/app /etc/one /2\n")
    )
    assert pybuild.run("cat", "test:/there").stdout == ("" if pybuild.owner else "disk\nnull\n")
    assert pybuild.run("fsck").stdout.endswith("clean\n")
    pybuild.run("push", f"{proxy.host}/app", f"{proxy.host}/other")
    assert pybuild.run("push", "-q", f"{proxy.host}/app", f"{proxy.host}/other").stdout.strip() == image["digest"]


def test_an_image_whose_layers_cannot_be_had_gets_no_name(pybuild: Pybuild, layout: Layout, proxy: FaultProxy) -> None:
    layout.push(proxy.upstream, "app", layout.image([layout.layer(b"this is no tar" * 100)]))
    assert "layer sha256:" in pybuild.run("pull", f"{proxy.host}/app", status=125).stderr
    context = pybuild.context(f"FROM {proxy.host}/app\nRUN true\n")
    assert pybuild.build(context, status=None).shown.count("fetching 1 layer") == 1
    pybuild.run("rmi", f"{proxy.host}/app")
    layout.name(layout.image([layout.layer(b"nor is this" * 100)]), "localhost/app:1")
    pybuild.run("load", layout.path, status=125)
    assert json.loads(pybuild.run("images", "--format=json").stdout) == []


def test_a_wait_that_the_registry_asks_for_is_told(pybuild: Pybuild, layout: Layout, proxy: FaultProxy) -> None:
    layout.push(proxy.upstream, "app", base(layout))
    for command in (["build", pybuild.context(f"FROM {proxy.host}/app\n")], ["pull", f"{proxy.host}/app"]):
        proxy.fault("", "/manifests/", lambda request: request.reply(429, b"", **{"Retry-After": "1"}))
        shown = pybuild.run(*command).stderr
        assert re.search(f"{proxy.host}/app.*: .*429 Too Many Requests; trying again in 1 s\n", shown), shown


def test_platforms_that_an_index_does_not_say_are_read_from_the_images(
    pybuild: Pybuild, layout: Layout, proxy: FaultProxy
) -> None:
    other = layout.image([layout.layer(tar_of({"v": "arm"}))], architecture="arm64")
    unsaid = [{key: value for key, value in one.items() if key != "platform"} for one in (other, base(layout))]
    layout.push(proxy.upstream, "app", layout.index(unsaid))
    pybuild.run("pull", "-q", f"{proxy.host}/app")
    assert pybuild.run("cat", f"{proxy.host}/app:/etc/one").stdout == "1"
    refused = pybuild.run("pull", "-q", "--platform=linux/s390x", f"{proxy.host}/app", status=125).stderr
    assert "linux/amd64, linux/arm64" in refused


@pytest.mark.parametrize("compression", ["gzip", "zstd", ""])
def test_pulled_layers_go_out_as_they_came(
    pybuild: Pybuild, layout: Layout, proxy: FaultProxy, compression: str
) -> None:
    layout.push(proxy.upstream, "app", base(layout, compression))
    pybuild.run("pull", "-q", f"{proxy.host}/app")
    assert pybuild.run("fsck").stdout.endswith("clean\n")
    assert len(layers_asked(proxy, layout)) == 2
    known = {digest_of(data) for data in blobs(layout)}
    stored = {f"sha256:{path.name}" for path in (pybuild.root / "blobs/sha256").iterdir()}
    assert stored <= known
    assert len(stored) == 2


def test_docker_images_and_digests(pybuild: Pybuild, layout: Layout, proxy: FaultProxy) -> None:
    image = base(layout, docker=True)
    layout.push(proxy.upstream, "app:1", image)
    name = f"{proxy.host}/app@{image['digest']}"
    context = pybuild.context(f"FROM {proxy.host}/app:1@{image['digest']}\nRUN cat /etc/one > /got\n")
    pybuild.build(context)
    assert pybuild.sh("cat /got") == "1"
    assert pybuild.sh("cat /etc/two", image=name) == "2"
    before = len(proxy.requests)
    pybuild.build(pybuild.context(f"FROM {name}\nRUN cat /etc/one > /got\n"), "--pull")
    assert len(proxy.requests) == before
    assert json.loads(pybuild.run("inspect", name).stdout)[0]["Pybuild"]["repo_digests"] == [name]
    wrong = name[:-3] + ("000" if not name.endswith("000") else "111")
    assert "wrong" not in pybuild.build(pybuild.context(f"FROM {wrong}\n"), status=125).shown
    pybuild.run("rmi", name)
    assert "no image" in pybuild.build(pybuild.context(f"FROM {name}\n"), "--pull=never", status=125).shown


def test_layers_mean_what_they_mean_to_others(pybuild: Pybuild, layout: Layout, proxy: FaultProxy) -> None:
    below = json.loads((layout.path / "blobs/sha256" / base(layout)["digest"][7:]).read_bytes())
    config = json.loads((layout.path / "blobs/sha256" / below["config"]["digest"][7:]).read_bytes())
    layers = list(zip(below["layers"], config["rootfs"]["diff_ids"], strict=True))
    layers.append(layout.layer(tar_of({"tmp/": "1777", "usr/": None, "usr/lib/": None, "lib": "->usr/lib"})))
    layers.append(layout.layer(tar_of({"tmp/x": "x", "lib/library": "l"})))  # parents left out, one of them a link
    layers.append(layout.layer(tar_of({"etc/.wh.one": None, "etc/three": "3"})))
    layers.append(layout.layer(tar_of({"gone/a": "a"})))
    layers.append(layout.layer(tar_of({"gone/.wh..wh..opq": None, "gone/b": "b"})))
    layout.push(proxy.upstream, "app", layout.image(layers))
    name = f"{proxy.host}/app"
    pybuild.build(
        pybuild.context(f"FROM {name}\nRUN stat -c %a /tmp > /got; ls /etc /gone >> /got; ls -l /lib >> /got\n")
    )
    got = pybuild.sh("cat /got").splitlines()
    assert got[0] == "1777"
    assert got[1:-1] == [
        "/etc:",
        *[one for one in got if one in ("hostname", "hosts", "mtab", "resolv.conf")][:0],
        *got[2:-1],
    ]
    assert "one" not in got
    assert {"two", "three", "b"} <= set(got)
    assert "a" not in got
    assert got[-1].endswith("/lib -> usr/lib")
    assert pybuild.sh("cat /usr/lib/library /tmp/x") == "lx"
    assert pybuild.run("cat", "test:/usr/lib/library").stdout == "l"
    assert pybuild.run("fsck").stdout.endswith("clean\n")


def test_a_killed_pull_leaves_a_store_that_the_next_one_uses(
    pybuild: Pybuild, layout: Layout, proxy: FaultProxy
) -> None:
    import threading

    image = base(layout)
    layout.push(proxy.upstream, "app", image)
    manifest = json.loads((layout.path / "blobs/sha256" / image["digest"][7:]).read_bytes())
    asked = threading.Event()

    def stall(request: Any) -> None:
        asked.set()
        proxy.be_silent(request)

    proxy.fault("GET", manifest["layers"][1]["digest"], stall)
    command = [*pybuild.command, "pull", f"{proxy.host}/app"]
    with subprocess.Popen(command, env=pybuild.environ(), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as run:
        assert asked.wait(60)
        os.kill(run.pid, signal.SIGKILL)
    assert pybuild.run("fsck").stdout.endswith("clean\n")
    pybuild.run("pull", f"{proxy.host}/app")
    assert pybuild.sh("cat /etc/two", image=f"{proxy.host}/app") == "2"
    assert os.listdir(pybuild.root / "staging") == []


def test_an_interrupt_ends_a_pull_that_waits_for_a_silent_registry(
    pybuild: Pybuild, layout: Layout, proxy: FaultProxy
) -> None:
    import threading

    image = base(layout)
    layout.push(proxy.upstream, "app", image)
    manifest = json.loads((layout.path / "blobs/sha256" / image["digest"][7:]).read_bytes())
    asked = threading.Event()

    def stall(request: Any) -> None:
        asked.set()
        proxy.be_silent(request)

    proxy.fault("GET", manifest["layers"][1]["digest"], stall)
    command = [*pybuild.command, "pull", f"{proxy.host}/app"]
    with subprocess.Popen(command, env=pybuild.environ(), stderr=subprocess.PIPE, text=True) as run:
        assert asked.wait(60)
        run.send_signal(signal.SIGINT)
        _, shown = run.communicate(timeout=30)
    assert run.returncode == 130, shown
    assert "Traceback" not in shown
    assert pybuild.run("fsck").stdout.endswith("clean\n")


@pytest.mark.parametrize("fault", ["bytes", "diff_id", "missing"])
def test_a_wrong_layer_is_refused_and_leaves_nothing(
    pybuild: Pybuild, layout: Layout, proxy: FaultProxy, fault: str
) -> None:
    layer, diff_id = layout.layer(tar_of({"etc/three": "3"}))
    image = layout.image([(layer, diff_id if fault != "diff_id" else digest_of(b"something else"))])
    layout.push(proxy.upstream, "app", image)
    if fault == "bytes":
        proxy.fault("GET", layer["digest"], lambda request: request.reply(200, bytes(layer["size"])), -1)
    if fault == "missing":
        proxy.fault("GET", layer["digest"], lambda request: request.reply(404), -1)
    shown = pybuild.run("pull", f"{proxy.host}/app", status=125).stderr
    assert (diff_id if fault == "diff_id" else layer["digest"]) in shown
    assert pybuild.run("fsck").stdout.endswith("clean\n")
    assert os.listdir(pybuild.root / "layers") == []
    assert not (pybuild.root / "blobs/sha256").exists() or os.listdir(pybuild.root / "blobs/sha256") == []


def test_what_is_no_image_is_refused(pybuild: Pybuild, layout: Layout, proxy: FaultProxy) -> None:
    chart = layout.blob(
        json.dumps({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": layout.blob(b"{}", "application/vnd.cncf.helm.config.v1+json"),
            "layers": [],
        }).encode(),
        "application/vnd.oci.image.manifest.v1+json",
    )  # fmt: skip
    layout.push(proxy.upstream, "chart", chart)
    assert "helm" in pybuild.run("pull", f"{proxy.host}/chart", status=125).stderr
    layer, diff_id = layout.layer(tar_of({"a": "a"}))
    layout.push(proxy.upstream, "odd", layout.image([(layer, diff_id), (layer, diff_id)]))
    pybuild.run("pull", f"{proxy.host}/odd")  # the same layer twice is odd, and allowed
    assert pybuild.run("cat", f"{proxy.host}/odd:/a").stdout == "a"


def test_an_image_in_a_layout_is_a_base(pybuild: Pybuild, layout: Layout) -> None:
    layout.name(base(layout), "one")
    other = layout.image([layout.layer(tar_of({"other": "o"}))])
    layout.name(other, "two")
    context = pybuild.context("FROM base\nRUN cat /etc/one > /got\nCOPY --from=more /other /\n")
    options = (f"--build-context=base=oci-layout://{layout.path}:one",)
    more = f"--build-context=more=oci-layout://{layout.path}@{other['digest']}"
    pybuild.build(context, *options, more)
    assert pybuild.sh("cat /got /other") == "1o"
    shown = pybuild.build(context, *options, f"--build-context=more=oci-layout://{layout.path}:3", status=125).shown
    assert "it has one, two" in shown
    # What is hit needs no layout any more but to tell what it holds.
    for path in (layout.path / "blobs/sha256").iterdir():
        if b"{" not in path.read_bytes()[:1]:
            path.unlink()
    assert pybuild.build(context, *options, more).outcomes() == ["HIT", "HIT"]


def test_all_tags_and_what_commands_say(pybuild: Pybuild, layout: Layout, proxy: FaultProxy) -> None:
    for tag in ("one", "two"):
        layout.push(proxy.upstream, f"app:{tag}", base(layout, config={"Labels": {"tag": tag}}))
    shown = pybuild.run("pull", "--all-tags", f"{proxy.host}/app")
    assert len(shown.stdout.split()) == 2
    listed = pybuild.run("images").stdout
    assert f"{proxy.host}/app   one" in listed
    assert f"{proxy.host}/app   two" in listed
    pybuild.run("pull", "--all-tags", f"{proxy.host}/app:one", status=2)
    assert pybuild.run("pull", f"{proxy.host}/none", status=125).stdout == ""


def test_an_image_on_a_pulled_base_is_verified_and_sent_without_its_base(
    pybuild: Pybuild, layout: Layout, proxy: FaultProxy
) -> None:
    layout.push(proxy.upstream, "app", base(layout))
    name = f"{proxy.host}/app"
    pybuild.build(pybuild.context(f"FROM {name}\nENV A=b\n"))
    pybuild.run("push", "test", f"{proxy.host}/other")
    assert layers_asked(proxy, layout) == set()
    pybuild.build(pybuild.context(f"FROM {name}\nRUN cat /etc/one > /got\n"))
    assert pybuild.run("verify", "test").returncode == 0


def test_a_copy_that_needs_nothing_of_its_base_fetches_nothing(
    pybuild: Pybuild, layout: Layout, proxy: FaultProxy
) -> None:
    layout.push(proxy.upstream, "app", base(layout))
    context = pybuild.context(f"FROM {proxy.host}/app\nCOPY --link a.txt /x/\n", a_txt="a")
    assert pybuild.build(context).outcomes() == ["RAN"]
    assert layers_asked(proxy, layout) == set()
    assert pybuild.run("cat", "test:/x/a.txt").stdout == "a"


def test_a_registry_that_is_gone_when_layers_are_needed_is_named(
    pybuild: Pybuild, layout: Layout, docker_registry: Served
) -> None:
    layout.push(docker_registry.host, "app", base(layout))
    with FaultProxy(docker_registry) as proxy:
        name = f"{proxy.host}/app"
        pybuild.build(pybuild.context(f"FROM {name}\nENV A=b\n"))
    shown = pybuild.build(pybuild.context(f"FROM {name}\nRUN cat /etc/one\n"), status=125).shown
    assert proxy.host in shown
    assert "cannot be reached" in shown
    assert pybuild.run("fsck").stdout.endswith("clean\n")


def test_the_only_manifest_is_taken_whatever_its_platform(
    pybuild: Pybuild, layout: Layout, docker_registry: Served
) -> None:
    layout.push(docker_registry.host, "app", base(layout))
    with FaultProxy(docker_registry) as proxy:
        context = pybuild.context(f"FROM --platform=linux/s390x {proxy.host}/app AS linux\nWORKDIR /w\n")
        shown = pybuild.build(context).shown
        assert (
            f"InvalidBaseImagePlatform: the base image {proxy.host}/app is for linux/amd64, not for linux/s390x"
            in shown
        )
    again = pybuild.build(context)  # the registry is gone by now
    assert again.outcomes() == ["HIT"]


def test_what_a_layer_holds_is_called_the_same_on_every_machine(
    pybuild: Pybuild, layout: Layout, docker_registry: Served
) -> None:
    """Records of shared caches name layers by what they hold, and a layer that came from elsewhere has to fit."""
    layout.name(base(layout), "one")
    context = pybuild.context(
        "FROM base\nCOPY a.txt /x/y/\nWORKDIR /w/z\nCOPY --link a.txt /tmp/\nRUN echo 1 > /etc/one\n", a_txt="a"
    )
    name = f"{docker_registry.host}/app"
    pybuild.run("-q", "--push", "-t", name, f"--build-context=base=oci-layout://{layout.path}", context)

    def layers() -> list[object]:
        return list(json.loads(pybuild.run("inspect", name).stdout)[0]["Pybuild"]["layers"])

    before = layers()
    pybuild.run("rmi", name)
    pybuild.run("prune", "-af")
    pybuild.run("pull", name)
    assert layers()[2:] == before[2:]
    assert len(before) == 6


def test_foreign_layers_come_from_where_their_descriptors_say(
    pybuild: Pybuild, layout: Layout, proxy: FaultProxy
) -> None:
    layer, diff_id = layout.layer(tar_of({"a": "far away"}))
    data = (layout.path / "blobs/sha256" / layer["digest"][7:]).read_bytes()
    layer["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    layer["urls"] = [f"http://{proxy.host}/elsewhere"]
    image = layout.image([(layer, diff_id)], docker=True)
    # A registry takes such a manifest only from where its configuration allows: the proxy plays one that has it.
    for descriptor in (image, json.loads((layout.path / "blobs/sha256" / image["digest"][7:]).read_bytes())["config"]):
        found = (layout.path / "blobs/sha256" / descriptor["digest"][7:]).read_bytes()
        pattern = "/manifests/" if descriptor is image else descriptor["digest"]

        def reply(request: Any, found: bytes = found, kind: str = descriptor["mediaType"]) -> None:
            request.reply(200, found, Content_Type=kind)

        proxy.fault("GET", pattern, reply, -1)
    proxy.fault("GET", "^/elsewhere", lambda request: request.reply(200, data), -1)
    pybuild.run("pull", f"{proxy.host}/app")
    assert len(proxy.asked("GET", "^/elsewhere")) == 1
    assert pybuild.run("cat", f"{proxy.host}/app:/a").stdout == "far away"
