"""The form of layers on the disk of an ordinary user."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildah_py.layers import ondisk
from buildah_py.layers.capture import capture
from buildah_py.layers.xattrs import CAPABILITY, NOTE, is_kept, kept

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODES = st.integers(0, 0o7777)
PAIRS = st.dictionaries(st.sampled_from(["user.a", "user.z", CAPABILITY]), st.binary(max_size=4)).map(
    lambda found: tuple(sorted(found.items()))
)


@pytest.fixture(scope="module", autouse=True)
def ordinary() -> Iterator[None]:
    """Have this process be nobody who overrides modes."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ondisk, "is_noted", lambda: True)
        yield


@given(MODES, PAIRS, st.booleans())
def test_what_is_meant_comes_back(mode: int, pairs: tuple[tuple[str, bytes], ...], directory: bool) -> None:
    """The owner can read what is on the disk, and set all of it; nothing is noted where nothing is lacking."""
    on_disk, attributes = ondisk.encode(mode, pairs, directory=directory)
    kind = stat.S_IFDIR if directory else stat.S_IFREG
    assert ondisk.reachable(kind | on_disk) == kind | on_disk
    assert CAPABILITY not in dict(attributes)
    assert all(is_kept(name) for name, _ in attributes)
    assert list(attributes) == sorted(attributes)
    assert ondisk.decode(kind | on_disk, attributes) == (kind | mode, pairs)
    if on_disk == mode and CAPABILITY not in dict(pairs):
        assert attributes == pairs


def test_a_note_of_an_image_is_none() -> None:
    assert kept(((NOTE, b"0"), ("user.a", b"1"))) == (("user.a", b"1"),)


@pytest.mark.parametrize("forged", [b"4755 0100000280000000000000000000000000000000", b"4755"])
def test_a_note_that_a_step_has_forged_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forged: bytes) -> None:
    """Whoever has a file may give it the attribute: it is to gain nothing by that where modes and rights are kept."""
    monkeypatch.setattr(ondisk, "is_noted", lambda: False)
    upper, lower = tmp_path / "upper", tmp_path / "lower"
    upper.mkdir()
    lower.mkdir()
    (upper / "own").touch(0o700)
    os.setxattr(upper / "own", NOTE, forged)
    found = capture(str(upper), [str(lower)]).inventory.get("own")
    assert found is not None
    assert found.mode == 0o700
    assert found.xattrs == ()


@pytest.mark.parametrize("note", [b"", b"zz", b"99", b"755 1", b"755 zz", b"17777"])
def test_nonsense_is_no_note(note: bytes) -> None:
    assert ondisk.decode(0o600, (("user.a", b"1"), (NOTE, note))) == (0o600, (("user.a", b"1"),))
