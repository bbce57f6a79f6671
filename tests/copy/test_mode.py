from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path  # noqa: TC003 - hypothesis looks the annotation up

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from buildah_py.copy.mode import parse_mode
from buildah_py.errors import UsageError


@pytest.mark.parametrize(
    ("text", "before", "directory", "after"),
    [
        ("755", 0o600, False, 0o755),
        ("0", 0o777, False, 0),
        ("4711", 0o600, False, 0o4711),
        ("07777", 0, True, 0o7777),
        ("u=rwX,go=rX", 0o600, False, 0o644),
        ("u=rwX,go=rX", 0o700, False, 0o755),
        ("u=rwX,go=rX", 0o600, True, 0o755),
        ("+x", 0o644, False, 0o755),
        ("a-w", 0o666, False, 0o444),
        ("g=u", 0o640, False, 0o660),
        ("u+s,g+s", 0o755, False, 0o6755),
        ("+t", 0o755, True, 0o1755),
        ("go=", 0o755, False, 0o700),
        ("u+x-w", 0o644, False, 0o544),
        ("u=rwX,go=rX", 0o2750, True, 0o755),
        ("a=rX", 0o1777, True, 0o1555),
        ("u=g", 0o4755, False, 0o4555),
        ("a-x+X", 0o755, False, 0o755),
        ("o+t", 0o755, True, 0o755),
        ("u+t", 0o755, True, 0o1755),
        ("o+s", 0o755, False, 0o755),
        ("=", 0o2755, True, 0),
    ],
)
def test_apply(text: str, before: int, directory: bool, after: int) -> None:
    assert oct(parse_mode(text).apply(before, directory=directory)) == oct(after)


@pytest.mark.parametrize("text", ["", "8", "17777", "rwx", "u", "u=z", "u=rw,", "u=ug", "0x1", "\u0667"])
def test_what_is_no_mode(text: str) -> None:
    with pytest.raises(UsageError, match="--chmod="):
        parse_mode(text)


CLAUSES = st.tuples(
    st.sampled_from(["u", "g", "o", "a", "ug", "go", "ugo"]),
    st.sampled_from(["+", "-", "="]),
    st.sampled_from(["", "r", "w", "x", "X", "rw", "rwx", "rX", "u", "g", "o", "rwX"]),
).map("".join)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(CLAUSES, min_size=1, max_size=3).map(",".join), st.integers(0, 0o777), st.booleans())
def test_agrees_with_gnu_chmod(tmp_path: Path, text: str, before: int, directory: bool) -> None:
    """But for set-id bits, and for an X behind another clause: it asks for the mode that the file had before."""
    assume("X" not in text.partition(",")[2])
    path = tmp_path / ("dir" if directory else "file")
    path.mkdir(exist_ok=True) if directory else path.touch()
    os.chmod(path, before)
    subprocess.run(["chmod", "--", text, str(path)], check=True, env={"PATH": os.environ["PATH"], "LC_ALL": "C"})
    assert parse_mode(text).apply(before, directory=directory) == stat.S_IMODE(path.stat().st_mode)
