"""The state directory: what it keeps, what it drops, what a crash leaves."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from typing import TYPE_CHECKING

import pytest

from buildah_py.errors import Interrupted, StoreError
from buildah_py.layers.writer import LayerWriter
from buildah_py.store import Store, StoredLayer, state_root
from buildah_py.store.collect import Collected, Rules, collect
from buildah_py.store.disk_usage import remove_tree
from buildah_py.store.inventories import Inventories

if TYPE_CHECKING:
    from pathlib import Path


def add(store: Store, text: str, *, mtime: int = 0) -> StoredLayer:
    staged = os.path.join(store.stage(), "fs")
    os.mkdir(staged)
    writer = LayerWriter(staged)
    writer.add_file("file", text.encode(), mode=0o644, mtime=mtime)
    captured = writer.finish()
    return store.layers.add(staged, captured.inventory, captured.diff_id, captured.size)


def put(store: Store, config: bytes, layers: list[StoredLayer], *names: str) -> str:
    digest = "sha256:" + hashlib.sha256(config).hexdigest()
    store.images.put(digest, config, [layer.diff_id for layer in layers], names)
    return digest


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "state")


def test_a_layer_is_found_again_by_the_next_process(root: str) -> None:
    with Store(root) as store:
        layer = add(store, "one")
    with Store(root) as store:
        assert store.layers.get(layer.diff_id) == layer
        assert [entry.path for entry in store.layers.inventories.get(layer.diff_id)] == ["file"]
        with open(os.path.join(store.layers.fs(layer.diff_id), "file"), encoding="ascii") as file:
            assert file.read() == "one"


def test_a_layer_is_kept_once_and_another_time_makes_another_layer(root: str) -> None:
    with Store(root) as store:
        first = add(store, "one", mtime=1_000_000_000)
        assert add(store, "one", mtime=1_000_000_000).created == first.created
        other = add(store, "one", mtime=2_000_000_000)
        assert other.diff_id != first.diff_id
        assert len(os.listdir(store.path("layers"))) == 2
        # The lower of equal layers can never be seen, and the kernel mounts no directory twice.
        lowers = store.lowers([first.diff_id, other.diff_id, first.diff_id])
        assert lowers == (store.layers.fs(first.diff_id), store.layers.fs(other.diff_id))


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


def power_cut(root: str) -> None:
    """The boot id is another one afterwards."""
    database = sqlite3.connect(os.path.join(root, "state.db"))
    database.execute("UPDATE layers SET boot = 'an earlier one' WHERE boot IS NOT NULL")
    database.commit()
    database.close()


@pytest.mark.parametrize("damaged", ["fs/file", "inventory"])
def test_layers_that_a_power_cut_damaged_are_dropped_with_all_that_is_made_of_them(root: str, damaged: str) -> None:
    with Store(root) as store:
        kept = add(store, "kept")
        put(store, b"1", [kept], "kept")
        store.make_durable()
        lost, whole = add(store, "lost"), add(store, "whole")
        put(store, b"2", [kept, lost], "lost")
        put(store, b"3", [whole], "whole")
        store.records.save("key", lost.diff_id, b"{}")
    power_cut(root)
    os.truncate(os.path.join(root, "layers", lost.diff_id.removeprefix("sha256:"), damaged), 2)
    with Store(root) as store:
        assert store.lost == ["lost"]
        assert {layer.diff_id for layer in store.layers.all()} == {kept.diff_id, whole.diff_id}
        assert store.images.by_name("kept") is not None
        assert store.images.by_name("whole") is not None
        assert store.images.by_name("lost") is None
        assert store.records.get("key") is None
        assert len(os.listdir(store.path("layers"))) == 2
    with Store(root) as store:
        assert store.lost == []


def test_collection_spares_images_and_what_living_processes_use(root: str) -> None:
    with Store(root) as store:
        named, loose = add(store, "named"), add(store, "loose")
        put(store, b"1", [named], "name")
        with Store(root) as other:
            assert other.layers.use([loose.diff_id])
            assert everything(store).layers == 0
        assert everything(store).layers == 1
        assert [layer.diff_id for layer in store.layers.all()] == [named.diff_id]
        assert not store.layers.use([loose.diff_id])


def everything(store: Store) -> Collected:
    return collect(store, Rules())


def test_collection_spares_what_this_process_made_if_asked(root: str) -> None:
    with Store(root) as store:
        add(store, "old")
    with Store(root) as store:
        new = add(store, "new")
        collect(store, Rules(spare_own=True))
        assert [layer.diff_id for layer in store.layers.all()] == [new.diff_id]


def test_a_clock_that_is_set_back_does_not_make_what_is_used_look_unused(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    with Store(root) as store:
        layer = add(store, "one")
    with Store(root) as other, Store(root) as store:
        with monkeypatch.context() as patch:
            patch.setattr(time, "time_ns", lambda: 1)
            assert other.layers.use([layer.diff_id])
        assert everything(store).layers == 0


def test_the_least_recently_used_goes_first_until_the_rest_fits(root: str) -> None:
    with Store(root) as store:
        layers = [add(store, str(number) * 100_000) for number in range(4)]
        assert store.layers.use([layers[0].diff_id])
        with Store(os.path.join(root, "empty")) as empty:
            used = everything(empty).used
        disk = store.layers.measure()
        goal = collect(store, Rules(keep=1 << 40)).used - disk[layers[1].diff_id] - 1
        done = collect(store, Rules(keep=goal))
        assert (done.layers, done.images, done.goal) == (2, (), goal)
        assert used < done.used <= goal
        assert {layer.diff_id for layer in store.layers.all()} == {layers[0].diff_id, layers[3].diff_id}


def test_images_go_only_if_asked_and_free_their_own_layers_only(root: str) -> None:
    with Store(root) as store:
        shared, own = add(store, "shared"), add(store, "own")
        old = put(store, b"1", [shared, own], "old", "older")
        put(store, b"2", [shared], "new")
        assert collect(store, Rules(keep=0)).images == ()
        done = collect(store, Rules(named=True, matching=lambda image: image.id == old))
        assert (done.images, done.layers) == (("old", "older"), 1)
        assert [layer.diff_id for layer in store.layers.all()] == [shared.diff_id]
        assert collect(store, Rules(named=True)).images == ("new",)
        assert store.layers.all() == []


def test_a_tree_without_a_row_is_replaced_and_collected(root: str) -> None:
    with Store(root) as store:
        layer = add(store, "one")
        everything(store)
        os.makedirs(os.path.join(store.layers.fs(layer.diff_id), "half"))
        add(store, "one")
        assert os.listdir(store.layers.fs(layer.diff_id)) == ["file"]
        os.makedirs(store.path("layers", "f" * 64))
        everything(store)
        assert os.listdir(store.path("layers")) == []


def test_a_layer_whose_directory_is_gone_is_no_hit_and_made_again(root: str) -> None:
    with Store(root) as store:
        layer = add(store, "one")
        image = put(store, b"1", [layer], "name")
        shutil.rmtree(store.layers.home(layer.diff_id))
        assert not store.layers.use([layer.diff_id])
        assert add(store, "one").diff_id == layer.diff_id
        assert store.layers.use([layer.diff_id])
        assert os.listdir(store.layers.fs(layer.diff_id)) == ["file"]
        found = store.images.by_name("name")
        assert found is not None
        assert found.id == image


def test_a_deep_tree_is_removed(root: str) -> None:
    with Store(root) as store:
        before = os.getcwd()
        os.chdir(store.stage())
        try:
            for _ in range(1500):
                os.mkdir("directory")
                os.chdir("directory")
        finally:
            os.chdir(before)
    assert os.listdir(os.path.join(root, "staging")) == []


def test_an_image_whose_layer_is_gone_is_not_kept(root: str) -> None:
    with Store(root) as store:
        layer = add(store, "one")
        everything(store)
        with pytest.raises(StoreError, match="removed meanwhile"):
            put(store, b"1", [layer], "name")
        assert store.images.by_name("name") is None


def test_names_move_and_images_go_with_their_last_name(root: str) -> None:
    with Store(root) as store:
        first = put(store, b"1", [], "x", "y")
        second = put(store, b"2", [], "x")
        found = store.images.by_name("x")
        assert found is not None
        assert (found.id, found.config, found.names) == (second, b"2", ("x",))
        assert store.images.by_id(first[7:11]) is not None
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
        store.layers.inventories.get(layer.diff_id)


def test_where_the_state_lies() -> None:
    assert state_root({"PYBUILD_ROOT": "/x/y", "HOME": "/h"}, 1000) == "/x/y"
    assert state_root({"HOME": "/h"}, 0) == "/var/lib/pybuild"
    assert state_root({"HOME": "/h"}, 1000) == "/h/.local/share/pybuild"
    assert state_root({"HOME": "/h", "XDG_DATA_HOME": "/d"}, 1000) == "/d/pybuild"
    assert state_root({"HOME": "/h", "XDG_DATA_HOME": "relative"}, 1000) == "/h/.local/share/pybuild"


def test_what_comes_to_be_used_while_leases_are_looked_at_is_spared(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from buildah_py.store import collect as module

    with Store(root) as store:
        layer = add(store, "one")
        others: list[Store] = []

        def looked(directory: str) -> dict[str, int]:
            others.append(Store(root))
            assert others[0].layers.use([layer.diff_id])
            return {}

        with monkeypatch.context() as patch:
            patch.setattr(module, "living_leases", looked)
            assert everything(store).layers == 0
        others[0].close()
        assert everything(store).layers == 1


def test_a_cache_mount_in_use_stays(root: str) -> None:
    with Store(root) as store, Store(root) as other:
        staged = os.path.join(store.stage(), "mount")
        os.mkdir(staged)
        assert store.cache_mounts.put("apt", staged)
        assert store.cache_mounts.use("apt")
        path = store.cache_mounts.path("apt")
        with open(os.path.join(path, "x"), "w", encoding="ascii") as file:
            file.write("x" * 10_000)
        assert collect(other, Rules()).cache_mounts == 0
        assert [mount.id for mount in other.cache_mounts.all()] == ["apt"]
    with Store(root) as store:
        done = collect(store, Rules())
        assert (done.cache_mounts, done.freed >= 10_000) == (1, True)
        assert os.listdir(store.path("cache-mounts")) == []
        assert not store.cache_mounts.use("apt")


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_a_store_of_an_older_format_is_brought_up_to_date(root: str, version: int) -> None:
    from buildah_py.store.database import SCHEMA_VERSION, statements

    with Store(root) as store:
        layer = add(store, "one")
        put(store, b"1", [layer], "name")
        image = store.images.by_name("name")
    path = os.path.join(root, "state.db")
    new = sqlite3.connect(path)
    old = sqlite3.connect(f"{path}.old")
    for statement in statements(0, version):
        old.execute(statement)
    tables = [name for (name,) in old.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in tables:
        columns = ", ".join(str(row[1]) for row in old.execute(f"PRAGMA table_info({table})"))
        for row in new.execute(f"SELECT {columns} FROM {table}"):
            old.execute(f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(row))})", row)
    old.execute(f"PRAGMA user_version = {version}")
    old.commit()
    old.close()
    new.close()
    os.rename(f"{path}.old", path)
    with Store(root) as store:
        assert store.database.begins_anew  # and a build says so
        assert store.layers.use([layer.diff_id])
        assert store.layers.missing([layer.diff_id]) == []
        assert store.layers.measure()[layer.diff_id] > 0
        assert [entry.path for entry in store.layers.inventories.read(layer.diff_id)] == ["file"]
        assert store.images.by_name("name") == image
        assert store.images.build_of("none") is None
        assert store.blobs.all() == []
    assert statements(SCHEMA_VERSION) == []


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_disk_usage_is_that_of_du(tmp_path: Path, size: int) -> None:
    import subprocess

    from buildah_py.store.disk_usage import disk_usage

    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").write_bytes(b"x" * size)
    os.link(tmp_path / "a/b/file", tmp_path / "link")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(10_000_000)
    (tmp_path / "a/link").symlink_to("/")
    du = subprocess.run(["du", "-s", "--block-size=1", str(tmp_path)], check=True, capture_output=True, text=True)
    assert disk_usage(str(tmp_path)) == int(du.stdout.split()[0])
    assert disk_usage(str(tmp_path / "none")) == 0


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_a_store_is_for_its_user_alone(root: str, umask: int) -> None:
    def modes() -> dict[str, int]:
        found = {name: os.lstat(os.path.join(root, name)).st_mode & 0o777 for name in ("", *os.listdir(root))}
        return {name: mode for name, mode in found.items() if mode & 0o077}

    previous = os.umask(umask)
    try:
        with Store(root) as store:
            add(store, "one")
            assert {"state.db", "state.db-wal", "state.db-shm"} <= set(os.listdir(root))
            assert modes() == {}
            # As it was left by those who made it before it was shut.
            for name, mode in (("", 0o755), ("state.db", 0o644), ("state.db-wal", 0o644), ("state.db-shm", 0o644)):
                os.chmod(os.path.join(root, name), mode)
            with Store(root):
                assert modes() == {}
    finally:
        os.umask(previous)


def test_a_directory_that_all_share_stays_as_it_is(root: str) -> None:
    os.mkdir(root)
    os.chmod(root, 0o1777)
    with Store(root):
        assert os.stat(root).st_mode & 0o7777 == 0o1777
        assert os.stat(os.path.join(root, "state.db")).st_mode & 0o777 == 0o600


def test_what_one_may_not_remove_is_left_to_those_who_may(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        if path.endswith("dead"):
            raise PermissionError(13, "Permission denied", "./1/work/work")
        remove_tree(path)

    with Store(root):
        pass
    os.makedirs(os.path.join(root, "staging/dead/1/work/work"))
    with open(os.path.join(root, "staging/lost+found"), "w", encoding="ascii"):
        pass
    with monkeypatch.context() as patched:
        patched.setattr("buildah_py.store.store.remove_tree", refuse)
        with Store(root):
            assert sorted(os.listdir(os.path.join(root, "staging"))) == ["dead", "lost+found"]
    with Store(root):
        assert os.listdir(os.path.join(root, "staging")) == ["lost+found"]


def test_who_waits_in_a_store_says_so_and_can_be_interrupted(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("buildah_py.store.locks._PATIENCE", 0)
    told: list[str] = []
    with (
        Store(root) as other,
        other.lock("tree x"),
        Store(root, cancelled=lambda: bool(told), tell=told.append) as store,
        pytest.raises(Interrupted),
    ):
        store.lock("tree x").__enter__()
    assert told == ["waiting for another pybuild: tree x"]


def test_inventories_are_remembered_within_bounds(root: str) -> None:
    with Store(root) as store:
        names = [add(store, f"{number}").diff_id for number in range(4)]
        home = store.layers.home
        sizes = [os.path.getsize(os.path.join(home(name), "inventory")) for name in names]
        inventories = Inventories(store.database, home, most=2 * max(sizes))
        first = inventories.get(names[0])
        assert inventories.get(names[1]) is inventories.get(names[1])
        assert inventories.get(names[0]) is first
        inventories.get(names[2])
        assert inventories.get(names[0]) is first, "the one that was asked for last stays"
        inventories.get(names[3])
        inventories.get(names[2])
        again = inventories.get(names[0])
        assert again is not first
        assert again == first
        inventories.remember(names[1], first)
        assert inventories.get(names[1]) is first
        inventories.forget(names)
        assert inventories.get(names[1]) != first
