from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from buildah_py.copy.materialise import materialise
from buildah_py.copy.select import select
from buildah_py.errors import ArchiveError, Interrupted, SourceChanged
from buildah_py.layers.limits import ArchiveLimits
from tests.copy.copybench import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from buildah_py.layers.entry import Entry
    from buildah_py.layers.writer import LayerWriter

pytestmark = pytest.mark.root


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path) as made:
        yield made


def member(
    name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **fields: object
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = len(data)
    info.mtime = 1000
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def add(bench: Bench, data: bytes, destination: str = "/d", chown: tuple[int, int] | None = None) -> dict[str, Entry]:
    (bench.context / "archive").write_bytes(data)
    return bench.copy(["archive"], destination, unpack=True, chown=chown)


def compress_zstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-q", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress, compress_zstd])
def test_archives_are_known_by_their_content(bench: Bench, pack: object) -> None:
    if pack is compress_zstd:
        pytest.importorskip("zstandard")
    data = tar(member("sub", tarfile.DIRTYPE, mode=0o750, uid=3), member("sub/f", data=b"x", mode=0o4755, uid=5, gid=6))
    entries = add(bench, pack(data))  # type: ignore[operator]
    assert [path for path in entries if path] == ["d", "d/sub", "d/sub/f"]
    assert (entries["d/sub"].mode, entries["d/sub"].uid) == (0o750, 3)
    file = entries["d/sub/f"]
    assert (file.mode, file.uid, file.gid, file.mtime) == (0o4755, 5, 6, 1000 * 10**9)


@pytest.mark.parametrize("data", [b"", b"hello", gzip.compress(b"no tar", mtime=0), b"\x1f\x8bbroken", bytes(10240)])
def test_anything_else_is_copied_as_it_is(bench: Bench, data: bytes) -> None:
    assert add(bench, data)["d"].size == len(data)


def test_without_unpack_an_archive_is_a_file(bench: Bench) -> None:
    (bench.context / "archive").write_bytes(tar(member("f")))
    assert bench.copy(["archive"], "/d/")["d/archive"].kind == "file"


def test_chown_is_for_the_members_too(bench: Bench) -> None:
    entries = add(bench, tar(member("f", uid=1)), "/new/d/", chown=(8, 9))
    assert {(entry.uid, entry.gid) for path, entry in entries.items() if path} == {(8, 9)}


def test_members_replace_what_is_there(bench: Bench) -> None:
    def fill(writer: LayerWriter) -> None:
        writer.add_dir("d")
        writer.add_dir("d/dir")
        writer.add_file("d/dir/old", b"old")
        writer.add_dir("d/kept", 0o711)
        writer.add_file("d/kept/old", b"old")
        writer.add_file("d/file", b"old")

    bench.add_layer(fill)
    data = tar(
        member("dir", data=b"now a file"),
        member("file", tarfile.DIRTYPE),
        member("file/new"),
        member("kept", tarfile.DIRTYPE, mode=0o700),
        member("kept/new"),
    )
    entries = add(bench, data)
    view = bench.view()
    assert entries["d/dir"].kind == "file"
    assert list(view.names("d/file")) == ["new"]
    assert list(view.names("d/kept")) == ["new", "old"]
    assert entries["d/kept"].mode == 0o700


def test_a_directory_after_a_file_after_a_directory(bench: Bench) -> None:
    def fill(writer: LayerWriter) -> None:
        writer.add_dir("d")
        writer.add_dir("d/x")
        writer.add_file("d/x/old", b"old")

    bench.add_layer(fill)
    add(bench, tar(member("x", data=b"1"), member("x", tarfile.DIRTYPE), member("x/new")))
    assert list(bench.view().names("d/x")) == ["new"]


def test_links_lead_to_nothing_outside_of_the_destination(bench: Bench) -> None:
    def fill(writer: LayerWriter) -> None:
        writer.add_dir("etc")
        writer.add_file("etc/passwd", b"root")
        writer.add_dir("d")

    bench.add_layer(fill)
    data = tar(
        member("absolute", tarfile.SYMTYPE, linkname="/etc"),
        member("absolute/passwd", data=b"mine"),
        member("up", tarfile.SYMTYPE, linkname="../../etc"),
        member("up/group", data=b"mine"),
    )
    entries = add(bench, data)
    assert [path for path in entries if path] == ["d", "d/absolute", "d/etc", "d/etc/group", "d/etc/passwd", "d/up"]


def test_a_link_of_the_image_is_followed_on_the_way(bench: Bench) -> None:
    def fill(writer: LayerWriter) -> None:
        writer.add_dir("usr")
        writer.add_dir("usr/lib")
        writer.add_symlink("lib", "usr/lib")

    bench.add_layer(fill)
    entries = add(bench, tar(member("lib/x.so")), "/")
    assert [path for path in entries if path] == ["usr", "usr/lib", "usr/lib/x.so"]


@pytest.mark.parametrize("name", ["../x", "a/../../x"])
def test_names_that_lead_out_are_refused(bench: Bench, name: str) -> None:
    with pytest.raises(ArchiveError, match="leads out"):
        add(bench, tar(member(name)))


def test_absolute_names_and_harmless_dots_stay_inside(bench: Bench) -> None:
    entries = add(bench, tar(member("/etc/x"), member("./a/../b")))
    assert [path for path in entries if path] == ["d", "d/b", "d/etc", "d/etc/x"]


def test_hard_links(bench: Bench) -> None:
    def fill(writer: LayerWriter) -> None:
        writer.add_dir("d")
        writer.add_file("d/there", b"there", 0o600, 4, 4)

    bench.add_layer(fill)
    data = tar(
        member("b", data=b"data"),
        member("c", tarfile.LNKTYPE, linkname="b"),
        member("e", tarfile.LNKTYPE, linkname="there"),
    )
    entries = add(bench, data)
    assert (entries["d/c"].kind, entries["d/c"].link) == ("hardlink", "d/b")
    assert {entries["d/e"].kind, entries["d/there"].kind} == {"file", "hardlink"}
    assert entries["d/e"].uid == 4
    with pytest.raises(ArchiveError, match="hard link to /d/none, which is not there"):
        add(bench, tar(member("x", tarfile.LNKTYPE, linkname="none")))


def test_devices_and_fifos(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tar(
        member("null", tarfile.CHRTYPE, devmajor=1, devminor=3), member("pipe", tarfile.FIFOTYPE), member("file")
    )
    entries = add(bench, data)
    kinds = {path: entry.kind for path, entry in entries.items() if "/" in path}
    assert kinds == {"d/null": "char", "d/pipe": "fifo", "d/file": "file"}
    assert entries["d/null"].device == (1, 3)
    make = os.mknod

    def as_others_may(path: str, mode: int, device: int, *, dir_fd: int) -> None:
        if stat.S_ISCHR(mode):
            raise PermissionError(1, "not permitted")
        make(path, mode, device, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mknod", as_others_may)
    with pytest.raises(ArchiveError, match="privileges that are missing"):
        add(bench, data)
    with pytest.raises(ArchiveError, match="the path was deleted"):
        add(bench, tar(member("gone", tarfile.CHRTYPE)))


@pytest.mark.parametrize("target", ["", "x" * 5000])
def test_links_that_cannot_be(bench: Bench, target: str) -> None:
    with pytest.raises(ArchiveError, match="target of the archive's symbolic link 'l'"):
        add(bench, tar(member("l", tarfile.SYMTYPE, linkname=target)))


def test_a_damaged_archive_names_the_file(bench: Bench) -> None:
    data = tar(member("a", data=b"x" * 3000))
    with pytest.raises(ArchiveError, match=r"^/archive: "):
        add(bench, data[:2000])


def test_an_archive_that_changes_meanwhile(bench: Bench) -> None:
    (bench.context / "archive").write_bytes(tar(member("f", data=b"1")))
    selection = select(bench.open(), ["archive"])
    (bench.context / "archive").write_bytes(tar(member("f", data=b"2")))
    with pytest.raises(SourceChanged):
        bench.copy(selection, "/d", unpack=True)


def test_what_gnu_tar_packs_comes_out_the_same(bench: Bench) -> None:
    bench.write("../tree/a/b/c.txt", "text", 0o600)
    bench.write("../tree/run", "run", 0o755)
    sparse = bench.tmp_path / "tree/sparse"
    with sparse.open("wb") as file:
        file.seek(1 << 20)
        file.write(b"end")
    (bench.tmp_path / "tree/link").symlink_to("a/b/c.txt")
    subprocess.run(["tar", "-C", "tree", "-S", "-cf", "context/archive", "."], cwd=bench.tmp_path, check=True)
    entries = bench.copy(["archive"], "/d/", unpack=True)
    from buildah_py.sources.directory import DirectoryContext

    with DirectoryContext(str(bench.tmp_path / "tree")) as context:
        for entry in select(context, ["."]).sources[0].entries[1:]:
            found = entries["d/" + entry.path]
            assert (found.kind, found.mode, found.digest, found.size, found.link) == (
                entry.kind, entry.mode, entry.digest, entry.size, entry.link,
            )  # fmt: skip


def test_whoever_waits_for_an_archive_may_stop(bench: Bench) -> None:
    def check() -> None:
        raise Interrupted("interrupted")

    (bench.context / "archive").write_bytes(tar(member("x", data=b"x")))
    with bench.writer() as writer, pytest.raises(Interrupted):
        materialise(
            [select(bench.open(), ["archive"])],
            "/d",
            bench.view(),
            writer,
            unpack=True,
            unpack_into=writer,
            check=check,
        )
    limits = ArchiveLimits(size=0, hint="ask")
    with bench.writer() as writer, pytest.raises(ArchiveError, match="allowed 0 bytes") as caught:
        materialise(
            [select(bench.open(), ["archive"])],
            "/d",
            bench.view(),
            writer,
            unpack=True,
            unpack_into=writer,
            limits=limits,
        )
    assert caught.value.hint == "ask"


def test_an_archive_whose_first_member_is_too_large_is_none_the_less_one(bench: Bench) -> None:
    """It is not copied as a file."""
    first, _ = member("f")
    first.size = 1 << 40
    with pytest.raises(ArchiveError, match="unpacks to more than the allowed"):
        add(bench, first.tobuf(tarfile.GNU_FORMAT))
