"""Capture, unpacking and the merged view against the kernel's own overlay."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildah_py.errors import ArchiveError
from buildah_py.layers.apply import unpack
from buildah_py.layers.capture import capture
from buildah_py.layers.entry import DIR, FILE, SECOND, WHITEOUT, Entry
from buildah_py.layers.inventory import Captured, Inventory
from buildah_py.layers.stamps import CLOCK, Stamps
from buildah_py.layers.tar import pack
from buildah_py.layers.tidy import tidy
from buildah_py.layers.view import LayerTree, MergedView
from tests.layers.layer_trees import CHANGES, PATHS, Change, as_asked, ask, change, look, overlay

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root


def run_step(lowers: list[Path], upper: Path, changes: list[Change], *, userxattr: bool = False) -> None:
    upper.mkdir()
    shutil.copymode(lowers[0], upper)
    with overlay(lowers, upper, userxattr=userxattr) as merged:
        change(merged, changes)


def packed(captured: Captured, fs: Path) -> bytes:
    out = io.BytesIO()
    assert pack(captured.inventory, str(fs), out.write) == captured.diff_id
    assert out.tell() == captured.size
    return out.getvalue()


def seconds(inventory: Inventory) -> Inventory:
    return Inventory(entry._replace(mtime=entry.mtime // 10**9 * 10**9) for entry in inventory)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(CHANGES, min_size=1, max_size=3), userxattr=st.booleans())
def test_layers_of_random_steps_show_what_the_overlay_showed(steps: list[list[Change]], *, userxattr: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        base = top / "base"
        base.mkdir(mode=0o755)
        ours, theirs = [base], [base]
        trees = [LayerTree(str(base), Inventory())]
        for number, changes in enumerate(steps):
            upper, copy = top / f"upper{number}", top / f"copy{number}"
            run_step(ours, upper, changes, userxattr=userxattr)
            before = MergedView(trees).entry("")
            assert before is not None
            captured = capture(str(upper), list(map(str, ours)), userxattr=userxattr)
            data = packed(captured, upper)
            copy.mkdir()
            again = unpack(io.BytesIO(data), str(copy), userxattr=userxattr, expect_diff_id=captured.diff_id)
            assert again.inventory == seconds(captured.inventory)
            assert again.inventory.layer_digest == captured.inventory.layer_digest
            if captured.inventory.get("") is None:
                copy.chmod(before.mode)  # as the engine gives a new layer's root what the chain's is
                os.chown(copy, before.uid, before.gid)
            ours.insert(0, upper)
            theirs.insert(0, copy)
            trees.insert(0, LayerTree(str(upper), captured.inventory))
            with overlay(ours, None, userxattr=userxattr) as merged:
                wanted = look(merged)
            with overlay(theirs, None, userxattr=userxattr) as merged:
                assert look(merged) == wanted
            assert ask(MergedView(trees)) == as_asked(wanted)


@settings(max_examples=25, deadline=None)
@given(changes=CHANGES)
def test_only_real_changes_are_captured(changes: list[Change]) -> None:
    """Touching everything without changing it captures nothing."""
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        base, middle, upper = top / "base", top / "middle", top / "upper"
        base.mkdir(mode=0o755)
        run_step([base], middle, changes)
        upper.mkdir()
        shutil.copymode(middle, upper)
        with overlay([middle, base], upper) as merged:
            for path in look(merged):
                real = merged / path
                if path and not real.is_symlink():
                    real.chmod(real.stat().st_mode & 0o7777)
        linked = {entry.path for entry in capture(str(middle), [str(base)]).inventory if entry.kind == "hardlink"}
        captured = capture(str(upper), [str(middle), str(base)])
        assert linked or not captured.inventory.entries


def build(top: Path, *, lower: str, step: str) -> Captured:
    """Capture what the shell lines `step` did to what the shell lines `lower` made."""
    base, upper = top / "base", top / "upper"
    base.mkdir()
    upper.mkdir()
    subprocess.run(["sh", "-euc", lower], cwd=base, check=True)
    with overlay([base], upper) as merged:
        subprocess.run(["sh", "-euc", step], cwd=merged, check=True)
    captured = capture(str(upper), [str(base)])
    packed(captured, upper)
    return captured


def shown(captured: Captured) -> list[tuple[str, str]]:
    return [(entry.path, entry.kind) for entry in captured.inventory]


def test_a_directory_made_anew_hides_each_old_child(tmp_path: Path) -> None:
    captured = build(
        tmp_path,
        lower="mkdir -p d/sub; touch d/old d/same d/sub/deep",
        step="rm -r d; mkdir -p d/sub; echo new > d/same",
    )
    assert shown(captured) == [
        ("d", DIR),
        ("d/old", WHITEOUT),
        ("d/same", "file"),
        ("d/sub", DIR),
        ("d/sub/deep", WHITEOUT),
    ]


def test_what_was_made_and_removed_leaves_no_whiteout(tmp_path: Path) -> None:
    captured = build(tmp_path, lower="mkdir d", step="touch d/f; rm d/f; mkdir d/e; rmdir d/e")
    assert shown(captured) == [("d", "dir")]  # which has another time now


def test_a_whiteout_brings_its_parents_along(tmp_path: Path) -> None:
    captured = build(tmp_path, lower="mkdir -p a/b; chmod 1770 a; chown 5:6 a/b; touch a/b/c", step="rm a/b/c")
    assert shown(captured) == [("a", DIR), ("a/b", DIR), ("a/b/c", WHITEOUT)]
    assert captured.inventory.entries[0].mode == 0o1770
    assert captured.inventory.entries[1].uid == 5


def test_a_file_rewritten_with_the_same_stat_is_a_change(tmp_path: Path) -> None:
    captured = build(
        tmp_path,
        lower="echo one > f; touch -d @1 f; echo one > same; touch -d @1 same",
        step="echo two > f; touch -d @1 f; echo one > same; touch -d @1 same",
    )
    assert shown(captured) == [("f", "file")]


def test_a_new_name_of_an_old_file_keeps_both_linked(tmp_path: Path) -> None:
    captured = build(tmp_path, lower="echo one > f", step="ln f a")
    assert [(entry.path, entry.kind, entry.link) for entry in captured.inventory] == [
        ("a", "file", ""),
        ("f", "hardlink", "a"),
    ]


def test_sockets_are_skipped_with_a_word(tmp_path: Path) -> None:
    captured = build(
        tmp_path,
        lower="mkdir d",
        step="python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"d/s\")'; touch d/f",
    )
    assert captured.skipped == ("d/s",)
    assert shown(captured) == [("d", DIR), ("d/f", "file")]


@pytest.mark.parametrize("make", ["touch d/.wh.x", "mkdir d/.wh.x", "ln -s x d/.wh..wh..opq", "mkfifo d/.wh."])
def test_names_that_mean_whiteouts_are_refused(tmp_path: Path, make: str) -> None:
    with pytest.raises(ArchiveError, match=r"d/\.wh\."):
        build(tmp_path, lower="mkdir d", step=make)


def test_security_attributes_of_this_machine_stay_here(tmp_path: Path) -> None:
    base, upper = tmp_path / "base", tmp_path / "upper"
    base.mkdir()
    upper.mkdir()
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    with overlay([base], upper) as merged:
        file = merged / "f"
        file.touch()
        os.setxattr(file, "security.capability", capability)
        os.setxattr(file, "security.selinux", b"label")
        os.setxattr(file, "trusted.mine", b"1")
        os.setxattr(file, "user.kept", b"\0\xff\n=")
        os.setxattr(file, "user.overlay.redirect", b"/etc")
    (entry,) = capture(str(upper), [str(base)]).inventory
    assert entry.xattrs == (("security.capability", capability), ("user.kept", b"\0\xff\n="))


def stubbed(
    top: Path,
    stubs: str,
    step: str,
    base: str = "mkdir etc; echo x > etc/passwd; chmod 750 etc",
    stamped: Stamps | None = None,
) -> Captured:
    paths = {name: top / name for name in ("base", "stubs", "upper")}
    for path in paths.values():
        path.mkdir()
    subprocess.run(["sh", "-euc", base], cwd=paths["base"], check=True)
    subprocess.run(["sh", "-euc", stubs], cwd=paths["stubs"], check=True)
    with overlay([paths["stubs"], paths["base"]], paths["upper"]) as merged:
        subprocess.run(["sh", "-euc", step], cwd=merged, check=True)
    captured = capture(str(paths["upper"]), [str(paths["base"])], stubs=str(paths["stubs"]), stamped=stamped)
    packed(captured, paths["upper"])
    return captured


def entries(captured: Captured) -> dict[str, Entry]:
    return {entry.path: entry for entry in captured.inventory}


def test_nothing_of_the_init_layer_is_captured(tmp_path: Path) -> None:
    captured = stubbed(
        tmp_path,
        stubs="mkdir -p etc proc mnt/cache; touch etc/hosts; chmod 755 etc",
        step="chmod 755 proc; touch -r etc/hosts etc/hosts; rmdir mnt/cache; rmdir mnt; rm etc/hosts",
    )
    assert [*entries(captured)] == ["etc"]  # in which something was deleted, so that it has another time


def test_a_directory_whose_time_alone_was_set_is_captured(tmp_path: Path) -> None:
    captured = build(tmp_path, lower="mkdir -p d/e f", step="touch -d @86400 d; touch f")
    assert shown(captured) == [("d", DIR), ("f", DIR)]
    assert captured.inventory.entries[0].mtime == 86400 * SECOND


def test_a_mount_point_has_no_time_unless_it_was_given_one(tmp_path: Path) -> None:
    stubs = "mkdir used given; touch -d @5 used given"
    began = int(time.time())
    for name, step, expected in (("a", "touch used/x; rm used/x", set()), ("b", "touch -d @9 given", {"given"})):
        (tmp_path / name).mkdir()
        captured = stubbed(tmp_path / name, stubs, step, stamped=Stamps(((began, began + 100),)))
        assert set(entries(captured)) == expected


def test_what_a_time_is_comes_from_the_window_or_from_below(tmp_path: Path) -> None:
    """In the layer below, `made` has a stamped time; a step changes modes alone, sets times, and stamps one."""
    base, upper = tmp_path / "base", tmp_path / "upper"
    base.mkdir()
    upper.mkdir()
    shell = ["sh", "-euc"]
    subprocess.run(
        [*shell, "echo x > made; echo x > old; touch -d @1000.25 made; touch -d @2000.25 old"], cwd=base, check=True
    )
    began = int(time.time())
    with overlay([base], upper) as merged:
        step = "chmod 600 made old; echo y > new; echo z > set; touch -d @3000.75 set; ln set link"
        subprocess.run([*shell, step], cwd=merged, check=True)
    captured = capture(
        str(upper),
        [str(base)],
        stamped=Stamps(((began, int(time.time())),)),
        below=lambda path: Entry(path, FILE, stamp=CLOCK if path == "made" else ""),
    )
    tidy(str(upper), captured)
    times = {entry.path: (captured.stamps.of(entry.mtime), entry.mtime % SECOND != 0) for entry in captured.inventory}
    assert times["made"] == (CLOCK, True)
    assert times["old"] == ("", True)  # as it was
    assert times["new"][0] == CLOCK
    assert times["set"] == times["link"] == ("", False)
    for name in ("set", "link"):
        assert (upper / name).stat().st_mtime_ns == 3000 * SECOND  # the tree is what the tar says
    packed(captured, upper)


def test_a_directory_of_the_init_layer_lends_no_attributes(tmp_path: Path) -> None:
    captured = stubbed(tmp_path, stubs="mkdir etc; touch etc/hosts", step="echo y > etc/new")
    found = entries(captured)
    assert set(found) == {"etc", "etc/new"}
    assert found["etc"].mode == 0o750


def test_what_a_step_really_made_is_captured_though_a_stub_was_there(tmp_path: Path) -> None:
    captured = stubbed(
        tmp_path,
        stubs="mkdir -p mnt/cache run; touch stub",
        step="echo own > stub; rmdir run; mkdir run; touch mnt/file",
    )
    assert set(entries(captured)) == {"mnt", "mnt/file", "run", "stub"}


def test_a_file_of_the_chain_below_a_stub_is_whited_out(tmp_path: Path) -> None:
    captured = stubbed(tmp_path, stubs="mkdir etc; touch etc/passwd", step="rm etc/passwd")
    assert entries(captured)["etc/passwd"].kind == WHITEOUT


def test_the_root_directory_changes_only_when_it_did(tmp_path: Path) -> None:
    captured = build(tmp_path, lower=":", step="chmod 1755 .")
    assert [(entry.path, entry.mode) for entry in captured.inventory] == [("", 0o1755)]


def test_a_lower_directory_can_hold_whiteouts_in_attributes(tmp_path: Path) -> None:
    """As a layer looks in which mknod was not possible; the kernel reads it, and so do we."""
    bottom, middle, upper = (tmp_path / name for name in ("bottom", "middle", "upper"))
    for path in (bottom, middle, upper):
        (path / "d").mkdir(parents=True)
    (bottom / "d/gone").write_text("x")
    (bottom / "d/there").write_text("x")
    (middle / "d/gone").touch()
    os.setxattr(middle / "d", "trusted.overlay.opaque", b"x")
    os.setxattr(middle / "d/gone", "trusted.overlay.whiteout", b"")
    with overlay([middle, bottom], upper) as merged:
        if (merged / "d/gone").exists():
            pytest.skip("this kernel does not know whiteouts in extended attributes")
        (merged / "d/gone").touch()
        (merged / "d/gone").unlink()
        (merged / "d/there").unlink()
    captured = capture(str(upper), [str(middle), str(bottom)])
    assert shown(captured) == [("d", DIR), ("d/there", WHITEOUT)]


@pytest.mark.parametrize(("name", "is_dir"), [("redirect", True), ("metacopy", False)])
def test_content_that_is_elsewhere_is_no_layer(tmp_path: Path, name: str, *, is_dir: bool) -> None:
    path = tmp_path / "x"
    tmp_path.chmod(0o755)
    if is_dir:
        path.mkdir()
    else:
        path.touch()
    os.setxattr(path, f"trusted.overlay.{name}", b"")
    with pytest.raises(ArchiveError, match="/x"):
        capture(str(tmp_path), [])
    assert shown(capture(str(tmp_path), [], userxattr=True)) == [("x", DIR if is_dir else "file")]


STUBS = st.lists(st.tuples(st.sampled_from(["mkdir", "makedirs", "write"]), *[PATHS] * 2, st.just(0)), max_size=4)


@settings(max_examples=60, deadline=None)
@given(lower=CHANGES, stubs=STUBS, step=CHANGES)
def test_stubs_come_into_no_layer(lower: list[Change], stubs: list[Change], step: list[Change]) -> None:
    """What the view shows after a step is what the overlay without the init layer shows, but for untouched stubs."""
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        base, init, upper = top / "base", top / "init", top / "upper"
        base.mkdir(mode=0o755)
        change(base, [item for item in lower if item[0] != "root_mode"])
        init.mkdir(mode=0o755)
        made = look(base)
        for _, path, *_ in stubs:  # as the sandbox makes them: only what is missing, in directories as they are
            parent, _, last = path.rpartition("/")
            while parent and parent not in made:
                parent, _, last = parent.rpartition("/")
            if f"{parent}/{last}".strip("/") in made or made[parent].kind != stat.S_IFDIR:
                continue
            target = init / parent / last
            target.parent.mkdir(parents=True, exist_ok=True)
            target.mkdir(exist_ok=True)
        for path in sorted(look(init)):
            if path in made:
                (init / path).chmod(made[path].mode)
                os.chown(init / path, made[path].uid, made[path].gid)
                for key, value in made[path].xattrs:
                    os.setxattr(init / path, key, value)
        untouched = look(init)
        run_step([init, base], upper, [item for item in step if item[0] != "root_mode"])
        captured = capture(str(upper), [str(base)], stubs=str(init))
        packed(captured, upper)
        bottom = capture(str(base), [])
        shows = ask(MergedView([LayerTree(str(upper), captured.inventory), LayerTree(str(base), bottom.inventory)]))
        with overlay([upper, init, base], None) as merged:
            wanted = look(merged)
        missing = {path for path in wanted if path not in shows}
        assert all(untouched.get(path) == wanted[path] for path in missing)
        assert {path: seen for path, seen in as_asked(wanted).items() if path not in missing} == shows
        tidy(str(upper), captured)
        with overlay([upper, base], None) as merged:
            assert as_asked(look(merged)) == shows, "the directory shows what the inventory does"


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """Give a directory that rm empties: Python's own way does not get to the bottom of it."""
    made = tmp_path / "deep"
    made.mkdir()
    yield made
    subprocess.run(["rm", "-rf", str(made)], check=True)


def test_a_deep_tree_is_captured_without_recursion(deep: Path) -> None:
    upper, copy = deep / "upper", deep / "copy"
    upper.mkdir()
    copy.mkdir()
    depth = 1900
    where = os.open(upper, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=where)
        below = os.open("d", os.O_RDONLY, dir_fd=where)
        os.close(where)
        where = below
    os.close(where)
    captured = capture(str(upper), [])
    assert len(captured.inventory) == depth
    assert unpack(io.BytesIO(packed(captured, upper)), str(copy)).inventory == seconds(captured.inventory)
    view = MergedView([LayerTree(str(upper), captured.inventory)])
    assert view.names("/".join(["d"] * (depth - 1))) == ["d"]


def test_a_tree_too_deep_for_any_path_is_refused(deep: Path) -> None:
    where = os.open(deep, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("n" * 250, dir_fd=where)
        below = os.open("n" * 250, os.O_RDONLY, dir_fd=where)
        os.close(where)
        where = below
    os.close(where)
    with pytest.raises(ArchiveError, match="4095"):
        capture(str(deep), [])


def test_the_order_of_readdir_does_not_matter(tmp_path: Path) -> None:
    names = [f"{number:x}" for number in range(300)]
    digests = set()
    for run, order in enumerate((names, names[::-1])):
        top = tmp_path / str(run)
        top.mkdir()
        for name in order:
            (top / name).write_text(name)
            os.utime(top / name, (1, 1))
        digests.add((capture(str(top), []).diff_id, capture(str(top), []).inventory.layer_digest))
    assert len(digests) == 1
