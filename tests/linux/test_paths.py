from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from buildah_py.linux import paths

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "secret").write_text("host")
    root = tmp_path / "root"
    (root / "dir").mkdir(parents=True)
    (root / "secret").write_text("inside")
    (root / "dir" / "up").symlink_to("../../../secret")
    (root / "absolute").symlink_to("/secret")
    (root / "magic").symlink_to("/proc/self/root/secret")
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize(
    "path", ["secret", "/secret", "../secret", "dir/up", "absolute", b"secret", "dir/../../secret"]
)
def test_no_path_leaves_the_root(root: int, path: str | bytes) -> None:
    descriptor = paths.openat2(root, path, os.O_RDONLY)
    try:
        assert os.read(descriptor, 10) == b"inside"
        assert not os.get_inheritable(descriptor)
    finally:
        os.close(descriptor)


def test_magic_links_are_refused() -> None:
    root = os.open("/", os.O_PATH | os.O_DIRECTORY)
    try:
        with pytest.raises(OSError, match="symbolic links"):
            paths.openat2(root, "/proc/self/root/etc", os.O_RDONLY)
    finally:
        os.close(root)


def test_errors_name_the_path(root: int) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        paths.openat2(root, "not/here", os.O_RDONLY)
    assert caught.value.filename == "not/here"


def test_null_byte_is_refused(root: int) -> None:
    with pytest.raises(ValueError, match="null"):
        paths.openat2(root, "secret\0x", os.O_RDONLY)


def test_creates_with_mode(root: int) -> None:
    descriptor = paths.openat2(root, "new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    assert os.fstat(descriptor).st_mode & 0o777 == 0o600
    os.close(descriptor)
