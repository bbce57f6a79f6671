from __future__ import annotations

import contextlib
import io
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildah_py.cache.keys import digest_of, step_key
from buildah_py.errors import CacheError
from buildah_py.image import descriptor
from buildah_py.layers.stamps import Stamps
from buildah_py.sharing import artifact, records
from buildah_py.sharing.export import Content, send
from buildah_py.sharing.imported import ImportedCache
from buildah_py.sharing.local import LocalCache
from buildah_py.sharing.records import Book, SharedLayer, SharedMount, SharedRecord, to_bytes
from buildah_py.sharing.signing import generate

if TYPE_CHECKING:
    from pathlib import Path

BLOB = descriptor.of("application/vnd.oci.image.layer.v1.tar+gzip", b"a layer")


def _record(name: str) -> SharedRecord:
    parent, step, inputs = digest_of(["parent", name]), {"op": "run", "args": [name]}, {"sources": digest_of(name)}
    key, layer, content = step_key(parent, step, inputs), digest_of(["layer", name]), digest_of(["content", name])
    return SharedRecord(key, parent, step, inputs, layer, content, Stamps(((1, 2), (4, 4)), ((-5, 0),)), 1.5)


def _layer(name: str, blob: descriptor.Descriptor | None = BLOB) -> SharedLayer:
    return SharedLayer(digest_of(["layer", name]), 3, 10**18, blob)


def _send(path: Path, *names: str, sign: str = "") -> None:
    content = Content([_record(name) for name in names], [_layer(name) for name in names], (), [BLOB])
    send(LocalCache(str(path)), content, lambda _: lambda: io.BytesIO(b"a layer"), sign)


def _import(path: Path, *verify: str) -> tuple[ImportedCache, list[str]]:
    warnings: list[str] = []
    return ImportedCache(LocalCache(str(path)), verify, warnings.append), warnings


@settings(max_examples=30)
@given(st.lists(st.text(min_size=1), unique=True, max_size=8))
def test_what_is_written_is_read(names: list[str]) -> None:
    mounts = [SharedMount(name, BLOB) for name in names]
    book = Book(to_bytes([_record(name) for name in names], [_layer(name) for name in names], mounts))
    assert [book.record(_record(name).key) for name in names] == [_record(name) for name in names]
    assert [book.layer(_layer(name).diff_id) for name in names] == [_layer(name) for name in names]
    assert [book.mount(name) for name in names] == mounts
    assert sorted(book.mounts()) == sorted(names)
    assert sorted(book.records()) == sorted(_record(name).key for name in names)


@given(
    st.binary()
    | st.lists(st.sampled_from([b"record ", b"layer ", b"mount ", b"{", b"}", b"\n", b"[", b" ", b"1"])).map(b"".join)
)
def test_nonsense_is_an_error_or_nothing(data: bytes) -> None:
    with contextlib.suppress(CacheError):
        book = Book(records.FORMAT + data)
        for name in book.records():
            with contextlib.suppress(CacheError):
                book.record(name)
                book.layer(name)
        book.mounts()


def test_a_record_cannot_stand_for_another_key() -> None:
    one, other = _record("one"), _record("other")
    text = to_bytes([one, other], [])
    swapped = text.replace(one.key.encode(), b"?").replace(other.key.encode(), one.key.encode())
    book = Book(swapped.replace(b"?", other.key.encode()))
    for record in (one, other):
        with pytest.raises(CacheError, match="another key"):
            book.record(record.key)


@pytest.mark.parametrize(
    "change",
    [
        {"layer": "sha256:../../../etc"},
        {"layer": 7},
        {"step": []},
        {"inputs": {"sources": 1}},
        {"parent": None},
        {"seconds": -1},
        {"seconds": "long"},
        {"seconds": float("inf")},
        {"step": {"op": float("nan")}},
        {"step": {"op": float("inf")}},
    ],
)
def test_hostile_records_are_refused(change: dict[str, object]) -> None:
    record = _record("one")
    text = to_bytes([record], [])
    line = text[len(records.FORMAT) :].decode()
    head, _, raw = line.partition("{")
    hostile = head + json.dumps({**json.loads("{" + raw), **change}) + "\n"
    with pytest.raises(CacheError):
        Book(records.FORMAT + hostile.encode()).record(record.key)


def test_deep_nesting_and_bombs_are_refused() -> None:
    key = _record("one").key
    with pytest.raises(CacheError, match="not JSON"):
        Book(records.FORMAT + f"record {key} ".encode() + b"[" * 200_000 + b"\n").record(key)
    with pytest.raises(CacheError, match="larger than"):
        artifact.decompress(artifact.compress(bytes(10_000_000)), "a bomb", 1_000_000)
    with pytest.raises(CacheError, match="damaged"):
        artifact.decompress(b"\x28\xb5\x2f\xfd" + bytes(range(200)), "noise")


def test_a_cache_is_read_when_something_is_asked(tmp_path: Path) -> None:
    _send(tmp_path, "one", "two")
    imported, warnings = _import(tmp_path)
    assert imported.fetched == 0
    found = imported.find(_record("two").key)
    assert found is not None
    assert (found.record, found.layer, found.signer) == (_record("two"), _layer("two"), "unsigned")
    assert imported.find(_record("three").key) is None
    assert not warnings
    blobs = sum(file.stat().st_size for file in (tmp_path / "blobs/sha256").iterdir())
    assert imported.fetched == blobs - len(b"a layer")


def test_any_flipped_byte_of_the_metadata_is_found(tmp_path: Path) -> None:
    _send(tmp_path, "one")
    for file in sorted((tmp_path / "blobs/sha256").iterdir()):
        true = file.read_bytes()
        file.write_bytes(true[:-3] + bytes([true[-3] ^ 1]) + true[-2:])
        imported, warnings = _import(tmp_path)
        found = imported.find(_record("one").key)
        if true == b"a layer":
            assert found is not None
        else:
            assert found is None
            (warning,) = warnings
            assert "has other bytes than it should have" in warning or "the manifest sha256:" in warning
        file.write_bytes(true)


@pytest.mark.parametrize("manifest", [b"", b"{", b"[]", b'{"schemaVersion":2}', b"[" * 100_000, b"x" * (5 << 20)])
def test_a_manifest_that_is_none(manifest: bytes, tmp_path: Path) -> None:
    LocalCache(str(tmp_path)).put_manifest(manifest)
    imported, warnings = _import(tmp_path)
    assert imported.find(_record("one").key) is None
    assert len(warnings) == 1


def test_a_wanted_signature(tmp_path: Path) -> None:
    key, other = generate(str(tmp_path / "key")), generate(str(tmp_path / "other"))
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    _send(tmp_path / "signed", "one", sign=str(tmp_path / "key"))
    _send(tmp_path / "plain", "one")
    imported, warnings = _import(tmp_path / "signed", other, key)
    found = imported.find(_record("one").key)
    assert found is not None
    assert (found.signer, warnings) == (key, [])
    for path, wanted in (("signed", other), ("plain", key)):
        imported, warnings = _import(tmp_path / path, wanted)
        assert imported.find(_record("one").key) is None
        assert len(warnings) == 1
        assert "not signed" in warnings[0]


def test_a_signature_is_of_these_records_alone(tmp_path: Path) -> None:
    key = generate(str(tmp_path / "key"))
    _send(tmp_path / "signed", "one", sign=str(tmp_path / "key"))
    _send(tmp_path / "evil", "one", "two")
    local = LocalCache(str(tmp_path / "signed"))
    manifest = artifact.read_manifest(local.manifest() or b"", "signed")
    with local.open(manifest.config) as file:
        signatures = artifact.read_config(file.read(), "signed").signatures
    evil = LocalCache(str(tmp_path / "evil"))
    theirs = artifact.read_manifest(evil.manifest() or b"", "evil")
    head = next(one for one in theirs.layers if one.media_type == artifact.RECORDS)
    config = artifact.write_config(head.digest, signatures)
    evil.put(descriptor.of(artifact.CONFIG, config), lambda: io.BytesIO(config))
    evil.put_manifest(artifact.write_manifest(config, head, ()).to_bytes())
    imported, warnings = _import(tmp_path / "evil", key)
    assert imported.find(_record("one").key) is None
    assert "not signed" in warnings[0]


def test_ten_thousand_records_are_looked_up_by_name(tmp_path: Path) -> None:
    names = [str(number) for number in range(10_000)]
    text = to_bytes([_record(name) for name in names], [_layer(name) for name in names])
    book = Book(text)
    parsed: list[object] = []

    loads = json.loads

    def spy(line: bytes) -> object:
        parsed.append(line)
        return loads(line)

    assert len(artifact.compress(text)) < len(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("json.loads", spy)
        assert book.record(_record("7777").key) == _record("7777")
    assert len(parsed) == 1
