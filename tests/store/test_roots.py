"""Copies of images' files that builds below PRoot keep: prune removes them, but not under a build."""

from __future__ import annotations

import fcntl
from typing import TYPE_CHECKING

from buildah_py.store.disk_usage import trim_roots

if TYPE_CHECKING:
    from pathlib import Path


def test_copies_that_no_build_uses_go(tmp_path: Path) -> None:
    for number in range(1, 12):
        (tmp_path / str(number) / "root").mkdir(parents=True)
        (tmp_path / str(number) / "root" / "file").write_bytes(bytes(8192))
        (tmp_path / str(number) / "lock").touch()
    with (tmp_path / "10" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        freed = trim_roots(str(tmp_path), most=4, dry_run=True)
        assert len([*tmp_path.glob("*/root/file")]) == 11
        assert 6 * 8192 <= freed <= trim_roots(str(tmp_path), most=4)
        assert {path.parts[-3] for path in tmp_path.glob("*/root/file")} == {"1", "2", "3", "4", "10"}
        assert trim_roots(str(tmp_path), most=0)
    assert trim_roots(str(tmp_path), most=0)
    assert not [*tmp_path.glob("*/root")]
    assert trim_roots(str(tmp_path / "nowhere")) == 0
