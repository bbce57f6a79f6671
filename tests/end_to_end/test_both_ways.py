"""Images between us and other tools, compared file by file: umoci unpacks ours, we mount what umoci has made."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.end_to_end.conftest import Pybuild

pytestmark = pytest.mark.root

FIRST = r"""
mkdir -p a/deep/er b/kept c/gone sticky 'odd name
with a line' && chmod 1777 sticky && echo one > a/file && echo two > a/deep/two && ln a/file a/deep/link
ln -s ../../nowhere a/dangling && ln -s /a/file b/absolute && mkfifo b/fifo && mknod b/null c 1 3
i=0; while [ $i -lt 30 ]; do echo $i > c/gone/$i; i=$((i+1)); done
name=$(printf 'n%.0s' 1 2 3 4 5 6 7 8 9 10); long=$name$name$name$name$name$name$name$name$name$name$name$name
mkdir -p $long/$long/$long && echo far > $long/$long/$long/end && printf 'bytes' > "$(printf 'caf\303\251 \377')"
echo set > b/setuid && chown 12:34 b/setuid && chmod 6755 b/setuid && head -c 300000 /dev/urandom > b/large
touch -d '1999-12-31 23:59:58' b/old && truncate -s 5M b/sparse && : > b/empty && touch b/.wheel
"""
SECOND = r"""
rm -r c/gone && mkdir c/gone && echo new > c/gone/new && rm a/dangling && rm -r b/kept && echo file > b/kept
rm a/file && mkdir a/file && echo inside > a/file/x && chmod 700 a && chown 5:6 sticky && rm b/absolute
mv b/old c/old && echo more >> b/large && rm b/fifo && ln b/empty c/again
"""


def listing(root: Path) -> dict[str, tuple[object, ...]]:
    """Describe every path below a directory."""
    found: dict[str, tuple[object, ...]] = {}
    links: dict[tuple[int, int], str] = {}
    for directory, directories, files in os.walk(root):
        for name in sorted((*directories, *files), key=os.fsencode):
            path = os.path.join(directory, name)
            status = os.lstat(path)
            kind = stat.S_IFMT(status.st_mode)
            content: object = ""
            if kind == stat.S_IFREG:
                # The first of its names, which is its own where it has no other.
                first = links.setdefault((status.st_dev, status.st_ino), os.path.relpath(path, root))
                with open(path, "rb") as file:
                    content = (file.read(), first)
            elif kind == stat.S_IFLNK:
                content = os.readlink(path)
            elif kind in (stat.S_IFCHR, stat.S_IFBLK):
                content = status.st_rdev
            attributes = {one: os.getxattr(path, one) for one in os.listxattr(path, follow_symlinks=False)}
            seconds = 0 if kind == stat.S_IFDIR else int(status.st_mtime)
            found[os.path.relpath(path, root)] = (
                stat.filemode(status.st_mode),
                status.st_uid,
                status.st_gid,
                content,
                seconds,
                sorted(attributes.items()),
            )
    return found


def needs_umoci() -> None:
    if shutil.which("umoci") is None:
        pytest.skip("needs umoci")


def umoci(*arguments: object) -> None:
    subprocess.run(["umoci", *map(str, arguments)], check=True, capture_output=True)


@pytest.mark.parametrize("compression", ["gzip", "uncompressed"])
def test_umoci_unpacks_ours(busybox: Pybuild, tmp_path: Path, compression: str) -> None:
    needs_umoci()
    text = f"FROM busybox\nRUN <<'EOF'\nset -eu\n{FIRST}EOF\nRUN <<'EOF'\nset -eu\n{SECOND}EOF\n"
    layout = tmp_path / "layout"
    busybox.build(busybox.context(text), "-o", f"type=oci,dest={layout},tar=false,name=x:1,compression={compression}")
    umoci("unpack", "--image", f"{layout}:1", tmp_path / "bundle")
    same(busybox, tmp_path / "bundle" / "rootfs", tmp_path)


def same(pybuild: Pybuild, theirs: Path, tmp_path: Path) -> None:
    """The image `test` shows the same files as a directory."""
    ours = tmp_path / "ours"
    ours.mkdir()
    pybuild.run("mount", "test", ours)
    try:
        mine, other = listing(ours), listing(theirs)
        assert sorted(mine, key=os.fsencode) == sorted(other, key=os.fsencode)
        assert {path: (mine[path], other[path]) for path in mine if mine[path] != other[path]} == {}
        assert len(mine) > 20
    finally:
        pybuild.run("umount", ours)


def test_we_read_what_umoci_packs(pybuild: Pybuild, tmp_path: Path) -> None:
    needs_umoci()
    layout = tmp_path / "layout"
    umoci("init", "--layout", layout)
    umoci("new", "--image", f"{layout}:1")
    for number, script in enumerate((FIRST, SECOND)):
        bundle = tmp_path / f"bundle{number}"
        umoci("unpack", "--image", f"{layout}:1", bundle)
        subprocess.run(["/bin/sh", "-euc", script], cwd=bundle / "rootfs", check=True)
        umoci("repack", "--image", f"{layout}:1", bundle)
    umoci("unpack", "--image", f"{layout}:1", tmp_path / "bundle")
    context = pybuild.context("FROM theirs\nLABEL ours=yes\n")
    pybuild.build(context, "--build-context", f"theirs=oci-layout://{layout}:1")
    same(pybuild, tmp_path / "bundle" / "rootfs", tmp_path)
