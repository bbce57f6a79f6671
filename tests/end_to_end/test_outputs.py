"""Images that pybuild built, read back by other tools: file by file, and as running containers."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.podman import Podman, podman

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Pybuild

__all__ = ["podman"]
pytestmark = pytest.mark.root

# A bit of everything: owners, modes, links, whiteouts, an opaque directory, long names, a name that is not UTF-8.
RICH = r"""
FROM busybox
WORKDIR /work
COPY --chown=12:34 --chmod=640 a.txt sub/
COPY . /all/
RUN mkdir -p d/gone d/kept && touch d/gone/x d/kept/y && chmod 2755 d && chown 7:8 d/kept/y
RUN rm -r d/gone && rm -r /all/sub && mkdir /all/sub && echo new > /all/sub/new
RUN ln -s /work/d link && ln a.txt hard 2>/dev/null; ln sub/a.txt sub/hard; mkfifo fifo; chmod 4711 /bin/busybox
RUN n=$(printf '%0200d' 7) && mkdir -p "$n/$n" && touch "$n/$n/deep" && touch "$(printf 'b\377d')" && chmod 1777 /work
RUN rm sub/a.txt && dd if=/dev/zero of=sparse bs=1 count=1 seek=100000 2>/dev/null
ENV WHO=world
CMD echo "hello $WHO"; ls d /all/sub
"""


@pytest.fixture
def rich(busybox: Pybuild) -> Pybuild:
    context = busybox.context(RICH, a_txt="a\n", sub__old_txt="old\n")
    busybox.build(
        context, "-o", "type=oci,dest=out.tar", "-o", "type=oci,dest=out,tar=false", "-o", "type=docker,dest=docker.tar"
    )
    return busybox


def tree(root: Path) -> dict[bytes, tuple[object, ...]]:
    """List path, kind, mode, owner, size and bytes or target of everything below a directory."""
    found: dict[bytes, tuple[object, ...]] = {}
    top = os.fsencode(root)
    for directory, names, files in os.walk(top):
        for name in names + files:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            content: object = None
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    content = file.read()
            linked = status.st_nlink if stat.S_ISREG(status.st_mode) else 1
            found[os.path.relpath(path, top)] = (status.st_mode, status.st_uid, status.st_gid, linked, content)
    return found


def test_umoci_unpacks_what_a_container_sees(rich: Pybuild, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    subprocess.run(["umoci", "unpack", "--image", f"{rich.work}/out:latest", bundle], check=True, capture_output=True)
    unpacked = tree(bundle / "rootfs")
    listing = rich.sh("cd / && find . -xdev ! -path './proc*' ! -path './sys*' ! -path './dev*' -print0")
    assert "./work/sub/hard" in listing
    assert os.fsencode("work/sub/a.txt") not in unpacked
    assert unpacked[b"all/sub/new"][4] == b"new\n"
    assert b"all/sub/old.txt" not in unpacked
    assert b"work/d/gone" not in unpacked
    assert unpacked[b"work/d/kept/y"][1:3] == (7, 8)
    assert unpacked[b"work/sub/hard"][:3] == (stat.S_IFREG | 0o640, 12, 34)
    assert unpacked[b"work/link"][4] == b"/work/d"
    assert stat.S_ISFIFO(int(str(unpacked[b"work/fifo"][0])))
    assert unpacked[b"bin/busybox"][0] == stat.S_IFREG | 0o4711
    assert unpacked[b"work"][0] == stat.S_IFDIR | 0o1777
    assert b"work/b\xffd" in unpacked
    assert len(unpacked[b"work/sparse"][4] or b"") == 100001  # type: ignore[arg-type]
    seen = {os.fsencode(path[2:]) for path in listing.split("\0") if path not in ("", ".")}
    stubs = {b"etc/hosts", b"etc/hostname", b"etc/resolv.conf"}
    assert set(unpacked) - {b"dev", b"proc", b"sys"} == seen - stubs


def test_skopeo_finds_nothing_wrong(rich: Pybuild, tmp_path: Path) -> None:
    for source in ("oci-archive:out.tar:latest", "oci:out:latest", "docker-archive:docker.tar"):
        copy = tmp_path / source.replace(":", "_")
        subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", source, f"dir:{copy}"], check=True, cwd=rich.work)
        inspected = json.loads(
            subprocess.run(["skopeo", "inspect", source], check=True, cwd=rich.work, capture_output=True).stdout
        )
        assert "WHO=world" in inspected["Env"]


def test_podman_runs_it(rich: Pybuild, podman: Podman) -> None:
    shown = "hello world\n/all/sub:\nnew\n\nd:\nkept\n"
    for archive in ("out.tar", "docker.tar"):
        podman("load", "-i", rich.work / archive)
        assert podman.execute("test") == shown
        podman("rmi", "--all", "--force")
    assert rich.run("run", "test").stdout == shown


def test_the_same_build_gives_the_same_archive(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nRUN echo 1 > /x\n")
    busybox.build(context, "-o", "type=oci,dest=one.tar")
    busybox.build(context, "-o", "type=oci,dest=two.tar")
    assert (busybox.work / "one.tar").read_bytes() == (busybox.work / "two.tar").read_bytes()


def test_standard_output(busybox: Pybuild) -> None:
    """Nothing else goes there, whatever the command has to say."""
    context = busybox.context("FROM busybox\n")
    script = """
        "$@" > out.tar
        "$@" -q > quiet.tar && cmp out.tar quiet.tar
        "$@" --progress=json > json.tar && cmp out.tar json.tar
        skopeo inspect oci-archive:out.tar > /dev/null
        ls -l out.tar
    """
    from .conftest import PYBUILD

    result = subprocess.run(
        ["sh", "-ec", script, "sh", PYBUILD, "-t", "test", "-o", "type=oci", context],
        check=True,
        capture_output=True,
        text=True,
        cwd=busybox.work,
        env=busybox.environ(),
    )
    assert "out.tar" in result.stdout


def test_a_tar_and_a_directory(rich: Pybuild, tmp_path: Path) -> None:
    context = rich.work / "context"
    rich.build(context, "-o", "type=tar,dest=rootfs.tar", "-o", str(tmp_path / "rootfs"))
    assert (tmp_path / "rootfs/all/sub/new").read_text() == "new\n"
    assert (tmp_path / "rootfs/work/sub/hard").read_text() == "a\n"
    listed = subprocess.run(["tar", "-tf", "rootfs.tar"], check=True, cwd=rich.work, capture_output=True).stdout
    assert b"all/sub/new\n" in listed
    assert b"all/sub/old.txt" not in listed
    rich.run("import", "rootfs.tar", "-t", "again")
    assert rich.sh("cat /all/sub/new /work/sub/hard", "again") == "new\na\n"


def test_compressed_layers_are_kept(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nRUN echo 1 > /x\nRUN echo 2 > /y\n")
    blobs = busybox.root / "blobs/sha256"

    def kept() -> dict[str, int]:
        return {path.name: path.stat().st_ino for path in blobs.iterdir()} if blobs.exists() else {}

    busybox.build(context, "-o", "rootfs", "-o", "type=oci,dest=plain.tar,compression=uncompressed")
    assert kept() == {}
    busybox.build(context, "-o", "type=oci,dest=one.tar")
    first = kept()
    assert len(first) == 3
    busybox.build(context, "--no-cache", "-o", "type=oci,dest=two.tar", "-o", "type=docker,dest=docker.tar")
    assert kept() == first
    assert (busybox.work / "one.tar").read_bytes() == (busybox.work / "two.tar").read_bytes()
    busybox.build(context, "-o", "type=oci,dest=three.tar,compression=gzip,compression-level=9")
    assert len(kept()) == 6
    skopeo = ["skopeo", "--insecure-policy", "copy", "-q", "oci-archive:three.tar:latest", f"dir:{busybox.work}/copy"]
    subprocess.run(skopeo, check=True, cwd=busybox.work)


@pytest.mark.either_user
def test_what_comes_out_lends_its_owner_to_nobody(pybuild: Pybuild) -> None:
    text = "FROM scratch\nCOPY --chmod=4755 --chown=0 f /own\nCOPY --chmod=4755 --chown=7 f /other\n"
    pybuild.build(pybuild.context(text, f="x"), "-o", "type=local,dest=out")
    pybuild.run("cp", "test:/.", pybuild.work / "copied")
    for directory in ("out", "copied"):
        modes = [(pybuild.work / directory / name).stat().st_mode & 0o7777 for name in ("own", "other")]
        assert modes == [0o755 if pybuild.owner else 0o4755, 0o755]
