"""The state directory: what it keeps, what it drops, what a crash leaves."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

import pytest

from buildah_py.errors import StoreError
from buildah_py.layers.writer import LayerWriter
from buildah_py.store import Store, StoredLayer, state_root

if TYPE_CHECKING:
    from pathlib import Path


def add(store: Store, text: str, *, mtime: int = 0) -> StoredLayer:
    staged = os.path.join(store.stage(), "fs")
    os.mkdir(staged)
    writer = LayerWriter(staged)
    writer.add_file("file", text.encode(), mode=0o644, mtime=mtime)
    captured = writer.finish()
    return store.layers.add(staged, captured.inventory, captured.diff_id, captured.size)


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "state")


def test_a_layer_is_found_again_by_the_next_process(root: str) -> None:
    with Store(root) as store:
        layer = add(store, "one")
    with Store(root) as store:
        assert store.layers.get(layer.diff_id) == layer
        assert [entry.path for entry in store.layers.inventory(layer.diff_id)] == ["file"]
        with open(os.path.join(store.layers.fs(layer.diff_id), "file"), encoding="ascii") as file:
            assert file.read() == "one"


def test_equal_layers_are_kept_once_with_the_first_times(root: str) -> None:
    with Store(root) as store:
        first = add(store, "one", mtime=1_000_000_000)
        again = add(store, "one", mtime=2_000_000_000)
        assert again.diff_id == first.diff_id
        assert len(os.listdir(store.path("layers"))) == 1


def test_staged_trees_go_with_their_process(root: str) -> None:
    with Store(root) as store:
        os.makedirs(os.path.join(store.stage(), "deep"))
        assert len(os.listdir(store.path("staging"))) == 1
    assert os.listdir(os.path.join(root, "staging")) == []


def test_staged_trees_of_the_dead_are_swept(root: str) -> None:
    with Store(root) as store:
        os.makedirs(store.path("staging", "1-2-3", "left"))
    with Store(root) as store:
        assert os.listdir(store.path("staging")) == []


def test_layers_of_another_boot_are_dropped_unless_durable(root: str) -> None:
    with Store(root) as store:
        kept = add(store, "kept")
        store.images.put("sha256:" + "1" * 64, b"{}", [kept.diff_id], ["kept"])
        store.make_durable()
        lost = add(store, "lost")
        store.images.put("sha256:" + "2" * 64, b"{}", [kept.diff_id, lost.diff_id], ["lost"])
        store.records.put("key", lost.diff_id, b"{}")
    database = sqlite3.connect(os.path.join(root, "state.db"))
    database.execute("UPDATE layers SET boot = 'an earlier one' WHERE boot IS NOT NULL")
    database.commit()
    database.close()
    with Store(root) as store:
        assert [layer.diff_id for layer in store.layers.all()] == [kept.diff_id]
        assert store.images.by_name("kept") is not None
        assert store.images.by_name("lost") is None
        assert store.records.get("key") is None
        assert os.listdir(store.path("layers")) == [kept.diff_id.removeprefix("sha256:")]


def test_collection_spares_images_and_what_living_processes_use(root: str) -> None:
    with Store(root) as store:
        named, loose = add(store, "named"), add(store, "loose")
        store.images.put("sha256:" + "1" * 64, b"{}", [named.diff_id], ["name"])
        with Store(root) as other:
            assert other.layers.use([loose.diff_id])
            assert store.collect() == 0
        assert store.collect() == loose.size
        assert [layer.diff_id for layer in store.layers.all()] == [named.diff_id]
        assert not store.layers.use([loose.diff_id])


def test_a_tree_without_a_row_is_replaced_and_collected(root: str) -> None:
    with Store(root) as store:
        layer = add(store, "one")
        store.collect()
        os.makedirs(os.path.join(store.layers.fs(layer.diff_id), "half"))
        add(store, "one")
        assert os.listdir(store.layers.fs(layer.diff_id)) == ["file"]
        os.makedirs(store.path("layers", "f" * 64))
        store.collect()
        assert os.listdir(store.path("layers")) == []


def test_names_move_and_images_go_with_their_last_name(root: str) -> None:
    first, second = "sha256:" + "a" * 64, "sha256:" + "b" * 64
    with Store(root) as store:
        store.images.put(first, b"1", [], ["x", "y"])
        store.images.put(second, b"2", [], ["x"])
        found = store.images.by_name("x")
        assert found is not None
        assert (found.id, found.config, found.names) == (second, b"2", ("x",))
        assert store.images.by_id("aaaa") is not None
        assert store.images.by_id("") is None, "two begin with that"
        assert store.images.remove_name("y")
        assert store.images.by_id(first) is None
        assert not store.images.remove_name("y")


def test_what_is_no_database_of_ours_is_refused(root: str) -> None:
    Store(root).close()
    with open(os.path.join(root, "state.db"), "wb") as file:
        file.write(b"something else" * 100)
    with pytest.raises(StoreError, match=r"state\.db"):
        Store(root)


def test_a_newer_format_is_refused(root: str) -> None:
    Store(root).close()
    database = sqlite3.connect(os.path.join(root, "state.db"))
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StoreError, match="format 99"):
        Store(root)


def test_a_damaged_inventory_is_told(root: str) -> None:
    with Store(root) as store:
        layer = add(store, "one")
    with open(os.path.join(root, "layers", layer.diff_id.removeprefix("sha256:"), "inventory"), "r+b") as file:
        file.truncate(10)
    with Store(root) as store, pytest.raises(StoreError, match="damaged"):
        store.layers.inventory(layer.diff_id)


def test_where_the_state_lies() -> None:
    assert state_root({"PYBUILD_ROOT": "/x/y", "HOME": "/h"}, 1000) == "/x/y"
    assert state_root({"HOME": "/h"}, 0) == "/var/lib/pybuild"
    assert state_root({"HOME": "/h"}, 1000) == "/h/.local/share/pybuild"
    assert state_root({"HOME": "/h", "XDG_DATA_HOME": "/d"}, 1000) == "/d/pybuild"
    assert state_root({"HOME": "/h", "XDG_DATA_HOME": "relative"}, 1000) == "/h/.local/share/pybuild"
