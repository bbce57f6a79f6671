"""COPY of more files than the main process creates by itself."""

from __future__ import annotations

import os
import tarfile
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.end_to_end.conftest import Pybuild

MODES = (0o644, 0o600, 0o444, 0o755, 0o4755, 0o666)


@pytest.mark.either_user
def test_very_many_files_arrive_as_they_are(pybuild: Pybuild) -> None:
    context = pybuild.context("FROM scratch\nCOPY tree /tree\nCOPY --chown=7:8 --chmod=u=rwx,go=r tree /owned\n")
    wanted = {}
    for number in range(1200):
        file = context / "tree" / f"d{number % 12}" / f"f{number}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"%d" % number * (number % 7))
        os.chown(file, pybuild.owner, pybuild.owner)
        mode = MODES[number % len(MODES)]
        file.chmod(mode)
        os.utime(file, (number, number))
        wanted[f"tree/d{number % 12}/f{number}"] = (mode, number, b"%d" % number * (number % 7))
    old = os.umask(0o077)
    try:
        pybuild.run("build", "-t", "many", "-o", "type=tar,dest=out.tar", context)
    finally:
        os.umask(old)
    with tarfile.open(pybuild.work / "out.tar") as tar:
        found = {one.name.removeprefix("./"): one for one in tar if one.isfile()}
        for path, (mode, mtime, data) in wanted.items():
            copied, owned = found[path], found["owned" + path.removeprefix("tree")]
            assert (copied.mode, copied.uid, copied.gid, copied.mtime) == (mode, 0, 0, mtime), path
            assert (owned.uid, owned.gid, owned.mode & 0o777) == (7, 8, 0o744), path
            for one in (copied, owned):
                content = tar.extractfile(one)
                assert content is not None
                assert content.read() == data
    assert "damaged" not in pybuild.run("fsck").stdout
