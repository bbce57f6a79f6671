from __future__ import annotations

import hashlib
import os
import threading
from typing import TYPE_CHECKING

import pytest

from buildah_py.copy.materialise import Inline
from buildah_py.copy.select import can_copy_unread, complete, select
from buildah_py.errors import ArchiveError, NotFound, SourceChanged, SourceError
from tests.copy.copybench import MTIME, Bench

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from buildah_py.copy.selection import Selection
    from buildah_py.layers.writer import LayerWriter

pytestmark = pytest.mark.root


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path) as made:
        yield made


def paths(entries: Mapping[str, object]) -> list[str]:
    return [path for path in entries if path]


def test_a_file_to_a_new_path(bench: Bench) -> None:
    bench.write("a.txt", "hello", 0o640)
    entries = bench.copy(["a.txt"], "/srv/b.txt")
    assert paths(entries) == ["srv", "srv/b.txt"]
    file = entries["srv/b.txt"]
    assert (file.mode, file.uid, file.gid, file.size, file.mtime) == (0o640, 0, 0, 5, MTIME)
    assert (entries["srv"].mode, entries["srv"].uid, entries["srv"].mtime) == (0o755, 0, 7)


def test_a_trailing_slash_makes_a_directory(bench: Bench) -> None:
    bench.write("a.txt")
    assert paths(bench.copy(["a.txt"], "/srv/")) == ["srv", "srv/a.txt"]
    assert paths(bench.copy(["a.txt"], "/other/.")) == ["other", "other/a.txt"]


def test_a_file_goes_into_an_existing_directory(bench: Bench) -> None:
    bench.add_layer(lambda writer: writer.add_dir("srv", 0o2711, 5, 6, (), 99))
    bench.write("a.txt")
    entries = bench.copy(["a.txt"], "/srv")
    assert paths(entries) == ["srv", "srv/a.txt"]
    kept = entries["srv"]
    assert (kept.mode, kept.uid, kept.gid, kept.mtime) == (0o2711, 5, 6, 99)


def test_a_directory_stands_for_what_it_holds(bench: Bench) -> None:
    bench.write("src/one", mode=0o600)
    bench.write("src/sub/two")
    (bench.context / "src/empty").mkdir(mode=0o700)
    (bench.context / "src/link").symlink_to("sub/two")
    os.chmod(bench.context / "src", 0o700)
    entries = bench.copy(["src"], "/app")
    assert paths(entries) == ["app", "app/empty", "app/link", "app/one", "app/sub", "app/sub/two"]
    assert entries["app"].mode == 0o755, "the source's own mode is not taken along"
    assert entries["app/empty"].mode == 0o700
    assert entries["app/link"].link == "sub/two"


def test_what_a_copied_directory_changes_in_existing_ones(bench: Bench) -> None:
    def fill(writer: LayerWriter) -> None:
        writer.add_dir("app", 0o711, 1, 1)
        writer.add_dir("app/sub", 0o711, 1, 1)
        writer.add_file("app/sub/old", b"old")

    view = bench.add_layer(fill)
    bench.write("src/sub/new")
    os.chmod(bench.context / "src/sub", 0o750)
    entries = bench.copy(["src"], "/app/")
    assert (entries["app"].mode, entries["app"].uid) == (0o711, 1)
    assert (entries["app/sub"].mode, entries["app/sub"].uid) == (0o750, 0)
    assert view.names("app/sub") == ["old"]
    assert bench.view().names("app/sub") == ["new", "old"]


def test_the_destination_is_followed_inside_of_the_image(bench: Bench) -> None:
    def fill(writer: LayerWriter) -> None:
        writer.add_dir("usr")
        writer.add_dir("usr/lib")
        writer.add_symlink("lib", "/usr/lib")
        writer.add_symlink("up", "../../../../usr")
        writer.add_symlink("nowhere", "/not/there")

    bench.add_layer(fill)
    bench.write("a.txt")
    assert paths(bench.copy(["a.txt"], "/lib/")) == ["usr", "usr/lib", "usr/lib/a.txt"]
    assert paths(bench.copy(["a.txt"], "/up/new/x")) == ["usr", "usr/new", "usr/new/x"]
    assert paths(bench.copy(["a.txt"], "/nowhere")) == ["not", "not/there"]
    assert paths(bench.copy(["a.txt"], "/../../x")) == ["x"]


def test_a_link_in_the_last_place_below_a_directory_is_replaced(bench: Bench) -> None:
    def fill(writer: LayerWriter) -> None:
        writer.add_dir("etc")
        writer.add_symlink("etc/a.txt", "/etc/passwd")

    bench.add_layer(fill)
    bench.write("a.txt")
    assert bench.copy(["a.txt"], "/etc/")["etc/a.txt"].kind == "file"


def test_what_cannot_take_each_others_place(bench: Bench) -> None:
    def fill(writer: LayerWriter) -> None:
        writer.add_file("file", b"")
        writer.add_dir("app")
        writer.add_dir("app/name")
        writer.add_symlink("app/link", "/app")

    bench.add_layer(fill)
    bench.write("name")
    bench.write("dir/link/x")
    with pytest.raises(SourceError, match="/file is a file"):
        bench.copy(["dir"], "/file")
    with pytest.raises(SourceError, match="/file is a file in the image"):
        bench.copy(["name"], "/file/")
    with pytest.raises(SourceError, match="/app/name is a directory"):
        bench.copy(["name"], "/app/")
    with pytest.raises(SourceError, match="/app/link is a symbolic link to /app") as caught:
        bench.copy(["dir"], "/app/")
    assert "where the link leads" in caught.value.hint
    assert "remove" not in caught.value.hint, "an image without its /bin is none"


def test_several_files_want_a_directory(bench: Bench) -> None:
    bench.write("a.txt")
    bench.write("b.txt", "the last one")
    assert bench.copy(["*.txt"], "/dst")["dst"].size == len("the last one")
    assert paths(bench.copy(["*.txt"], "/dir/")) == ["dir", "dir/a.txt", "dir/b.txt"]
    assert paths(bench.copy(["*.txt"], "/dir")) == ["dir", "dir/a.txt", "dir/b.txt"]


def test_a_directory_of_a_group_passes_that_on(bench: Bench) -> None:
    """New directories below one with the set-group-id bit get it, as mkdir(2) has it; copied ones keep their modes."""
    bench.add_layer(lambda writer: writer.add_dir("d", 0o2775, 0, 50))
    bench.write("src/sub/f")
    entries = bench.copy(["src"], "/d/new/deep")
    assert [oct(entries[path].mode) for path in ("d", "d/new", "d/new/deep", "d/new/deep/sub")] == [
        "0o2775", "0o2755", "0o2755", "0o755",
    ]  # fmt: skip


def test_a_later_source_wins(bench: Bench) -> None:
    bench.write("one/f", "first")
    bench.write("two/f", "second one")
    assert bench.copy(["one", "two"], "/d/")["d/f"].size == len("second one")


def test_chown_and_chmod(bench: Bench) -> None:
    bench.write("src/run", mode=0o755)
    bench.write("src/data", mode=0o600)
    (bench.context / "src/link").symlink_to("run")
    os.chmod(bench.context / "src", 0o755)
    entries = bench.copy(["src"], "/new/app/", chown=(7, 8), chmod="u=rwX,go=rX")
    assert {path: oct(entry.mode) for path, entry in entries.items() if path} == {
        "new": "0o755",
        "new/app": "0o755",
        "new/app/data": "0o644",
        "new/app/link": "0o777",
        "new/app/run": "0o755",
    }
    assert {(entry.uid, entry.gid) for path, entry in entries.items() if path} == {(7, 8)}
    entries = bench.copy(["src/run"], "/bin2/run", chmod="4711")
    assert (entries["bin2"].mode, entries["bin2/run"].mode) == (0o711, 0o4711)


def test_hard_links_stay_together(bench: Bench) -> None:
    bench.write("src/b/one", "same")
    (bench.context / "src/a").mkdir()
    os.link(bench.context / "src/b/one", bench.context / "src/a/two")
    os.link(bench.context / "src/b/one", bench.context / "outside")
    entries = bench.copy(["src"], "/d/")
    assert (entries["d/a/two"].kind, entries["d/b/one"].kind) == ("file", "hardlink")
    assert entries["d/b/one"].link == "d/a/two"
    again = bench.copy(select(bench.view(), ["/d"], where="stage 0"), "/e/")
    assert (again["e/a/two"].kind, again["e/b/one"].link) == ("file", "e/a/two")
    alone = bench.copy(select(bench.view(), ["/d/b"], where="stage 0"), "/f/")
    assert (alone["f/one"].kind, alone["f/one"].size) == ("file", 4)


def test_a_stage_keeps_owners_devices_and_attributes(bench: Bench) -> None:
    def fill(writer: LayerWriter) -> None:
        writer.add_dir("d", 0o755)
        writer.add_file("d/f", b"x", 0o4755, 3, 4, (("user.note", b"1"),))
        writer.add_node("d/null", "char", 0o666, 0, 5, (1, 3))
        writer.add_node("d/pipe", "fifo", 0o600)

    view = bench.add_layer(fill)
    entries = bench.copy(select(view, ["d"]), "/e/")
    file = entries["e/f"]
    assert (file.mode, file.uid, file.gid, file.xattrs) == (0o4755, 3, 4, (("user.note", b"1"),))
    assert (entries["e/null"].kind, entries["e/null"].device, entries["e/null"].gid) == ("char", (1, 3), 5)
    assert entries["e/pipe"].kind == "fifo"


def test_link_looks_at_nothing(bench: Bench) -> None:
    def fill(writer: LayerWriter) -> None:
        writer.add_dir("real")
        writer.add_symlink("d", "/real")

    bench.add_layer(fill)
    bench.write("a.txt")
    assert paths(bench.copy(["a.txt"], "/d/", link=True)) == ["d", "d/a.txt"]


def test_inline_files(bench: Bench) -> None:
    entries = bench.copy([Inline("EOF", b"text\n", mtime=5), Inline("second", b"")], "/etc/conf/")
    assert (entries["etc/conf/EOF"].size, entries["etc/conf/EOF"].mode, entries["etc/conf/EOF"].mtime) == (5, 0o644, 5)
    assert bench.copy([Inline("EOF", b"text")], "/motd")["motd"].size == 4


def test_nothing_selected_changes_nothing(bench: Bench) -> None:
    bench.write("a.txt")
    assert paths(bench.copy(["*.none"], "/d/")) == []


def test_a_file_that_changes_after_it_was_selected(bench: Bench) -> None:
    file = bench.write("a.txt", "before")
    selection = select(bench.open(), ["a.txt"])
    file.write_text("behind")
    with pytest.raises(SourceChanged, match=r"/a\.txt of the build context changed"):
        bench.copy(selection, "/d/")


@pytest.mark.parametrize("trick", ["link", "directory", "fifo", "gone"])
def test_a_file_that_is_swapped_after_it_was_selected(bench: Bench, trick: str) -> None:
    file = bench.write("sub/a.txt", "before")
    bench.write("../outside/a.txt", "before")
    selection = select(bench.open(), ["sub/a.txt"])
    file.unlink()
    if trick == "link":
        file.symlink_to(bench.tmp_path / "outside/a.txt")
    elif trick == "directory":
        file.parent.rmdir()
        file.parent.symlink_to(bench.tmp_path / "outside")
    elif trick == "fifo":
        os.mkfifo(file)
    with pytest.raises(SourceChanged):
        bench.copy(selection, "/d/")


def test_a_link_out_of_the_context_is_not_followed(bench: Bench) -> None:
    bench.write("../secret", "secret")
    (bench.context / "link").symlink_to("../secret")
    (bench.context / "absolute").symlink_to(bench.tmp_path / "secret")
    for source in ("link", "absolute", "../secret", "/../secret"):
        with pytest.raises(NotFound):
            bench.copy([source], "/d/")


def test_an_implied_directory_keeps_the_owner_that_is_there(bench: Bench) -> None:
    def fill(writer: LayerWriter) -> None:
        writer.add_dir("d")
        writer.add_dir("d/sub", 0o711, 9, 9)

    bench.add_layer(fill)
    bench.write("src/sub/keep.txt")
    bench.write("src/sub/drop.log")
    entries = bench.copy(["src"], "/d/", exclude=["sub", "!sub/keep.txt"])
    assert paths(entries) == ["d", "d/sub", "d/sub/keep.txt"]
    assert entries["d/sub"].uid == 9


def test_parents(bench: Bench) -> None:
    bench.write("a/b/one.py")
    bench.write("a/c/two.py")
    bench.write("a/c/two.txt")
    os.chmod(bench.context / "a/c", 0o750)
    assert paths(bench.copy(["a/*/*.py"], "/d", parents=True)) == [
        "d", "d/a", "d/a/b", "d/a/b/one.py", "d/a/c", "d/a/c/two.py",
    ]  # fmt: skip
    entries = bench.copy(["a/./**/two.*"], "/e/", parents=True)
    assert paths(entries) == ["e", "e/c", "e/c/two.py", "e/c/two.txt"]
    assert entries["e/c"].mode == 0o750
    with pytest.raises(NotFound, match=r"did you mean a/b/one\.py"):
        bench.copy(["a/b/ones.py"], "/d", parents=True)


def test_a_directory_that_is_swapped_all_the_time_leads_nowhere_else(bench: Bench) -> None:
    bench.write("dir/file", "inside")
    bench.write("../outside/file", "secret")
    inside, outside, aside = bench.context / "dir", bench.tmp_path / "outside", bench.tmp_path / "aside"
    (bench.tmp_path / "link").symlink_to(outside)
    swaps = 0
    done = threading.Event()

    def swap() -> None:
        nonlocal swaps
        while not done.is_set():
            inside.rename(aside)
            (bench.tmp_path / "link").rename(inside)
            inside.rename(bench.tmp_path / "link")
            aside.rename(inside)
            swaps += 1

    swapping = threading.Thread(target=swap)
    swapping.start()
    copied = number = 0
    try:
        while (number < 100 or not copied) and number < 5000:
            number += 1
            try:
                entries = bench.copy(["dir"], f"/d{number}/", context=bench.open())
            except (SourceChanged, NotFound):
                continue
            for path, entry in entries.items():
                if entry.kind == "file":
                    assert (bench.fs[-1] / path).read_text() == "inside"
                    copied += 1
    finally:
        done.set()
        swapping.join()
    assert copied
    assert swaps


def unread(bench: Bench, *sources: str) -> Selection:
    return select(bench.open(), list(sources), unread=True)


def test_files_are_read_once_where_nobody_has_read_them(bench: Bench) -> None:
    large = bench.write("src/large", "x" * 300_000)
    small = bench.write("src/sub/small", "small", 0o600)
    bench.write("src/empty").write_text("")
    os.setxattr(small, "user.kept", b"1")
    selection = unread(bench, "src")
    assert can_copy_unread(selection)
    entries = bench.copy(selection, "/d/")
    known = complete(selection)
    assert not can_copy_unread(known)
    # What was learned is what reading them for its own sake tells.
    assert known.digest() == select(bench.open(), ["src"]).digest()
    for entry in known.sources[0].entries[1:]:
        copied = entries[f"d/{entry.path.removeprefix('src/')}"]
        assert (copied.digest, copied.size, copied.xattrs) == (entry.digest, entry.size, entry.xattrs)
    assert entries["d/sub/small"].xattrs == (("user.kept", b"1"),)
    assert entries["d/large"].digest == "sha256:" + hashlib.sha256(large.read_bytes()).hexdigest()


@pytest.mark.parametrize("size", [6, 300_000])
@pytest.mark.parametrize("trick", ["longer", "shorter", "later", "mode"])
def test_an_unread_file_that_is_not_what_was_listed(bench: Bench, size: int, trick: str) -> None:
    file = bench.write("a.txt", "x" * size)
    selection = unread(bench, "a.txt")
    if trick == "longer":
        file.write_text("x" * (size + 1))
        os.utime(file, ns=(MTIME, MTIME))
    elif trick == "shorter":
        file.write_text("x" * (size - 1))
        os.utime(file, ns=(MTIME, MTIME))
    elif trick == "later":
        os.utime(file, ns=(MTIME, MTIME + 1))
    else:
        file.chmod(0o755)
    with pytest.raises(SourceChanged, match=r"a\.txt of the build context changed"):
        bench.copy(selection, "/d/")


def test_unread_files_with_several_names_are_read_first(bench: Bench) -> None:
    os.link(bench.write("a.txt"), bench.context / "b.txt")
    selection = unread(bench, "a.txt", "b.txt")
    assert not can_copy_unread(selection)
    entries = bench.copy(complete(selection), "/d/")
    assert entries["d/a.txt"].digest == "sha256:" + hashlib.sha256(b"a.txt").hexdigest()


@pytest.mark.parametrize("name", [".wh.x", ".wh..wh..opq", ".wh.", ".wh..", ".wh..."])
def test_names_that_would_delete_something(bench: Bench, name: str) -> None:
    """A context cannot hide what the layers below have."""
    bench.write(f"d/{name}")
    for source in ("d", f"d/{name}"):
        with pytest.raises(ArchiveError, match=r"begins with \.wh\."):
            bench.copy([source], "/app/")
