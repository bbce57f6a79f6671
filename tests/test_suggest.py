from __future__ import annotations

import pytest

from buildah_py.suggest import closest, did_you_mean


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("oic", ["tar", "oci"], "oci"),
        ("dst", ["dest", "dist"], "dest"),
        ("requirments.txt", ["README", "requirements.txt"], "requirements.txt"),
        ("abcd", ["abxy"], "abxy"),
        ("abcd", ["axyz"], ""),
        ("x", ["a", "ab"], ""),
        ("", ["a"], ""),
        ("same", ["sane", "same"], ""),
        ("README", ["readme"], ""),
        ("long" * 20, ["long" * 20 + "s"], ""),
    ],
)
def test_closest(name: str, known: list[str], meant: str) -> None:
    assert closest(name, known) == meant


def test_case_does_not_count_where_that_is_asked_for() -> None:
    assert closest("READM", ["src", "readme"], fold=True) == "readme"
    assert closest("x", ["a", "X"], fold=True) == "X"


def test_the_prefix_belongs_to_the_hint() -> None:
    assert did_you_mean("form", ["from"], prefix="--") == "did you mean --from?"
    assert did_you_mean("form", ["chown"], prefix="--") == ""
