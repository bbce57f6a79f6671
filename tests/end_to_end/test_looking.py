"""Looking into images through the command: history, layers, diff, cat, cp, mount, du."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from .conftest import PYBUILD

if TYPE_CHECKING:
    from .conftest import Pybuild

pytestmark = pytest.mark.root

TEXT = r"""
FROM busybox
WORKDIR /srv
COPY a.txt .
RUN dd if=/dev/zero of=/big bs=1000 count=50 2>/dev/null; mkdir d; echo x >d/x; \
    ln d/x d/y; ln -s ../a.txt d/link; chmod 700 d
RUN rm /big; chmod 600 a.txt; echo new >d/x; rm -r /home
ENV A=1
LABEL who=me
"""


@pytest.fixture
def built(busybox: Pybuild) -> Pybuild:
    busybox.build(busybox.context(TEXT, a_txt="hi\n"))
    return busybox


def read_json(pybuild: Pybuild, *arguments: object, status: int = 0) -> object:
    return json.loads(pybuild.run(*arguments, "--format=json", status=status).stdout)


def test_history_has_a_line_for_each_instruction_the_newest_first(built: Pybuild) -> None:
    lines = built.run("history", "test").stdout.splitlines()
    assert [line.rsplit("  ", 1)[-1].split()[0] for line in lines] == [
        "CREATED", "LABEL", "ENV", "RUN", "RUN", "COPY", "WORKDIR", "BOOTSTRAP",
    ]  # fmt: skip
    assert "…" in lines[4]
    full = built.run("history", "--no-trunc", "test").stdout
    assert "chmod 700 d" in full
    found = read_json(built, "history", "test")
    assert isinstance(found, list)
    assert [line["size"] > 0 for line in found] == [bool(line["diff_id"]) for line in found]
    assert found[1]["created_by"] == "ENV A=1"


def test_layers_tell_what_each_does_and_what_is_wasted(built: Pybuild) -> None:
    found = read_json(built, "layers", "test")
    assert isinstance(found, dict)
    counts = [(layer["added"], layer["changed"], layer["removed"], layer["wasted"]) for layer in found["layers"]]
    assert counts[1:] == [(1, 0, 0, 0), (1, 0, 0, 0), (5, 0, 0, 0), (0, 2, 2, 50_005)]
    assert counts[0][0] > 100
    assert [one["path"] for one in found["hidden"]] == ["big", "srv/a.txt", "srv/d/x"]
    assert found["largest"][1] == {"path": "big", "size": 50_000, "layer": 3}
    shown = built.run("layers", "test").stdout
    assert "   50kB  /big" in shown
    assert "   50kB  #3  /big" in shown


def test_diff_shows_files_and_config_and_ends_as_diff_does(built: Pybuild) -> None:
    other = TEXT.replace("echo new >d/x", "echo newer >d/x; rm d/link; touch more").replace("A=1", "A=2\nUSER 7")
    built.run("-t", "other", built.context(other, a_txt="hi\n"))
    assert built.run("diff", "test", "test").stdout == ""
    assert built.run("diff", "test", "other", status=1).stdout.splitlines() == [
        "D /srv/d/link",
        "C /srv/d/x  (size 4 -> 6, content)",
        "A /srv/more",
        'config Env A: "1" -> "2"',
        'config User: unset -> "7"',
    ]
    found = read_json(built, "diff", "other", "test", status=1)
    assert isinstance(found, dict)
    assert [(one["kind"], one["path"]) for one in found["files"]] == [
        ("A", "srv/d/link"), ("C", "srv/d/x"), ("D", "srv/more"),
    ]  # fmt: skip
    assert {"name": "Env A", "before": "2", "now": "1"} in found["config"]


def test_cat_follows_links_inside_of_the_image_only(built: Pybuild) -> None:
    context = built.context("FROM test\nRUN ln -s /etc/hostname /srv/out && ln -s /srv/none /srv/dangling\n")
    built.build(context)
    assert built.run("cat", "test:/srv/d/link", "test:latest:/srv/d/x").stdout == "hi\nnew\n"
    assert "is not a regular file but a dir" in built.run("cat", "test:/srv", status=2).stderr
    assert "there is no /srv/out in the image" in built.run("cat", "test:/srv/out", status=125).stderr
    assert "there is no /srv/dangling" in built.run("cat", "test:/srv/dangling", status=125).stderr
    assert "did you mean test" in built.run("cat", "tset:/srv/d/x", status=125).stderr
    assert "NAME:/path" in built.run("cat", "test", status=2).stderr


def test_cat_writes_every_byte(busybox: Pybuild) -> None:
    content = bytes(range(256)) * 5000
    busybox.build(busybox.context("FROM scratch\nCOPY a.txt /\n", a_txt=content))
    result = subprocess.run([PYBUILD, "cat", "test:/a.txt"], check=True, capture_output=True, env=busybox.environ())
    assert result.stdout == content


def test_cp_copies_as_docker_does(built: Pybuild) -> None:
    work = built.work
    built.run("cp", "test:/srv", "new")
    assert sorted(os.listdir(work / "new")) == ["a.txt", "d"]
    assert os.stat(work / "new/d").st_mode & 0o777 == 0o700
    assert os.readlink(work / "new/d/link") == "../a.txt"
    built.run("cp", "test:/srv/d", "new")
    built.run("cp", "test:/srv/d/.", "new")
    assert sorted(os.listdir(work / "new")) == ["a.txt", "d", "link", "x", "y"]
    built.run("cp", "test:/srv/d/link", "link")
    assert os.readlink(work / "link") == "../a.txt"
    built.run("cp", "-L", "test:/srv/d/link", "file")
    assert (work / "file").read_text() == "hi\n"
    assert os.stat(work / "file").st_mode & 0o777 == 0o600
    archive = subprocess.run([PYBUILD, "cp", "test:/srv/d", "-"], check=True, capture_output=True, env=built.environ())
    (work / "d.tar").write_bytes(archive.stdout)
    with tarfile.open(work / "d.tar") as tar:
        assert tar.getnames() == ["d", "d/link", "d/x", "d/y"]
    assert "is not a directory" in built.run("cp", "test:/srv", "file", status=125).stderr
    assert "there is no directory" in built.run("cp", "test:/srv/a.txt", "none/", status=125).stderr
    assert "there is no directory" in built.run("cp", "test:/srv/a.txt", "none/x", status=125).stderr
    assert "no /nope" in built.run("cp", "test:/nope", ".", status=125).stderr


def test_hard_links_stay_together_when_they_are_copied(busybox: Pybuild) -> None:
    busybox.build(busybox.context("FROM busybox\nRUN mkdir /d && echo 1 >/d/a && ln /d/a /d/b && ln /d/a /c\n"))
    busybox.run("cp", "test:/d", "d")
    a, b = (os.stat(busybox.work / "d" / name) for name in "ab")
    assert (busybox.work / "d/a").read_text() == (busybox.work / "d/b").read_text() == "1\n"
    assert a.st_ino == b.st_ino or a.st_nlink == 1, "the file's first name is outside: two files are all right"
    busybox.run("cp", "test:/c", "c")
    assert (busybox.work / "c").read_text() == "1\n"


def test_a_mounted_image_stays_until_it_is_taken_away(built: Pybuild) -> None:
    directory = built.work / "mounted"
    directory.mkdir()
    assert built.run("mount", "test", directory).stdout == f"{directory}\n"
    try:
        built.run("rmi", "test")
        built.run("prune", "--all")
        assert sorted(os.listdir(directory / "srv/d")) == ["link", "x", "y"]
        assert not (directory / "big").exists()
        with pytest.raises(OSError, match="Read-only"):
            (directory / "new").touch()
    finally:
        built.run("umount", directory)
    assert os.listdir(directory) == []
    assert "no image is mounted" in built.run("umount", directory, status=125).stderr
    built.run("prune")
    assert os.listdir(built.root / "layers") == []


def test_an_image_that_holds_a_layer_twice(busybox: Pybuild) -> None:
    """The lower of the two is never seen, and overlayfs takes none twice."""
    busybox.build(busybox.context("FROM busybox\nCOPY a /a\nCOPY a /a\n", a="a"))
    for isolation in ("container", "chroot"):
        run = ("run", f"--isolation={isolation}", "--network=none" if isolation == "container" else "--network=host")
        assert busybox.run(*run, "test", "cat", "/a").stdout == "a"
    directory = busybox.work / "mounted"
    directory.mkdir()
    busybox.run("mount", "test", directory)
    try:
        assert (directory / "a").read_text() == "a"
    finally:
        busybox.run("umount", directory)


def test_an_image_of_one_layer_can_be_mounted(busybox: Pybuild) -> None:
    directory = busybox.work / "mounted"
    directory.mkdir()
    busybox.run("mount", "busybox", directory)
    try:
        assert (directory / "bin/busybox").exists()
        assert "already" in busybox.run("mount", "busybox", directory, status=2).stderr
    finally:
        busybox.run("umount", directory)


def test_du_counts_real_blocks_once(built: Pybuild) -> None:
    built.run("-t", "other", built.context(TEXT.replace("echo new", "echo other"), a_txt="hi\n"))
    found = read_json(built, "du")
    assert isinstance(found, dict)
    images = {image["names"][0]: image for image in found["images"]}
    test, other, base = images["test:latest"], images["other:latest"], images["busybox:latest"]
    assert test["shared"] == other["shared"] > base["shared"] > 0
    assert base["private"] == 0
    assert test["private"] > 0
    layers = subprocess.run(
        ["du", "-s", "--block-size=1", *(str(path / part) for path in (built.root / "layers").iterdir()
         for part in ("fs", "inventory"))],
        check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    assert found["parts"]["layers"] == sum(int(line.split()[0]) for line in layers)
    assert found["cache"] == {"layers": 0, "disk": 0}
    built.run("rmi", "other")
    after = read_json(built, "du")
    assert isinstance(after, dict)
    assert after["cache"] == {"layers": 1, "disk": other["private"]}
    built.run("tag", "test", "other", "third")
    assert "busybox:latest" in (short := built.run("du").stdout)
    assert "other:latest and 2 more" in short
    shown = built.run("du", "-v").stdout
    assert "third:latest" in shown
    assert "test:latest" in shown
    assert shown.splitlines()[-1].startswith("total")
