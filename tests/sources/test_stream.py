from __future__ import annotations

import gzip
import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from buildah_py.buildfile.named import NamedContext
from buildah_py.errors import ArchiveError, SourceError, UsageError
from buildah_py.sources.directory import DirectoryContext
from buildah_py.sources.named import parse_named
from buildah_py.sources.stream import read_stream

if TYPE_CHECKING:
    from pathlib import Path


class Slow(io.BytesIO):
    """Gives a few bytes at a time, as a pipe may."""

    def read(self, length: int | None = -1, /) -> bytes:
        return super().read(min(length or 0, 700) if length and length > 0 else 700)


def archive(*names: str, size: int = 100_000) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size, info.uid, info.mode = size, 1234, 0o640
            tar.addfile(info, io.BytesIO(b"x" * size))
    return out.getvalue()


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_tar(tmp_path: Path, pack: type[bytes]) -> None:
    assert read_stream(Slow(pack(archive("Dockerfile", "./src/a"))), str(tmp_path)) is None
    with DirectoryContext(str(tmp_path)) as context:
        assert context.names("") == ["Dockerfile", "src"]
        entry = context.entry("src/a")
        assert entry is not None
        assert (entry.size, entry.mode, entry.uid) == (100_000, 0o640, 0)


def test_a_build_file(tmp_path: Path) -> None:
    text = b"FROM scratch\n" + b"# comment\n" * 10_000
    assert read_stream(Slow(text), str(tmp_path)) == text


@pytest.mark.parametrize("data", [b"", b" \n", b"\x00\x01", gzip.compress(b"FROM scratch", mtime=0)])
def test_what_is_neither(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(SourceError):
        read_stream(Slow(data), str(tmp_path))


def test_a_hostile_tar(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError):
        read_stream(Slow(archive("Dockerfile", "../x")), str(tmp_path))
    assert not (tmp_path.parent / "x").exists()


def test_a_tar_whose_first_member_is_too_large_is_none_the_less_one(tmp_path: Path) -> None:
    first = tarfile.TarInfo("Dockerfile")
    first.size = 1 << 40
    with pytest.raises(ArchiveError, match="unpacks to more than the allowed"):
        read_stream(Slow(first.tobuf()), str(tmp_path))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("src=../x", NamedContext("src", "directory", "../x")),
        ("Base=docker-image://debian:12", NamedContext("base", "image", "debian:12")),
        ("b::linux/arm64=oci-layout://dir@sha256:0", NamedContext("b", "layout", "dir@sha256:0", "linux/arm64")),
        ("b=target:other", NamedContext("b", "target", "other")),
        ("b=https://h/x.git#main", NamedContext("b", "git", "https://h/x.git#main")),
        ("b=https://h/x.tar.gz", NamedContext("b", "http", "https://h/x.tar.gz")),
    ],
)
def test_named_contexts(text: str, expected: NamedContext) -> None:
    assert parse_named(text) == expected


@pytest.mark.parametrize("text", ["x", "=y", "x=", "x=docker-image://", "x=ftp://h/x"])
def test_what_is_no_named_context(text: str) -> None:
    with pytest.raises(UsageError):
        parse_named(text)
