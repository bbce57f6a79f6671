"""Times in images: SOURCE_DATE_EPOCH, file times, and whether an image can be built again."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import time
from typing import TYPE_CHECKING

import pytest

from .conftest import Pybuild

if TYPE_CHECKING:
    from pathlib import Path

    from tests.warm import WarmCommand

pytestmark = pytest.mark.root

EPOCH = 1_600_000_000
TEXT = "FROM busybox\nWORKDIR /w\nCOPY a.txt .\nRUN mkdir d && cat a.txt >d/x && ln d/x y && ln -s y z\nENV A=1\n"


@pytest.fixture(scope="module")
def two_stores(tmp_path_factory: pytest.TempPathFactory, warm: WarmCommand) -> list[Pybuild]:
    """Give two stores with the same base and the same context, made at different times."""
    found = []
    for name, mtime in (("one", 1_700_000_000), ("two", 1_710_000_000)):
        work = tmp_path_factory.mktemp(name)
        pybuild = Pybuild(work / "state", work, warm=warm)
        pybuild.run("bootstrap", "busybox")
        context = pybuild.context(TEXT, a_txt="hi\n")
        os.utime(context / "a.txt", (mtime, mtime))
        found.append(pybuild)
    return found


def digests(stores: list[Pybuild], name: str) -> set[str]:
    """Give the digests that a file has in the stores' directories."""
    return {hashlib.sha256((pybuild.work / name).read_bytes()).hexdigest() for pybuild in stores}


def test_two_stores_write_the_same_archives(two_stores: list[Pybuild]) -> None:
    kinds = ("oci", "docker", "tar")
    outputs = [word for kind in kinds for word in ("-o", f"type={kind},dest={kind}.tar")]
    for pybuild in two_stores:
        pybuild.build(pybuild.work / "context", f"--source-date-epoch={EPOCH}", "--rewrite-timestamp", *outputs)
    assert {kind: len(digests(two_stores, f"{kind}.tar")) for kind in kinds} == dict.fromkeys(kinds, 1)


def test_the_attribute_of_an_output_rewrites_that_one(two_stores: list[Pybuild]) -> None:
    for pybuild in two_stores:
        outputs = ("-o", "type=oci,dest=new.tar,rewrite-timestamp=true", "-o", "type=oci,dest=old.tar")
        pybuild.build(pybuild.work / "context", *outputs, SOURCE_DATE_EPOCH=str(EPOCH))
    assert len(digests(two_stores, "new.tar")) == 1
    assert len(digests(two_stores, "old.tar")) == 2


def test_no_time_is_later_and_the_base_is_left_alone(busybox: Pybuild) -> None:
    context = busybox.context(TEXT, a_txt="hi\n")
    os.utime(context / "a.txt", (1_500_000_000, 1_500_000_000))
    busybox.build(
        context, "--source-date-epoch", EPOCH, "--rewrite-timestamp", "-o", "type=oci,dest=out,tar=false", "-o", "tree"
    )
    out = busybox.work / "out"

    def blob(reference: dict[str, str]) -> Path:
        return out / "blobs/sha256" / reference["digest"].removeprefix("sha256:")

    index = json.loads((out / "index.json").read_text())
    manifest = json.loads(blob(index["manifests"][0]).read_text())
    config = json.loads(blob(manifest["config"]).read_text())
    base = json.loads(busybox.run("inspect", "busybox").stdout)[0]["Pybuild"]
    assert config["rootfs"]["diff_ids"][0] == base["layers"][0]["diff_id"]
    limit = "2020-09-13T12:26:40Z"
    assert config["created"] == limit
    assert {item["created"] for item in config["history"][1:]} == {limit}
    times: dict[str, float] = {}
    for layer in manifest["layers"][1:]:
        with tarfile.open(blob(layer)) as tar:
            times |= {member.name: member.mtime for member in tar}
    assert times["w/a.txt"] == 1_500_000_000, "what is older stays"
    assert {time for name, time in times.items() if name != "w/a.txt"} == {EPOCH}
    assert int((busybox.work / "tree/w/d/x").stat().st_mtime) == EPOCH


def test_an_image_is_as_old_as_the_newest_result_of_its_steps(busybox: Pybuild) -> None:
    """Empty layers are there once, and may be much older than the steps that share them."""

    def times(name: str) -> tuple[list[str], str]:
        image = json.loads(busybox.run("inspect", name).stdout)[0]["Pybuild"]
        return [entry["created"] for entry in image["history"]], image["created"]

    busybox.build(busybox.context("FROM busybox\nRUN true\n"))
    (_, oldest), _ = times("test")
    text = "FROM busybox\nRUN echo 1 > /x\nENV A=b\nRUN true\n"
    busybox.build(busybox.context(text))
    history, created = times("test")
    assert oldest < history[1] == history[2] < history[3] == created
    busybox.build(busybox.context(text), "--no-cache", "-t", "again")
    assert times("again") == (history, created)


def test_the_epoch_is_a_build_argument_and_steps_are_shared_without_it(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nRUN echo 1 >/x\nARG SOURCE_DATE_EPOCH\nRUN echo $SOURCE_DATE_EPOCH >/e\n")
    busybox.build(context)
    built = busybox.build(context, SOURCE_DATE_EPOCH=str(EPOCH))
    assert built.outcomes() == ["HIT", "RAN"]
    assert busybox.sh("cat /e") == f"{EPOCH}\n"
    shown = busybox.build(busybox.context("FROM busybox\nRUN echo 2 >/x\n"), SOURCE_DATE_EPOCH=str(EPOCH)).shown
    assert "nothing in the build file declares" not in shown


def test_wrong_times_are_refused_before_anything_is_built(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nRUN echo 1 >/x\n")
    assert "seconds since 1970" in busybox.run("--source-date-epoch=yesterday", context, status=2).stderr
    assert "needs a time" in busybox.run("--rewrite-timestamp", context, status=2).stderr
    output = "type=oci,dest=out.tar,rewrite-timestamp=true"
    assert "needs a time" in busybox.run("-o", output, context, status=2).stderr
    assert busybox.build(context).outcomes() == ["RAN"]


# verify


def test_what_can_be_built_again_is_the_same(busybox: Pybuild) -> None:
    text = "FROM busybox\nARG WHO\nCOPY a.txt /\nRUN echo $WHO >/who\nLABEL a=b\nFROM scratch\n"
    context = busybox.context(text, a_txt="hi\n")
    busybox.build(context, "--target=0", "--build-arg=WHO=me", "--label=c=d", "--source-date-epoch", EPOCH)
    before = busybox.run("images").stdout
    result = busybox.run("verify", "--progress=plain", "test")
    assert result.stdout.endswith("the same again\n")
    assert "3 executed" in result.stderr or "2 executed" in result.stderr
    assert busybox.run("images").stdout == before
    assert json.loads(busybox.run("verify", "test", "--format=json").stdout)["same"] is True


def test_what_differs_is_shown_file_by_file(busybox: Pybuild) -> None:
    busybox.build(busybox.context("FROM busybox\nRUN cat /proc/sys/kernel/random/uuid >/id; echo same >/same\n"))
    before = busybox.run("images").stdout
    result = busybox.run("verify", "test", status=1)
    assert result.stdout.splitlines()[0] == "C /id  (content)"
    assert "/same" not in result.stdout
    assert result.stdout.endswith("not the same again\n")
    assert busybox.run("images").stdout == before
    found = json.loads(busybox.run("verify", "--format=json", "test", status=1).stdout)
    assert [change["path"] for change in found["changes"]] == ["id"]


def test_changed_input_is_named(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nCOPY a.txt /\n", a_txt="1")
    busybox.build(context)
    (context / "a.txt").write_text("2")
    (context / "Buildfile").write_text("FROM scratch\n")
    shown = busybox.run("verify", "test", status=1).stdout
    assert "Buildfile has changed" in shown
    assert "C /a.txt  (content)" in shown


def test_only_what_was_built_here_can_be_verified(busybox: Pybuild) -> None:
    assert "not known how" in busybox.run("verify", "busybox", status=125).stderr


def test_nothing_secret_is_kept_of_the_input(busybox: Pybuild) -> None:
    (busybox.work / "secret").write_text("hunter2")
    context = busybox.context("FROM busybox\nRUN --mount=type=secret,id=s,required cat /run/secrets/s | wc -c >/n\n")
    options = ("--secret=id=s,src=secret", "--build-arg=HTTP_PROXY=http://user:hunter2@proxy")
    busybox.build(context, *options)
    for directory, _, names in os.walk(busybox.root):
        for name in names:
            path = os.path.join(directory, name)
            if not os.path.islink(path):
                with open(path, "rb") as file:
                    assert b"hunter2" not in file.read(), path
    assert "secret `s` is required" in busybox.run("verify", "test", status=125).stderr
    assert "the same again" in busybox.run("verify", "--secret=id=s,src=secret", "test").stdout


def test_verify_does_not_build_on_the_layers_of_the_first_time(busybox: Pybuild) -> None:
    """A file made of another one's time is not the same again; the cache stays as it was."""
    touch = "touch -d @$(tr -d . < /proc/uptime | cut -d' ' -f1) /a"
    context = busybox.context(f"FROM busybox\nRUN {touch}\nRUN stat -c %Y /a > /time\nRUN echo 1 > /same\n")
    busybox.build(context)
    before = busybox.run("images", "--format=json").stdout
    said = busybox.run("verify", "test", status=1).stdout
    assert "/time" in said
    assert "/same" not in said
    assert "not the same again" in said
    assert busybox.build(context).outcomes() == ["HIT"] * 3
    assert busybox.run("images", "--format=json").stdout == before
    assert "clean" in busybox.run("fsck").stdout


def test_an_equivalent_result_leaves_the_earlier_layer(busybox: Pybuild) -> None:
    """Times that a step stamps by itself do not tell two results apart, and those that it sets do."""

    def layers(text: str, content: str, *options: str) -> list[str]:
        busybox.build(busybox.context(f"FROM busybox\nCOPY a /a\n{text}", a=content), *options)
        return [layer["diff_id"] for layer in json.loads(busybox.run("inspect", "test").stdout)[0]["Pybuild"]["layers"]]

    text = "RUN mkdir /d && head -c 5 /a > /d/f && touch -d @100 /d/g\n"
    first = layers(text, "same\n1")
    made = int(time.time())
    while int(time.time()) == made:  # in the same second it would be the same layer
        time.sleep(0.01)
    assert layers(text, "same\n1", "--no-cache") == first
    changed = layers(text, "same\n2")
    assert (changed[1] != first[1], changed[2:]) == (True, first[2:])
    assert layers(text.replace("@100", "@101"), "same\n2")[2] != first[2]
    assert list((busybox.root / "staging").iterdir()) == []
