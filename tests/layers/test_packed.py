"""Stored tars that are not what they were."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from buildah_py.errors import ArchiveError
from buildah_py.layers.packed import PackedTar, Segment, trailer

if TYPE_CHECKING:
    from pathlib import Path


def test_what_was_cut_short_is_noticed_where_it_is_read(tmp_path: Path) -> None:
    whole, patch = tmp_path / "tar", tmp_path / "patch"
    whole.write_bytes(b"0123456789")
    patch.write_bytes(b"abc" + trailer("sha256:x", [Segment(True, 2, 8), Segment(False, 0, 3)], None))
    with PackedTar(str(whole)) as packed, PackedTar(str(patch), lambda _: str(whole)) as patched:
        assert packed.read_at(3, 4) == b"3456"
        assert patched.read_at(6, 5) == b"89abc"
        os.truncate(whole, 5)
        for opened, offset in ((packed, 3), (patched, 1)):
            with pytest.raises(ArchiveError, match=r"(tar|patch) is cut short"):
                opened.read_at(offset, 4)
