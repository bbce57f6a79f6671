from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from buildah_py.errors import ArchiveError, OutputError, UsageError
from buildah_py.image import media_types
from buildah_py.layers.header import plain_header
from buildah_py.outputs import target
from buildah_py.outputs.annotations import Annotations
from buildah_py.outputs.archive import TarLayout
from buildah_py.outputs.layer_source import LayerSource
from buildah_py.outputs.oci import write_oci
from tests.outputs.images import CREATED, config_of, digest, source, tar_of, with_blob

ONE = tar_of({"bin": None, "bin/hello": b"#!/bin/sh\n" * 1000})
TWO = tar_of({"two": os.urandom(1500)})
THREE = tar_of({"three": b"3" * 5_000_000})


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as opened:
        found = {}
        for member in opened.getmembers():
            assert (member.uid, member.gid, member.mtime, member.uname) == (0, 0, 0, "")
            assert member.mode == (0o755 if member.isdir() else 0o644)
            assert member.name not in found
            file = opened.extractfile(member)
            found[member.name] = file.read() if file else b""
        return found


def files(path: Path) -> dict[str, bytes]:
    return {str(one.relative_to(path)): one.read_bytes() for one in path.rglob("*") if one.is_file()}


def check_layout(found: dict[str, bytes], tars: list[bytes], media_type: str) -> dict[str, Any]:
    """Follow the layout from its index down to the last byte, and return the index."""
    used = {"oci-layout", "index.json"}
    assert json.loads(found["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}

    def blob(descriptor: dict[str, Any]) -> bytes:
        name = "blobs/" + descriptor["digest"].replace(":", "/")
        used.add(name)
        assert (digest(found[name]), len(found[name])) == (descriptor["digest"], descriptor["size"])
        return found[name]

    index: dict[str, Any] = json.loads(found["index.json"])
    for entry in index["manifests"]:
        manifest = json.loads(blob(entry))
        config = json.loads(blob(manifest["config"]))
        assert config["rootfs"]["diff_ids"] == [digest(tar) for tar in tars]
        for layer, tar in zip(manifest["layers"], tars, strict=True):
            assert layer["mediaType"] == media_type
            data = blob(layer)
            assert (gzip.decompress(data) if "gzip" in media_type else data) == tar
    assert {name for name in found if not name.endswith(("manifest.json", "blobs", "sha256"))} == used
    return index


def test_an_archive(tmp_path: Path) -> None:
    layers = [source(ONE), source(TWO), source(ONE), source(THREE)]
    dest = tmp_path / "image.tar"
    written = write_oci(
        str(dest),
        config_of(layers),
        layers,
        names=["quay.io/me/app:1", "other:1", "app"],
        annotations=Annotations({"a": "b"}),
    )
    index = check_layout(members(dest), [ONE, TWO, ONE, THREE], media_types.OCI_LAYER_GZIP)
    assert [entry["annotations"] for entry in index["manifests"]] == [
        {
            "io.containerd.image.name": "quay.io/me/app:1",
            "org.opencontainers.image.created": CREATED,
            "org.opencontainers.image.ref.name": "1",
        },
        {"io.containerd.image.name": "docker.io/library/other:1", "org.opencontainers.image.created": CREATED},
        {
            "io.containerd.image.name": "docker.io/library/app:latest",
            "org.opencontainers.image.created": CREATED,
            "org.opencontainers.image.ref.name": "latest",
        },
    ]
    assert {entry["digest"] for entry in index["manifests"]} == {written.descriptor.digest}
    assert written.manifest.annotations == {"a": "b"}
    assert written.manifest.config.digest == config_of(layers).digest()
    assert os.listdir(tmp_path) == ["image.tar"]
    assert dest.stat().st_mode & 0o777 == 0o666 & ~umask()


def umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now


def test_an_archive_is_the_same_again(tmp_path: Path) -> None:
    one, two = tmp_path / "1.tar", tmp_path / "2.tar"
    for dest, piece, threads in ((one, 1000, 1), (two, 1 << 20, 4)):
        layers = [source(ONE, piece=piece), source(THREE, piece=piece)]
        write_oci(str(dest), config_of(layers), layers, names=["app"], threads=threads)
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("compression", ["uncompressed", "gzip"])
def test_blobs_that_are_there_are_used(tmp_path: Path, compression: str) -> None:
    data = ONE if compression == "uncompressed" else gzip.compress(ONE)
    layers = [with_blob(ONE, compression, data, tmp_path / "blob"), source(TWO)]
    write_oci(str(tmp_path / "x.tar"), config_of(layers), layers, compression=compression)
    check_layout(members(tmp_path / "x.tar"), [ONE, TWO], media_types.layer(compression))
    write_oci(str(tmp_path / "x"), config_of(layers), layers, compression=compression, tar=False)
    check_layout(files(tmp_path / "x"), [ONE, TWO], media_types.layer(compression))


def test_a_damaged_blob(tmp_path: Path) -> None:
    layer = with_blob(ONE, "gzip", gzip.compress(ONE), tmp_path / "blob")
    (tmp_path / "blob").write_bytes(b"short")
    with pytest.raises(ArchiveError, match="is damaged"):
        write_oci(str(tmp_path / "x.tar"), config_of([layer]), [layer])
    (tmp_path / "blob").unlink()
    with pytest.raises(ArchiveError, match="cannot be read"):
        write_oci(str(tmp_path / "x"), config_of([layer]), [layer], tar=False)
    assert os.listdir(tmp_path) == []


def test_an_image_without_layers(tmp_path: Path) -> None:
    write_oci(str(tmp_path / "x.tar"), config_of([]), [])
    index = check_layout(members(tmp_path / "x.tar"), [], "")
    assert index["manifests"][0]["annotations"] == {"org.opencontainers.image.created": CREATED}


def test_docker_archive(tmp_path: Path) -> None:
    layers = [source(ONE), source(TWO)]
    write_oci(
        str(tmp_path / "x.tar"), config_of(layers), layers, names=["app", "quay.io/a/b:2"], docker=True,
        oci_media_types=False,
    )  # fmt: skip
    found = members(tmp_path / "x.tar")
    check_layout(found, [ONE, TWO], media_types.DOCKER_LAYER_GZIP)
    (image,) = json.loads(found["manifest.json"])
    assert image["RepoTags"] == ["app:latest", "quay.io/a/b:2"]
    assert found[image["Config"]] == config_of(layers).to_bytes()
    assert [gzip.decompress(found[name]) for name in image["Layers"]] == [ONE, TWO]


def test_dockers_media_types_know_less(tmp_path: Path) -> None:
    for arguments in ({"compression": "zstd"}, {"annotations": Annotations({"a": "b"})}):
        with pytest.raises(UsageError, match="Docker's media types"):
            write_oci(str(tmp_path / "x"), config_of([]), [], oci_media_types=False, **arguments)


def test_a_directory_gains_images(tmp_path: Path) -> None:
    dest = tmp_path / "layout"
    first, second = [source(ONE), source(TWO)], [source(ONE), source(THREE)]

    def names() -> list[tuple[str | None, str | None]]:
        index = json.loads((dest / "index.json").read_bytes())
        notes = [entry["annotations"] for entry in index["manifests"]]
        return [(note.get("io.containerd.image.name"), note.get("org.opencontainers.image.ref.name")) for note in notes]

    write_oci(str(dest), config_of(first), first, names=["app:1"], tar=False)
    check_layout(files(dest), [ONE, TWO], media_types.OCI_LAYER_GZIP)
    write_oci(str(dest), config_of(second), second, names=["app:2"], tar=False)
    assert names() == [("docker.io/library/app:1", "1"), ("docker.io/library/app:2", "2")]
    write_oci(str(dest), config_of(second), second, names=["app:1"], tar=False)
    assert names() == [("docker.io/library/app:2", "2"), ("docker.io/library/app:1", "1")]
    write_oci(str(dest), config_of(second), second, names=["other:1"], tar=False)
    assert names()[1:] == [("docker.io/library/app:1", None), ("docker.io/library/other:1", "1")]
    for _ in range(2):
        write_oci(str(dest), config_of(second), second, tar=False)
    assert names()[3:] == [(None, None)]
    assert not [name for name in files(dest) if "part" in name]


def test_an_empty_directory_will_do(tmp_path: Path) -> None:
    layers = [source(ONE)]
    write_oci(str(tmp_path), config_of(layers), layers, tar=False)
    check_layout(files(tmp_path), [ONE], media_types.OCI_LAYER_GZIP)


class Broken(Exception):
    pass


def broken() -> LayerSource:
    def write_tar(_write: object) -> str:
        raise Broken

    return LayerSource(digest(TWO), write_tar)


@pytest.mark.parametrize("tar", [True, False])
def test_nothing_is_left_after_an_error(tmp_path: Path, tar: bool) -> None:
    layers = [source(ONE), broken()]
    with pytest.raises(Broken):
        write_oci(str(tmp_path / "x"), config_of(layers), layers, tar=tar)
    assert os.listdir(tmp_path) == []


def test_what_was_there_stays_after_an_error(tmp_path: Path) -> None:
    layers = [source(ONE)]
    failing = [source(ONE), source(THREE), broken()]
    for name, tar in (("x.tar", True), ("x", False)):
        write_oci(str(tmp_path / name), config_of(layers), layers, names=["app"], tar=tar)
    before = files(tmp_path)
    for name, tar in (("x.tar", True), ("x", False)):
        with pytest.raises(Broken):
            write_oci(str(tmp_path / name), config_of(failing), failing, names=["app"], tar=tar)
    assert files(tmp_path) == before


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "link.tar").symlink_to("dir/real.tar")
    write_oci(str(tmp_path / "link.tar"), config_of([]), [])
    assert (tmp_path / "link.tar").is_symlink()
    check_layout(members(tmp_path / "dir/real.tar"), [], "")


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("x")
    for dest, tar, said in [
        ("missing/x.tar", True, "missing/x.tar cannot be written: No such file"),
        ("missing/x", False, "missing/x cannot be written: No such file"),
        ("file/x", True, "file/x cannot be written: Not a directory"),
        ("full", True, "full is a directory"),
        ("full", False, "full is a directory with something else in it"),
        ("file", False, "file is not a directory"),
    ]:
        with pytest.raises(OutputError, match=said) as raised:
            write_oci(str(tmp_path / dest), config_of([]), [], tar=tar)
        assert raised.value.hint
    with pytest.raises(OutputError, match="not those of"):
        write_oci(str(tmp_path / "x"), config_of([]), [source(ONE)])
    with pytest.raises(UsageError, match="standard output"):
        write_oci("-", config_of([]), [], tar=False)
    assert sorted(os.listdir(tmp_path)) == ["file", "full"]


@pytest.mark.root
@pytest.mark.parametrize("tar", [True, False])
def test_a_full_disk(tmp_path: Path, tar: bool) -> None:
    if os.geteuid():
        pytest.skip("needs root, to mount a small file system")
    layers = [source(tar_of({"noise": os.urandom(4 << 20)}))]
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "pybuild", disk], check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        with pytest.raises(OutputError, match=f"{disk}/x cannot be written: No space left on device"):
            write_oci(str(disk / "x"), config_of(layers), layers, tar=tar)
        assert os.listdir(disk) == []
    finally:
        subprocess.run(["umount", disk], check=True)


SCRIPT = """
import sys
from tests.outputs.images import *
from buildah_py.outputs.oci import write_oci
layers = [source(tar_of({"a": b"1" * 3_000_000})), source(tar_of({"b": None})), source(tar_of({"a": b"1" * 3_000_000}))]
write_oci("-", config_of(layers), layers, names=["app"], docker=True)
"""


def piped(how: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    return subprocess.run(["sh", "-c", how, sys.executable, SCRIPT], env=environment, check=False, **options)


def test_the_standard_output(tmp_path: Path) -> None:
    pipe, file, appended = tmp_path / "pipe.tar", tmp_path / "file.tar", tmp_path / "appended.tar"
    assert piped(f'"$0" -c "$1" | cat > {pipe}').returncode == 0
    assert piped(f'"$0" -c "$1" > {file}').returncode == 0
    assert piped(f'"$0" -c "$1" >> {appended}').returncode == 0
    assert pipe.read_bytes() == file.read_bytes() == appended.read_bytes()
    tars = [tar_of({"a": b"1" * 3_000_000}), tar_of({"b": None}), tar_of({"a": b"1" * 3_000_000})]
    check_layout(members(pipe), tars, media_types.OCI_LAYER_GZIP)


def test_a_reader_of_the_standard_output_that_goes_away() -> None:
    done = piped('"$0" -c "$1" | true', stderr=subprocess.PIPE)
    assert b"OutputError: the standard output cannot be written: Broken pipe" in done.stderr


def test_a_terminal_is_spared() -> None:
    leader, terminal = os.openpty()
    try:
        with pytest.raises(OutputError, match="terminal"):
            write_oci("-", config_of([]), [], stdout=terminal)
    finally:
        os.close(leader)
        os.close(terminal)


def test_a_pipe_with_a_name(tmp_path: Path) -> None:
    fifo, copy = tmp_path / "fifo", tmp_path / "copy.tar"
    os.mkfifo(fifo)
    with copy.open("wb") as out, subprocess.Popen(["cat", fifo], stdout=out) as reader:
        layers = [source(ONE)]
        write_oci(str(fifo), config_of(layers), layers)
    assert reader.returncode == 0
    check_layout(members(copy), [ONE], media_types.OCI_LAYER_GZIP)
    assert fifo.is_fifo()


def test_two_layers_that_compress_to_the_same(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with target.opened(str(path)) as out:
        layout = TarLayout(out, str(path))
        assert layout.add_blob([b"same"]) == layout.add_blob([b"sa", b"me"]) == (digest(b"same"), 4)
        layout.add("end", b"end")
        layout.finish()
    found = members(path)
    assert found.pop("end") == b"end"
    assert found == {"blobs": b"", "blobs/sha256": b"", f"blobs/sha256/{hashlib.sha256(b'same').hexdigest()}": b"same"}


@pytest.mark.parametrize("size", [0, 1, 0o77777777777, 0o77777777777 + 1, 1 << 40])
def test_headers_of_any_size(size: int) -> None:
    header = plain_header("blobs/sha256/" + "a" * 64, size)
    member = tarfile.TarInfo.frombuf(header, "utf-8", "strict")
    assert (member.name, member.size, len(header)) == ("blobs/sha256/" + "a" * 64, size, 512)


def test_short_writes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    really = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: really(descriptor, bytes(data)[:1000]))
    layers = [source(ONE)]
    write_oci(str(tmp_path / "x.tar"), config_of(layers), layers)
    monkeypatch.undo()
    check_layout(members(tmp_path / "x.tar"), [ONE], media_types.OCI_LAYER_GZIP)


def test_an_error_when_the_file_is_closed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    really = os.close

    def close(descriptor: int) -> None:
        really(descriptor)
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    with pytest.raises(OutputError, match="quota"), target.opened(str(tmp_path / "x")):
        monkeypatch.setattr(os, "close", close)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == []


ENDLESS = """
import sys
from tests.outputs.images import *
from buildah_py.outputs.oci import write_oci

def write_tar(write):
    piece = bytes(1 << 20)
    for _ in range(64):
        write(piece)
    print("under way", flush=True)
    while True:
        write(piece)

layer = LayerSource(digest(b""), write_tar)
write_oci(sys.argv[1], config_of([layer]), [layer], tar=sys.argv[2] == "True")
"""


@pytest.mark.parametrize("tar", [True, False])
def test_an_interrupt_leaves_nothing(tmp_path: Path, tar: bool) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(tmp_path / "x"), str(tar)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as writer:
        assert writer.stdout is not None
        assert writer.stderr is not None
        assert writer.stdout.readline() == b"under way\n"
        assert len(os.listdir(tmp_path)) == 1
        writer.send_signal(signal.SIGINT)
        assert writer.stderr.read().endswith(b"KeyboardInterrupt\n")
    assert writer.returncode == -signal.SIGINT
    assert os.listdir(tmp_path) == []
