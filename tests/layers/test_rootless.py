"""Layers in a user namespace, where neither mknod nor trusted.* attributes work."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from buildah_py.layers.adopt import adopt_parents
from buildah_py.layers.entry import DIR, FILE, Entry
from buildah_py.layers.inventory import Inventory
from buildah_py.layers.view import LayerTree, MergedView
from buildah_py.layers.writer import LayerWriter

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """if True:
    import io, os, subprocess, sys
    from buildah_py.layers.apply import unpack
    from buildah_py.layers.capture import capture
    from buildah_py.layers.tar import pack
    from buildah_py.layers.view import LayerTree, MergedView

    top = sys.argv[1]
    os.chdir(top)
    for name in ("base", "upper", "work", "merged", "copy"):
        os.mkdir(name)
    os.makedirs("base/d/sub")
    os.makedirs("base/e")
    for path in ("base/d/f", "base/d/sub/g", "base/e/h"):
        open(path, "w").close()
    options = "lowerdir=base,upperdir=upper,workdir=work,userxattr,index=off,metacopy=off"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, "merged"], check=True)
    subprocess.run(["sh", "-euc", "rm -r d/sub d/f; mkdir d/sub; rm -r e; touch d/sub/new"], cwd="merged", check=True)
    captured = capture("upper", ["base"], userxattr=True)
    for entry in captured.inventory:
        print(entry.path, entry.kind, entry.uid)
    out = io.BytesIO()
    assert pack(captured.inventory, "upper", out.write) == captured.diff_id
    again = unpack(io.BytesIO(out.getvalue()), "copy", userxattr=True)
    assert again.inventory.layer_digest == captured.inventory.layer_digest
    subprocess.run(["umount", "merged"], check=True)
    options = "lowerdir=copy:base,userxattr"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, "merged"], check=True)
    print(*sorted(os.path.join(where, name) for where, dirs, files in os.walk("merged") for name in dirs + files))
    opaque = unpack(io.BytesIO(open("opaque.tar", "rb").read()), "opaque", userxattr=True)
    subprocess.run(["umount", "merged"], check=True)
    options = "lowerdir=opaque:base,userxattr"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, "merged"], check=True)
    print(*sorted(os.listdir("merged/d")))
"""


@pytest.mark.userns
def test_capture_and_unpack_in_a_user_namespace(tmp_path: Path) -> None:
    inside = ["unshare", "--user", "--map-root-user", "--mount"]
    probe = subprocess.run([*inside, "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("user namespaces are not available here")
    (tmp_path / "opaque").mkdir()
    archive = tmp_path / "tree/d"
    archive.mkdir(parents=True)
    (archive / ".wh..wh..opq").touch()
    (archive / "only").touch()
    subprocess.run(["tar", "-cf", tmp_path / "opaque.tar", "-C", tmp_path / "tree", "d"], check=True)
    done = subprocess.run(
        [*inside, sys.executable, "-c", SCRIPT, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "d dir 0",
        "d/f whiteout 0",
        "d/sub dir 0",
        "d/sub/g whiteout 0",
        "d/sub/new file 0",
        "e whiteout 0",
        "merged/d merged/d/sub merged/d/sub/new",
        "only",
    ]


def test_implied_directories_take_after_those_below(tmp_path: Path) -> None:
    with LayerWriter(str(tmp_path)) as writer:
        writer.add_dir("tmp", implied=True)
        writer.add_dir("tmp/own", 0o700)
        writer.add_dir("tmp/deep", implied=True)
        writer.add_file("tmp/deep/f", b"")
        writer.add_dir("new", implied=True)
        captured = writer.finish()
    uid, gid = os.geteuid(), os.getegid()
    below = MergedView(
        [
            LayerTree(
                "/nowhere",
                Inventory(
                    [
                        Entry("tmp", DIR, 0o1777, uid, gid, mtime=5_000_000_000),
                        Entry("tmp/own", DIR, 0o755),
                        Entry("tmp/deep", DIR, 0o711, uid, gid, xattrs=(("user.x", b"1"),)),
                        Entry("new", FILE),
                    ]
                ),
            )
        ]
    )
    layer = LayerTree(str(tmp_path), captured.inventory)
    adopt_parents(layer, below)
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("tmp", "tmp/own", "tmp/deep", "new")}
    assert modes == {"tmp": 0o1777, "tmp/own": 0o700, "tmp/deep": 0o711, "new": 0o755}
    assert (tmp_path / "tmp").stat().st_mtime == 5
    assert os.getxattr(tmp_path / "tmp/deep", "user.x") == b"1"
