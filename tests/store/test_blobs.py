"""Layers that are elsewhere, layers as they are sent, and what collection, a check and a power cut make of both."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from typing import TYPE_CHECKING

import pytest

from buildah_py.errors import StoreError
from buildah_py.layers.writer import LayerWriter
from buildah_py.store import Origin, Store
from buildah_py.store.collect import Rules, collect

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from buildah_py.store import StoredBlob, StoredLayer

CONFIG = b'{"rootfs":{"type":"layers","diff_ids":["%s"]},"os":"linux","architecture":"amd64"}'


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "state")


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def add(store: Store, text: str, diff_id: str = "", adopted: str | None = None) -> StoredLayer:
    staged = os.path.join(store.stage(), "fs")
    os.mkdir(staged)
    with LayerWriter(staged) as writer:
        writer.add_file("file", text.encode())
        captured = writer.finish()
    return store.layers.add(
        staged,
        captured.inventory,
        diff_id or captured.diff_id,
        captured.size,
        foreign=bool(diff_id),
        adopted=adopted,
    )


def add_blob(store: Store, data: bytes, diff_id: str, compressor: str = "") -> StoredBlob:
    staged = os.path.join(store.stage(), "blob")
    with open(staged, "wb") as file:
        file.write(data)
    kind = "application/vnd.oci.image.layer.v1.tar+gzip"
    return store.blobs.add(
        staged, digest_of(data), diff_id=diff_id, media_type=kind, size=len(data), compressor=compressor
    )


def put(store: Store, diff_id: str, name: str) -> str:
    config = CONFIG % diff_id.encode()
    store.images.put(digest_of(config), config, [diff_id], [name])
    return digest_of(config)


def fsck(root: str, *, repair: bool = False) -> list[tuple[str, str, str]]:
    from buildah_py.query.fsck import fsck

    return [(fault.what, fault.problem, fault.done) for fault in fsck(root, repair=repair).faults]


def power_cut(root: str) -> None:
    database = sqlite3.connect(os.path.join(root, "state.db"))
    for table in ("layers", "blobs"):
        database.execute(f"UPDATE {table} SET boot = 'another' WHERE boot IS NOT NULL")
    database.commit()
    database.close()


ORIGIN = Origin("registry", "example.org/app", digest_of(b"blob"), "application/vnd.oci.image.layer.v1.tar+gzip", 4)


def test_a_promised_layer_can_be_used_and_is_absent_until_it_arrives(root: str) -> None:
    diff_id = digest_of(b"a tar of others")
    with Store(root) as store:
        store.layers.promise(diff_id, size=4, origins=[ORIGIN])
        put(store, diff_id, "name")
        assert store.layers.use([diff_id])
        assert store.layers.missing([diff_id]) == [diff_id]
        assert store.layers.origins(diff_id) == [ORIGIN]
        with pytest.raises(StoreError, match="not here"):
            store.need([diff_id])
    asked: list[Sequence[str]] = []

    class Provider:
        def ensure(self, store: Store, diff_ids: Sequence[str]) -> None:
            asked.append(diff_ids)
            add(store, "one", diff_id)

        def blob(self, _store: Store, diff_id: str) -> StoredBlob:
            raise AssertionError(diff_id)

        def close(self) -> None:
            asked.append(("closed",))

    with Store(root, Provider()) as store:
        view = store.view([diff_id])
        assert asked == []
        assert view.names("") == ["file"]
        assert asked == [(diff_id,)]
        store.need([diff_id])
        assert len(asked) == 1
        layer = store.layers.get(diff_id)
        assert layer is not None
        assert layer.foreign
        assert not layer.absent
        # What is there is not promised again; it can only be had at one more place.
        store.layers.promise(diff_id, size=9, origins=[ORIGIN._replace(location="example.org/other")])
        assert store.layers.get(diff_id) == layer._replace(used=store.layers.get(diff_id).used)  # type: ignore[union-attr]
        assert len(store.layers.origins(diff_id)) == 2
    assert asked[1:] == [("closed",)]
    assert fsck(root) == []


def test_what_a_step_makes_is_not_replaced_by_a_promise_of_the_same_content(root: str) -> None:
    with Store(root) as store:
        layer = add(store, "one")
        content = layer.layer_digest
    other = root + "2"
    with Store(other) as store:
        store.layers.promise(digest_of(b"a tar of others"), size=1, layer_digest=content, origins=[ORIGIN])
        made = add(store, "one")
        assert made.diff_id == layer.diff_id
        assert not made.absent


def test_a_blob_is_found_by_its_layer_and_goes_with_it(root: str) -> None:
    with Store(root) as store:
        layer = add(store, "one")
        made = add_blob(store, b"compressed here", layer.diff_id, "gzip/x/1")
        pulled = add_blob(store, b"as it came", layer.diff_id)
        assert store.blobs.of(layer.diff_id) == [pulled, made]
        assert store.blobs.get(made.digest) == made
        with open(pulled.path, "rb") as file:
            assert file.read() == b"as it came"
        assert store.blobs.use(pulled.digest)
        assert not store.blobs.use(digest_of(b"none"))
    with Store(root) as store:
        collected = collect(store, Rules())
        assert collected.layers == 1
        assert store.blobs.all() == []
        assert os.listdir(store.path("blobs", "sha256")) == []


def test_collection_takes_blobs_that_can_be_made_again_and_leaves_the_others(root: str) -> None:
    with Store(root) as store:
        layer = add(store, "one")
        put(store, layer.diff_id, "name")
        add_blob(store, b"compressed here", layer.diff_id, "gzip/x/1")
        pulled = add_blob(store, b"as it came", layer.diff_id)
        with open(store.path("blobs", "sha256", "0" * 64), "wb"):
            pass  # what a crash left
    with Store(root) as store:
        assert collect(store, Rules()).layers == 0
        assert store.blobs.all() == [pulled]
        assert os.listdir(store.path("blobs", "sha256")) == [pulled.digest.removeprefix("sha256:")]


def test_a_blob_that_a_power_cut_damaged_goes_and_its_layer_is_had_from_elsewhere(root: str) -> None:
    diff_id = digest_of(b"a tar of others")
    with Store(root) as store:
        store.layers.promise(diff_id, size=4, origins=[ORIGIN])
        put(store, diff_id, "name")
        damaged = add_blob(store, b"as it came", diff_id)
        whole = add_blob(store, b"as it came too", diff_id)
        add(store, "one", diff_id)
    with open(damaged.path, "wb"):
        pass
    with open(os.path.join(root, "layers", diff_id.removeprefix("sha256:"), "fs", "file"), "wb"):
        pass
    power_cut(root)
    with Store(root) as store:
        assert store.lost == []
        assert store.blobs.all() == [whole]
        assert store.layers.missing([diff_id]) == [diff_id]
        assert store.images.by_name("name")
        assert os.listdir(store.path("layers")) == []


def test_blobs_are_durable_after_one_call(root: str) -> None:
    with Store(root) as store:
        layer = add(store, "one")
        blob = add_blob(store, b"as it came", layer.diff_id)
        store.make_durable()
        assert store.blobs.written() == store.layers.written() == []
    with open(blob.path, "wb"):
        pass
    power_cut(root)
    with Store(root) as store:
        assert store.blobs.all() == [blob]


def test_fsck_finds_damaged_blobs_and_takes_foreign_diff_ids_as_they_are(root: str) -> None:
    diff_id = digest_of(b"a tar of others")
    with Store(root) as store:
        layer = add(store, "one", diff_id)
        put(store, diff_id, "name")
        blob = add_blob(store, b"as it came", diff_id)
        add_blob(store, b"whole", diff_id)
    assert layer.diff_id == diff_id
    assert fsck(root) == []
    with open(blob.path, "ab") as file:
        file.write(b"!")
    assert fsck(root) == [("blob", "it has 11 bytes, not 10", "")]
    assert fsck(root, repair=True) == [("blob", "it has 11 bytes, not 10", "removed")]
    assert fsck(root) == []


def test_fsck_has_a_damaged_layer_fetched_again_where_that_can_be(root: str) -> None:
    diff_id = digest_of(b"a tar of others")
    with Store(root) as store:
        add(store, "one", diff_id)
        put(store, diff_id, "name")
        add_blob(store, b"as it came", diff_id)
        path = os.path.join(store.layers.fs(diff_id), "file")
    with open(path, "ab") as file:
        file.write(b"!")
    faults = fsck(root, repair=True)
    assert {(what, done) for what, _, done in faults} == {
        ("layer", "removed its files, which are fetched again when something needs them")
    }
    assert fsck(root) == []
    with Store(root) as store:
        assert store.layers.missing([diff_id]) == [diff_id]
        store.blobs.remove(digest_of(b"as it came"))
    assert fsck(root) == [("layer", "it is not here, and nothing says where it can be had", "")]


def test_an_overlay_leaves_out_what_an_opaque_root_hides(root: str) -> None:
    with Store(root) as store:
        below = add(store, "one")
        staged = os.path.join(store.stage(), "fs")
        os.mkdir(staged)
        with LayerWriter(staged) as writer:
            writer.add_dir("", implied=True)
            writer.set_opaque("")
            writer.add_file("other", b"x")
            captured = writer.finish()
        hiding = store.layers.add(staged, captured.inventory, captured.diff_id, captured.size)
        above = add(store, "two")
        chain = [below.diff_id, hiding.diff_id, above.diff_id]
        assert store.lowers(chain) == (store.layers.fs(above.diff_id), store.layers.fs(hiding.diff_id))
        assert store.view(chain).names("") == ["file", "other"]


def test_directories_that_a_layer_does_not_describe_are_as_those_below(root: str) -> None:
    with Store(root) as store:
        chains = []
        for mode in (0o1777, 0o700):
            staged = os.path.join(store.stage(), "fs")
            os.mkdir(staged)
            with LayerWriter(staged) as writer:
                writer.add_dir("tmp", mode, 7, 8)
                captured = writer.finish()
            chains.append(store.layers.add(staged, captured.inventory, captured.diff_id, captured.size).diff_id)
        staged = os.path.join(store.stage(), "fs")
        os.mkdir(staged)
        with LayerWriter(staged) as writer:
            writer.add_dir("tmp", implied=True)
            writer.add_file("tmp/x", b"x")
            captured = writer.finish()
        from buildah_py.store.lowers import chain_name

        top = store.layers.add(
            staged, captured.inventory, captured.diff_id, 1, foreign=True, adopted=chain_name(chains[:1])
        ).diff_id
        assert len(store.lowers([chains[0], top])) == 2  # its own tree is as it has to be there
        lowers = store.lowers([chains[1], top])
        assert len(lowers) == 3
        status = os.stat(os.path.join(lowers[0], "tmp"))
        assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o700, 7, 8)
        assert os.listdir(os.path.join(lowers[0], "tmp")) == []


def test_names_that_registries_know_an_image_by(root: str) -> None:
    from buildah_py.store.images import RepoDigest

    with Store(root) as store:
        layer = add(store, "one")
        image = put(store, layer.diff_id, "docker.io/library/a:latest")
        known = RepoDigest("docker.io/library/a", digest_of(b"manifest"), "a/b", b"manifest")
        index = RepoDigest("docker.io/library/a", digest_of(b"index"), "c/d")
        store.images.add_repo_digest(image, known)
        store.images.add_repo_digest(image, index)
        assert sorted(store.images.repo_digests(image)) == sorted([known, index])
        assert [one.id for one in store.images.by_repo_digest("docker.io/library/a", index.digest)] == [image]
        store.images.set_platform_name("docker.io/library/a:latest", "linux/arm64", image)
        found = store.images.by_platform_name("docker.io/library/a:latest", "linux/arm64")
        assert found is not None
        assert found.id == image
        assert store.images.by_platform_name("docker.io/library/a:latest", "linux/amd64") is None
        store.images.remove(image)
        assert store.images.by_repo_digest("docker.io/library/a", index.digest) == []
