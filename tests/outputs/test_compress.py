from __future__ import annotations

import gzip
import random
import threading
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildah_py.errors import ArchiveError, OutputError
from buildah_py.outputs import compress
from buildah_py.outputs.compress import BLOCK, LayerStreams
from buildah_py.outputs.layer_source import LayerSource
from tests.outputs.images import source

if TYPE_CHECKING:
    from buildah_py.outputs.layer_source import Write

NOISE = random.Random(1).randbytes(3 * BLOCK)
TEXT = b"".join(b"line %d of a text that repeats itself\n" % number for number in range(60_000))


def run(data: bytes, compression: str, level: int | None = None, *, piece: int = 100_000, threads: int = 2) -> bytes:
    with LayerStreams([source(data, piece=piece)], compression, level, threads=threads) as streams:
        return b"".join(streams.pieces())


@pytest.fixture(params=["igzip", "zlib"])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "igzip":
        pytest.importorskip("isal", reason="needs isal")
    else:
        monkeypatch.setattr(compress, "_has_igzip", lambda: False)
    return str(request.param)


@pytest.mark.parametrize("level", [None, 0, 1, 3, 6, 9])
def test_gzip(implementation: str, level: int | None) -> None:
    for data in (b"", b"a", NOISE[: BLOCK - 1], TEXT[:BLOCK], NOISE[:BLOCK] + TEXT):
        made = run(data, "gzip", level)
        assert gzip.decompress(made) == data
        assert zlib.decompressobj(31).decompress(made) == data  # one member, for readers that stop after the first
        assert made[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
    assert implementation in compress.compressor("gzip", 1)


def test_gzip_is_the_same_however_it_is_made(implementation: str) -> None:
    data = TEXT + NOISE
    expected = run(data, "gzip", threads=1)
    assert len(expected) < len(data)
    for piece, threads in ((1 << 20, 2), (3333, 4), (len(data), 3)):
        assert run(data, "gzip", piece=piece, threads=threads) == expected, implementation


@settings(max_examples=30)
@given(st.lists(st.integers(0, 3 * BLOCK // 2), max_size=4), st.sampled_from(["gzip", "uncompressed"]))
def test_any_pieces(sizes: list[int], compression: str) -> None:
    pieces = [memoryview(NOISE)[:size] for size in sizes]

    def write_tar(write: Write) -> str:
        for piece in pieces:
            write(piece)
        return "it"

    with LayerStreams([LayerSource("it", write_tar)], compression) as streams:
        made = b"".join(streams.pieces())
    assert (gzip.decompress(made) if compression == "gzip" else made) == b"".join(pieces)


def test_zstd() -> None:
    zstandard = pytest.importorskip("zstandard", reason="needs zstandard")
    for data in (b"", b"a", TEXT + NOISE):
        assert zstandard.ZstdDecompressor().decompressobj().decompress(run(data, "zstd")) == data
    assert run(TEXT, "zstd", threads=1) == run(TEXT, "zstd", threads=3, piece=777)
    assert len(run(TEXT, "zstd", 19)) < len(run(TEXT, "zstd", 1))
    assert compress.compressor("zstd", 7).endswith("/7")


def test_several_layers_in_order() -> None:
    layers = [bytes([number]) * (number * BLOCK // 2) for number in range(6)]
    with LayerStreams([source(layer) for layer in layers], "gzip") as streams:
        assert [gzip.decompress(b"".join(streams.pieces())) for _ in layers] == layers


def test_a_layer_that_fails() -> None:
    def write_tar(write: Write) -> str:
        write(NOISE)
        raise ArchiveError("the store is damaged")

    threads = threading.active_count()
    with LayerStreams([source(TEXT), LayerSource("x", write_tar)], "gzip") as streams:
        assert gzip.decompress(b"".join(streams.pieces())) == TEXT
        with pytest.raises(ArchiveError, match="the store is damaged"):
            b"".join(streams.pieces())
    assert threading.active_count() == threads


def test_a_layer_that_is_not_what_it_was() -> None:
    with (
        pytest.raises(ArchiveError, match="is not what the image says"),
        LayerStreams([source(TEXT, diff_id="sha256:" + "0" * 64)], "gzip") as streams,
    ):
        b"".join(streams.pieces())


def test_a_reader_that_goes_away() -> None:
    threads = threading.active_count()
    with LayerStreams([source(NOISE * 20), source(NOISE * 20)], "gzip") as streams:
        assert next(streams.pieces())
    with LayerStreams([source(NOISE * 20)], "uncompressed"):
        pass
    assert threading.active_count() == threads


@pytest.mark.parametrize(
    ("compression", "level"), [("bzip2", None), ("gzip", 10), ("zstd", 23), ("uncompressed", 1), ("gzip", -1)]
)
def test_what_there_is_not(compression: str, level: int | None) -> None:
    with pytest.raises(OutputError):
        LayerStreams([], compression, level)
