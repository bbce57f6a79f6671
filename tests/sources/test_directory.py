from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from buildah_py.buildfile.ignore import IgnorePatterns
from buildah_py.copy.select import select
from buildah_py.errors import NotFound, SourceChanged, SourceError
from buildah_py.sources.directory import DirectoryContext
from buildah_py.sources.hashing import Hashed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def write(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)


def walk(context: DirectoryContext, path: str = "") -> list[str]:
    found = []
    for entry in context.children(path):
        found.append(entry.path)
        if entry.kind == "dir":
            found += walk(context, entry.path)
    return found


def test_a_tree_without_owners(tmp_path: Path) -> None:
    write(tmp_path, "b/file", "a")
    os.chmod(tmp_path / "a", 0o2741)
    os.chown(tmp_path / "a", 12, 34) if os.getuid() == 0 else None
    os.chmod(tmp_path / "a", 0o2741)
    os.utime(tmp_path / "a", ns=(1, 2))
    (tmp_path / "link").symlink_to("b/file")
    with DirectoryContext(str(tmp_path)) as context:
        assert context.names("") == ["a", "b", "link"]
        file = context.entry("a")
        assert file is not None
        assert (file.kind, file.mode, file.uid, file.gid, file.size, file.mtime) == ("file", 0o2741, 0, 0, 1, 2)
        link = context.entry("link")
        assert link is not None
        assert (link.kind, link.link) == ("symlink", "b/file")
        assert context.entry("link/x") is None
        assert context.entry("b/none") is None
        assert context.entry("a/none") is None
        root = context.entry("")
        assert root is not None
        assert root.kind == "dir"
        assert context.digest("a") == "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
        with pytest.raises(NotFound):
            context.names("a")
        with pytest.raises(NotFound):
            context.digest("b")


def test_what_is_ignored_does_not_exist(tmp_path: Path) -> None:
    write(tmp_path, "keep", "drop.log", "build/x", "build/keep/y", "build/keep/z", "cache/deep/x", "cache/deep/LICENSE")
    ignore = IgnorePatterns(["*.log", "build", "!build/keep/y", "cache", "!**/LICENSE", "empty"])
    (tmp_path / "empty").mkdir()
    with DirectoryContext(str(tmp_path), ignore) as context:
        assert walk(context) == [
            "build", "build/keep", "build/keep/y", "cache", "cache/deep", "cache/deep/LICENSE", "keep",
        ]  # fmt: skip
        assert context.entry("drop.log") is None
        assert context.entry("build/x") is None
        assert context.hidden_names("") == ["drop.log", "empty"]
        decision = context.decision("build/x")
        assert decision is not None
        assert (decision.ignored, decision.line) == (True, 2)


def test_an_excluded_directory_is_not_walked(tmp_path: Path) -> None:
    write(tmp_path, "secret/x", "keep")
    os.chmod(tmp_path / "secret", 0)
    with DirectoryContext(str(tmp_path), IgnorePatterns(["secret", "!keep"])) as context:
        assert walk(context) == ["keep"]
        assert "secret" not in context._listings


def test_sockets_do_not_exist_and_fifos_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o640)
    with socket.socket(socket.AF_UNIX) as server:
        previous = os.getcwd()
        os.chdir(tmp_path)
        try:
            server.bind("socket")
        finally:
            os.chdir(previous)
    with DirectoryContext(str(tmp_path)) as context:
        assert context.names("") == ["pipe"]
        pipe = context.entry("pipe")
        assert pipe is not None
        assert pipe.kind == "fifo"
        with pytest.raises(NotFound):
            context.digest("pipe")


@pytest.mark.root
def test_devices_and_attributes(tmp_path: Path) -> None:
    os.mknod(tmp_path / "null", 0o020666, os.makedev(1, 3))
    write(tmp_path, "file", "dir/x")
    os.setxattr(tmp_path / "file", "user.note", b"1")
    os.setxattr(tmp_path / "dir", "user.note", b"2")
    with DirectoryContext(str(tmp_path)) as context:
        null, folder = context.entry("null"), context.entry("dir")
        assert null is not None
        assert folder is not None
        assert (null.kind, null.device) == ("char", (1, 3))
        assert folder.xattrs == (("user.note", b"2"),)
        entry = context.complete(list(context.children("")))[1]
        assert entry.xattrs == (("user.note", b"1"),)
        assert context.entry("file") == entry


def test_names_that_are_no_text(tmp_path: Path) -> None:
    name = b"caf\xe9\n"
    with open(os.fsencode(tmp_path) + b"/" + name, "wb") as file:
        file.write(b"x")
    with DirectoryContext(str(tmp_path)) as context:
        (entry,) = context.children("")
        assert os.fsencode(entry.path) == name
        assert context.digest(entry.path).startswith("sha256:2d71")


def test_hard_links_share_a_group(tmp_path: Path) -> None:
    write(tmp_path, "a", "alone")
    os.link(tmp_path / "a", tmp_path / "b")
    with DirectoryContext(str(tmp_path)) as context:
        context.children("")
        groups = context.link_groups()
        assert groups["a"] == groups["b"]
        assert "alone" not in groups


def test_what_is_swapped_for_a_link_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path, "context/dir/file", "outside/file")
    with DirectoryContext(str(tmp_path / "context")) as context:
        context.names("")
        (tmp_path / "context/dir").rename(tmp_path / "gone")
        (tmp_path / "context/dir").symlink_to(tmp_path / "outside")
        with pytest.raises(SourceChanged):
            context.names("dir")
        context.refresh()
        assert context.entry("dir/file") is None


def test_a_file_that_changes_between_listing_and_hashing_is_taken_as_it_is_then(tmp_path: Path) -> None:
    write(tmp_path, "file")
    with DirectoryContext(str(tmp_path)) as context:
        before = context.children("")
        (tmp_path / "file").write_text("longer than before")
        (after,) = context.complete(before)
        assert after.size == 18
        (tmp_path / "file").unlink()
        with pytest.raises(SourceChanged, match="file of the build context changed"):
            context.complete(before)


def test_git_modes(tmp_path: Path) -> None:
    write(tmp_path, "dir/data", "dir/run")
    os.chmod(tmp_path / "dir", 0o700)
    os.chmod(tmp_path / "dir/data", 0o664)
    os.chmod(tmp_path / "dir/run", 0o700)
    with DirectoryContext(str(tmp_path), git_modes=True) as context:
        entries = [*context.children(""), *context.complete(list(context.children("dir")))]
        assert [oct(entry.mode) for entry in entries] == ["0o755", "0o644", "0o755"]


def test_contexts_that_cannot_be_opened(tmp_path: Path) -> None:
    write(tmp_path, "file")
    with pytest.raises(NotFound, match="does not exist"):
        DirectoryContext(str(tmp_path / "none"))
    with pytest.raises(SourceError, match="is not a directory"):
        DirectoryContext(str(tmp_path / "file"))


def test_many_and_large_files_are_hashed_in_threads(tmp_path: Path) -> None:
    import hashlib

    for number in range(600):
        (tmp_path / f"small{number:03}").write_bytes(b"%d" % number)
    for number in range(3):
        (tmp_path / f"large{number}").write_bytes(b"%d" % number * (2 << 20))
    with (tmp_path / "sparse").open("wb") as file:
        file.seek(5 << 20)
        file.write(b"end")
    with DirectoryContext(str(tmp_path)) as context:
        for entry in context.complete(list(context.children(""))):
            assert entry.digest == "sha256:" + hashlib.sha256((tmp_path / entry.path).read_bytes()).hexdigest()


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """A directory that is emptied by rm: Python's own way does not get to the bottom of it."""
    made = tmp_path / "deep"
    made.mkdir()
    yield made
    subprocess.run(["rm", "-rf", str(made)], check=True)


def test_deep_trees(deep: Path) -> None:
    depth = 1500
    here = os.open(deep, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        here, above = os.open("d", os.O_RDONLY, dir_fd=here), here
        os.close(above)
    os.close(os.open("keep", os.O_WRONLY | os.O_CREAT, dir_fd=here))
    os.close(here)
    path = "d/" * depth + "keep"
    with DirectoryContext(str(deep), IgnorePatterns(["d", "!**/keep"])) as context:
        assert context.entry(path) is not None
        assert context.entry("d/none") is None
    with DirectoryContext(str(deep)) as context:
        assert context.digest(path).startswith("sha256:e3b0")
        assert len(select(context, ["."]).sources[0].entries) == depth + 2
        assert [source.base for source in select(context, ["d/*"]).sources] == ["d/d"]


def test_two_threads_look_at_one_directory(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/file").write_text("x")
    both = threading.Barrier(2)

    class Slow(DirectoryContext):
        def _scanned(self, path: str) -> Any:
            found = super()._scanned(path)
            with contextlib.suppress(threading.BrokenBarrierError):  # the other one waits for what this one finds
                both.wait(0.2)
            return found

    with Slow(str(tmp_path)) as context, ThreadPoolExecutor(2) as threads:
        seen = list(threads.map(lambda _: (context.names("sub"), context.digest("sub/file")), range(2)))
    assert seen == [(["file"], "sha256:" + sha256(b"x").hexdigest())] * 2


def test_what_was_read_of_a_forgotten_file_has_changed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with DirectoryContext(str(tmp_path)) as context:
        (entry,) = context.children("")
        hashed = Hashed(context.digest("file"), os.stat(tmp_path / "file"), ())
        context.learn(entry.path, hashed, 0)
        context.refresh()
        with pytest.raises(SourceChanged):
            context.learn(entry.path, hashed, 0)
