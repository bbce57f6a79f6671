"""Secrets are read once, from whatever can be read once."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from buildah_py.errors import Interrupted, NotFound, UsageError
from buildah_py.sources.secrets import MAX_BYTES, parse_secrets, readers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from buildah_py.sources.secrets import SecretReaders


def of(path: object, more: str = "", cancelled: Callable[[], bool] = lambda: False) -> SecretReaders:
    return readers(parse_secrets([f"id=s,src={path}{more}"], {}), {}, cancelled)


@pytest.mark.parametrize("value", [b"hello\n", b"", bytes(MAX_BYTES)])
def test_a_pipe_gives_its_value_to_all_who_ask(value: bytes) -> None:
    reading, writing = os.pipe()

    def write() -> None:
        with open(writing, "wb") as file:
            file.write(value)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        found = of(f"/proc/self/fd/{reading}", ",key=digest")
        digest = found.digest("s")
        assert [found.value("s"), found.value("s")] == [value, value]
        assert found.digest("s") == digest
        assert found.value("other") is None
    finally:
        thread.join()
        os.close(reading)


def test_a_pipe_with_a_name_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    thread = threading.Thread(target=(tmp_path / "fifo").write_bytes, args=(b"hello",))
    found = of(tmp_path / "fifo")
    seen: list[bytes | None] = []
    reader = threading.Thread(target=lambda: seen.append(found.value("s")))
    reader.start()
    thread.start()
    reader.join(20)
    thread.join(20)
    assert seen == [b"hello"]
    assert found.value("s") == b"hello"


def test_nobody_writes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(Interrupted):
        of(tmp_path / "fifo", cancelled=lambda: True).value("s")


def test_what_changes_meanwhile_is_what_it_was(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"one")
    found = of(tmp_path / "file")
    assert found.value("s") == b"one"
    (tmp_path / "file").write_bytes(b"two")
    assert found.value("s") == b"one"


def test_too_large_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(MAX_BYTES + 1))
    for path in (tmp_path / "file", "/dev/zero"):
        with pytest.raises(UsageError, match="larger than 500 KiB"):
            of(path).value("s")
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(NotFound, match="cannot be read"):
            of(path).value("s")
