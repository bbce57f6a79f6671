"""COPY of very many small files: kept as a tar, as a patch of the last build's, and as trees where something looks."""

from __future__ import annotations

import json
import os
import sqlite3
import tarfile
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.end_to_end.conftest import Pybuild

MANY = 640
LEAF = "FROM busybox\nCOPY tree /tree\n"
OPENED = (
    LEAF
    + """RUN find /tree ! -type d | sort | xargs stat -c '%n %f %u %g %s %Y %h' > /seen \\
 && find /tree -type d | sort | xargs stat -c '%n %f %u %g %Y' >> /seen \\
 && find /tree -type f | sort | xargs md5sum >> /seen && find /tree -type f | wc -l > /count && cat /tree/d1/f1 > /one
"""
)


def fill(context: Path, name: str = "tree") -> Path:
    tree = context / name
    for number in range(MANY):
        path = tree / f"d{number % 8}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name} {number}\n" * (number % 90))
        os.utime(path, (1_000_000 + number, 1_000_000 + number))
    (tree / "d0/link").symlink_to("f0")
    (tree / "d0/empty").mkdir()
    for path in [*tree.rglob("*"), tree]:
        if path.is_dir():
            os.utime(path, (1_000_000, 1_000_000))
    return tree


def forms(pybuild: Pybuild) -> list[str]:
    """Say how the layers are kept."""
    kept = ("fs", "tar", "patch", "delta")
    homes = (pybuild.root / "layers").iterdir()
    return sorted("+".join(sorted(one.name for one in home.iterdir() if one.name in kept)) for home in homes)


def diff_ids(pybuild: Pybuild, image: str = "test") -> list[str]:
    return [layer["diff_id"] for layer in json.loads(pybuild.run("inspect", image).stdout)[0]["Pybuild"]["layers"]]


def afresh(pybuild: Pybuild, context: Path, root: Path) -> Pybuild:
    """Build in a store of its own, which has nothing that a patch could be one of."""
    other = replace(pybuild, root=root)
    root.mkdir()
    os.chown(root, pybuild.owner, pybuild.owner)
    other.run("bootstrap", "busybox")
    other.build(context)
    return other


@pytest.mark.either_user
def test_a_copy_that_nothing_runs_on_is_a_tar_and_then_patches_of_it(busybox: Pybuild, tmp_path: Path) -> None:
    context = busybox.context(LEAF)
    tree = fill(context)
    busybox.build(context)
    assert forms(busybox) == ["fs", "tar"]
    (tree / "d1/f1").write_text("changed\n")
    (tree / "d2/f2").unlink()
    (tree / "d2/new").write_text("new\n")
    built = busybox.build(context)
    assert "tree/d1/f1 changed, and 2 more" in built.shown
    assert forms(busybox) == ["fs", "patch", "tar"]
    [patch] = (busybox.root / "layers").glob("*/patch")
    assert patch.stat().st_size < 10_000
    assert diff_ids(busybox) == diff_ids(afresh(busybox, context, tmp_path / "afresh"))
    seen = busybox.sh("cat /tree/d1/f1 /tree/d2/new; ls /tree/d0; ls /tree/d2/f2; find /tree -type f | wc -l").split()
    names = sorted(["empty", "link", *(f"f{number}" for number in range(0, MANY, 8))])
    assert seen == ["changed", "new", *names, str(MANY)]
    assert forms(busybox) == ["delta+patch", "fs", "fs+tar"]
    assert "clean" in busybox.run("fsck").stdout


@pytest.mark.either_user
def test_a_container_sees_each_change_over_the_first_tree(busybox: Pybuild, tmp_path: Path) -> None:
    context = busybox.context(OPENED)
    tree = fill(context)
    busybox.build(context)
    assert forms(busybox) == ["fs", "fs", "fs"], "a container ran on it"
    for turn in range(2):
        (tree / "d1/f1").write_text(f"changed {turn}\n")
        (tree / f"d2/new{turn}").write_text("new\n")
        (tree / f"d3/f{3 + 8 * turn}").unlink()
        os.utime(tree / "d4/f4", (turn, turn))
        (tree / "d5/f5").chmod([0o664, 0o755][turn])
        built = busybox.build(context)
        assert built.outcomes() == ["RAN", "RAN"]
        assert "fs+tar" in forms(busybox)
        assert forms(busybox).count("delta+patch") == turn + 1
        # A listing of all names, modes, sizes and times, made in the container, is part of the second layer.
        assert busybox.sh("cat /one /count").split() == ["changed", str(turn), str(MANY)]
        first = busybox.sh("cat /seen")
        other = afresh(busybox, context, tmp_path / f"other{turn}")
        assert first == other.sh("cat /seen")
        assert diff_ids(busybox)[1] == diff_ids(other)[1]
    assert busybox.build(context).outcomes() == ["HIT", "HIT"]
    assert "clean" in busybox.run("fsck").stdout


def test_what_a_layer_no_longer_has_shows_from_below(busybox: Pybuild) -> None:
    """A whiteout over the old tree would hide what the layers below have there: then a whole tree is made."""
    context = busybox.context("FROM busybox\nCOPY below /tree\nCOPY tree /tree\nRUN cat /tree/d1/f1 > /seen\n")
    tree = fill(context)
    fill(context, "below")
    busybox.build(context)
    (tree / "d1/f1").unlink()
    busybox.build(context)
    assert busybox.sh("cat /seen /tree/d1/f1") == "below 1\n" * 2
    assert busybox.run("cat", "test:/tree/d1/f1").stdout == "below 1\n"
    (tree / "d2/f2").write_text("changed\n")
    busybox.build(context)
    assert busybox.sh("cat /seen /tree/d2/f2") == "below 1\nchanged\n"


def test_other_stages_and_outputs_read_files_of_tars_and_patches(busybox: Pybuild) -> None:
    context = busybox.context(
        "FROM busybox AS many\nCOPY tree /tree\n"
        "FROM scratch\nCOPY --from=many /tree/d1 /d1\nCOPY --from=many /tree /all\n"
    )
    tree = fill(context)
    busybox.build(context)
    (tree / "d1/f1").write_text("changed\n")
    busybox.build(context, "-o", "type=local,dest=out", "-o", "type=tar,dest=out.tar")
    for path in tree.rglob("f*"):
        copied = busybox.work / "out/all" / path.relative_to(tree)
        assert copied.read_bytes() == path.read_bytes()
        assert copied.stat().st_mtime_ns // 10**9 == path.stat().st_mtime_ns // 10**9
    assert (busybox.work / "out/d1/f1").read_text() == "changed\n"
    with tarfile.open(busybox.work / "out.tar") as tar:
        assert sum(one.isfile() for one in tar) == MANY + MANY // 8
    busybox.run("cp", "test:/all/d1", busybox.work / "taken")
    assert (busybox.work / "taken/f1").read_text() == "changed\n"
    assert busybox.run("cat", "test:/all/d3/f3").stdout == (tree / "d3/f3").read_text()


def test_damage_of_the_tar_below_is_noticed_and_mended(busybox: Pybuild) -> None:
    context = busybox.context(LEAF)
    tree = fill(context)
    busybox.build(context)
    [tar] = (busybox.root / "layers").glob("*/tar")
    data = bytearray(tar.read_bytes())
    data[data.index(b"tree 100\n")] ^= 1
    tar.write_bytes(data)
    (tree / "d1/f1").write_text("changed\n")
    built = busybox.build(context)
    assert "has changed since it was written; what it holds is copied again" in built.shown
    assert busybox.sh("cat /tree/d1/f1 /tree/d4/f100 | sort -u") == "changed\ntree 100\n"
    found = busybox.run("fsck", status=1).stdout
    assert f"layer sha256:{tar.parent.name}: its content has the digest" in found
    busybox.run("fsck", "--repair")
    assert "clean" in busybox.run("fsck").stdout
    assert busybox.sh("cat /tree/d4/f100 | sort -u") == "tree 100\n"


def test_trees_that_were_made_of_tars_are_checked_and_made_again(busybox: Pybuild) -> None:
    context = busybox.context(LEAF)
    tree = fill(context)
    busybox.build(context)
    (tree / "d1/f1").write_text("changed\n")
    busybox.build(context)
    busybox.sh("true")
    [delta] = (busybox.root / "layers").glob("*/delta")
    (delta / "tree/d1/f1").write_text("damaged\n")
    found = busybox.run("fsck", status=1).stdout
    assert f"layer sha256:{delta.parent.name}: " in found
    assert "removed its tree, which is made again of its tar" in busybox.run("fsck", "--repair").stdout
    assert not delta.exists()
    assert busybox.sh("cat /tree/d1/f1") == "changed\n"


def test_a_power_cut_takes_trees_and_leaves_tars(busybox: Pybuild) -> None:
    context = busybox.context(LEAF)
    fill(context)
    busybox.build(context)
    busybox.sh("true")
    [tar] = (busybox.root / "layers").glob("*/tar")
    (tar.parent / "fs/tree/d1/f1").write_text("")
    with closing(sqlite3.connect(busybox.root / "state.db", isolation_level=None)) as database:
        database.execute("UPDATE layers SET boot = 'another'")
    assert busybox.sh("cat /tree/d1/f1") == "tree 1\n"
    assert busybox.build(context).outcomes() == ["HIT"]


def test_prune_keeps_what_a_patch_is_one_of(busybox: Pybuild) -> None:
    context = busybox.context(LEAF)
    tree = fill(context)
    busybox.build(context)
    (tree / "d1/f1").write_text("changed\n")
    busybox.build(context)
    busybox.run("prune")
    assert forms(busybox) == ["fs", "patch", "tar"]
    assert busybox.sh("cat /tree/d1/f1 /tree/d3/f3 | sort -u") == "changed\ntree 3\n"
    (tree / "d1/f1").write_text("changed again\n")
    busybox.build(context)
    busybox.run("prune")
    assert len(forms(busybox)) == 3
    busybox.run("rmi", "test")
    busybox.run("prune", "--all")
    assert forms(busybox) == []


def test_a_lost_database_takes_patches_back(busybox: Pybuild) -> None:
    context = busybox.context(LEAF)
    tree = fill(context)
    busybox.build(context)
    (tree / "d1/f1").write_text("changed\n")
    busybox.build(context)
    (busybox.root / "state.db").write_bytes(b"no database" * 500)
    for end in ("-wal", "-shm"):
        (busybox.root / f"state.db{end}").unlink(missing_ok=True)
    assert busybox.run("fsck", "--repair").stdout.count("taken back") == 3
    assert "clean" in busybox.run("fsck").stdout
    busybox.run("bootstrap", "busybox")
    busybox.build(context)
    assert forms(busybox) == ["fs", "patch", "tar"]
    assert busybox.sh("cat /tree/d1/f1") == "changed\n"


@pytest.mark.parametrize("text", [LEAF, OPENED], ids=["leaf", "opened"])
def test_a_checkout_with_new_times_is_no_patch(busybox: Pybuild, text: str) -> None:
    context = busybox.context(text)
    tree = fill(context)
    busybox.build(context)
    for path in tree.rglob("f*"):
        os.utime(path, (3_000_000, 3_000_000))
    assert set(busybox.build(context).outcomes()) == {"HIT"}
    (tree / "d1/f1").write_text("changed\n")
    busybox.build(context)
    assert forms(busybox) == (["fs", "tar", "tar"] if text == LEAF else ["fs"] * 5)
    assert busybox.sh("stat -c %Y /tree/d2/f2; cat /tree/d1/f1") == "3000000\nchanged\n"


@pytest.mark.parametrize("how", ["a power cut", "fsck"])
def test_a_damaged_tar_beside_a_whole_tree_costs_no_layer(busybox: Pybuild, how: str) -> None:
    """The first build's tree got a tar when the second one was built."""
    context = busybox.context(OPENED)
    tree = fill(context)
    busybox.build(context, "-t", "first")
    (tree / "d1/f1").write_text("changed\n")
    busybox.build(context)
    [tar] = (busybox.root / "layers").glob("*/tar")
    tar.write_bytes(tar.read_bytes()[:10_000])
    if how == "fsck":
        assert "beside which its tree is whole" in busybox.run("fsck", "--repair").stdout
    else:
        with closing(sqlite3.connect(busybox.root / "state.db", isolation_level=None)) as database:
            database.execute("UPDATE layers SET boot = 'another'")
    assert busybox.sh("cat /tree/d1/f1", "first") == "tree 1\n"
    assert not tar.exists()
    busybox.build(context)
    assert busybox.sh("cat /tree/d1/f1") == "changed\n"
    assert "clean" in busybox.run("fsck").stdout
