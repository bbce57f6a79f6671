"""Merged views of layers as others make them, and paths in them."""

from __future__ import annotations

import os
import tempfile
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildah_py.errors import NotFound, SourceError
from buildah_py.layers.entry import DIR, FILE, HARDLINK, SYMLINK, WHITEOUT, Entry
from buildah_py.layers.inventory import Inventory
from buildah_py.layers.tree import read, resolve
from buildah_py.layers.view import LayerTree, MergedView
from buildah_py.layers.writer import LayerWriter
from buildah_py.linux.paths import openat2


def view(*layers: list[Entry]) -> MergedView:
    """Layers top-most first."""
    return MergedView([LayerTree("/nowhere", Inventory(entries)) for entries in layers])


def d(path: str, mode: int = 0o755, *, opaque: bool = False, implied: bool = False) -> Entry:
    return Entry(path, DIR, mode, opaque=opaque, implied=implied)


def f(path: str, size: int = 0) -> Entry:
    return Entry(path, FILE, 0o644, size=size, digest=f"sha256:{size}")


def w(path: str) -> Entry:
    return Entry(path, WHITEOUT)


def s(path: str, target: str) -> Entry:
    return Entry(path, SYMLINK, 0o777, link=target)


def test_an_empty_chain_is_a_root() -> None:
    assert view().entry("") == d("")
    assert view().names("") == []
    assert view().entry("x") is None


def test_whiteouts_hide_the_layers_below_only() -> None:
    tree = view(
        [f("a", 3)],
        [w("a"), w("d"), d("e", implied=True), w("e/x")],
        [f("a", 1), d("d"), f("d/f"), d("e"), f("e/x"), f("e/y")],
    )
    assert tree.names("") == ["a", "e"]
    assert tree.entry("a") == f("a", 3)
    assert tree.entry("d") is None
    assert tree.entry("d/f") is None
    assert tree.names("e") == ["y"]


def test_opaque_directories() -> None:
    tree = view([f("d/new")], [d("d", 0o700, opaque=True), f("d/own")], [d("d"), f("d/old"), f("d/own", 7)])
    assert tree.names("d") == ["own"]  # the top layer has no directory d: nothing of it can be reached
    tree = view([d("d", implied=True), f("d/new")], [d("d", 0o700, opaque=True), f("d/own")], [d("d"), f("d/old")])
    assert tree.names("d") == ["new", "own"]
    assert tree.entry("d") == d("d", 0o700, opaque=True)
    assert tree.entry("d/old") is None


def test_an_opaque_root() -> None:
    tree = view([d("", opaque=True), f("x")], [f("y")])
    assert tree.names("") == ["x"]
    assert tree.entry("y") is None


def test_files_over_directories_and_back() -> None:
    tree = view([d("x"), f("x/top")], [f("x")], [d("x"), f("x/bottom")])
    assert tree.names("x") == ["top"]
    tree = view([f("x")], [d("x"), f("x/below")])
    assert tree.entry("x/below") is None
    with pytest.raises(NotFound):
        tree.names("x")
    with pytest.raises(NotFound):
        tree.names("x/below")


def test_no_path_goes_through_a_link() -> None:
    tree = view([s("l", "d"), d("d"), f("d/f")])
    assert tree.entry("l/f") is None
    assert tree.entry("l") == s("l", "d")


def test_hard_links_are_files() -> None:
    layer = [f("a", 5), Entry("b", HARDLINK, link="a"), s("s", "x"), Entry("t", HARDLINK, link="s")]
    tree = view(layer)
    assert tree.entry("b") == f("b", 5)._replace(link="a")
    assert tree.entry("t") == s("t", "x")
    assert tree.digest("b") == "sha256:5"
    tree = view([f("a", 6)], layer)
    assert tree.entry("b") == f("b", 5)
    assert view([w("a")], layer).entry("b") == f("b", 5)
    three = [*layer, Entry("c", HARDLINK, link="a"), Entry("d", HARDLINK, link="a")]
    tree = view([w("a"), f("c", 1)], three)
    assert [tree.entry(path) for path in "bcd"] == [f("b", 5), f("c", 1), f("d", 5)._replace(link="b")]


def test_what_opens_is_what_shows(tmp_path: Path) -> None:
    layers = []
    for number in range(2):
        top = tmp_path / str(number)
        top.mkdir()
        with LayerWriter(str(top)) as writer:
            writer.add_dir("d")
            writer.add_file("d/f", b"%d" % number)
            writer.add_file(f"d/only{number}", b"own")
            writer.add_symlink("l", "/etc/hostname")
            layers.append(LayerTree(str(top), partial(Inventory, list(writer.finish().inventory))))
    tree = MergedView(layers)
    assert read(tree, "d/f", 10) == b"0"
    assert read(tree, "d/only1", 3) == b"own"
    assert tree.fs_of_file("d/only1") == str(tmp_path / "1")
    with closing(tree.reader()) as reader:
        order = ("d/f", "d/only0", "d/only1", "d/f")
        assert [reader.read(path, 10) for path in order] == [b"0", b"own", b"own", b"0"]
        with pytest.raises(NotFound):
            reader.open("l")
    for path in ("l", "d", "nothing", "l/x"):
        with pytest.raises(NotFound):
            tree.open(path)
        with pytest.raises(SourceError):
            read(tree, path, 10)
    with pytest.raises(SourceError, match="2 bytes"):
        read(tree, "d/only1", 2)


def test_a_layer_exchanged_for_links_opens_nothing_outside(tmp_path: Path) -> None:
    """The inventory says directory, the disk says link: somebody has been at the store."""
    (tmp_path / "d").symlink_to("/etc")
    tree = MergedView([LayerTree(str(tmp_path), Inventory([d("d"), f("d/hostname")]))])
    with pytest.raises(OSError, match="symbolic links"):
        tree.open("d/hostname")
    with closing(tree.reader()) as reader, pytest.raises(OSError, match="Not a directory"):
        reader.open("d/hostname")


# resolve


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("", ""),
        ("/", ""),
        ("..", ""),
        ("../../d/f", "d/f"),
        ("/d//./f/", "d/f"),
        ("abs/f", "d/f"),
        ("up/d/f", "d/f"),
        ("d/rel", "d/f"),
        ("chain", "d/f"),
        ("d/nothing/more", "d/nothing/more"),
        ("dangling/more", "not/there/more"),
        ("dangling/../more", "not/more"),
        ("abs/..", ""),
        ("d/f/below", "d/f/below"),
    ],
)
def test_resolve(path: str, wanted: str) -> None:
    tree = view(
        [
            d("d"),
            f("d/f"),
            s("abs", "/d"),
            s("up", "../../.."),
            s("d/rel", "./f"),
            s("chain", "abs/rel"),
            s("dangling", "not/there"),
        ]
    )
    assert resolve(tree, path) == wanted


def test_resolve_leaves_the_last_link_where_asked_to() -> None:
    tree = view([d("d"), s("l", "d"), s("d/m", "x")])
    assert resolve(tree, "l", follow_last=False) == "l"
    assert resolve(tree, "l/m", follow_last=False) == "d/m"
    assert resolve(tree, "l/", follow_last=False) == "d"


def test_links_in_circles() -> None:
    tree = view([s("a", "b"), s("b", "a"), s("long", "long/x")])
    for path in ("a", "long"):
        with pytest.raises(SourceError, match="255"):
            resolve(tree, path)


TARGETS = st.lists(st.sampled_from(["a", "b", "c", "..", ".", ""]), min_size=1, max_size=4).map("/".join)


@settings(max_examples=200, deadline=None)
@given(
    links=st.dictionaries(st.sampled_from(["a", "b", "d/a", "d/b", "d/e/a"]), TARGETS.filter(bool), max_size=5),
    path=st.lists(st.sampled_from(["a", "b", "c", "d", "e", "..", ".", ""]), min_size=1, max_size=5).map("/".join),
)
def test_resolve_agrees_with_the_kernel(links: dict[str, str], path: str) -> None:
    entries = [d("d"), d("d/e"), d("c"), f("c/b"), *(s(name, target) for name, target in links.items())]
    with tempfile.TemporaryDirectory() as name:
        for entry in entries:
            real = Path(name, entry.path)
            if entry.kind == DIR:
                real.mkdir()
            elif entry.kind == FILE:
                real.touch()
            else:
                real.symlink_to(entry.link)
                if os.readlink(real) != entry.link:
                    os.unlink(real)
                    os.symlink(entry.link, real)
        root = os.open(name, os.O_PATH)
        try:
            descriptor = openat2(root, path or ".", os.O_PATH)
        except OSError:
            return  # what the kernel does not find, resolve describes in its own way
        finally:
            os.close(root)
        try:
            real_path = os.readlink(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
        assert resolve(view(entries), path) == os.path.relpath(real_path, os.path.realpath(name)).removeprefix(".")
