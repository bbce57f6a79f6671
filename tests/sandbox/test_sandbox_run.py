from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.sandbox.conftest import Bench

pytestmark = pytest.mark.root


def test_runs_a_command_and_keeps_what_it_writes(bench: Bench) -> None:
    result = bench.sh("echo hello; echo oops >&2; echo data > /file; exit 3")
    assert (result.status, result.out, result.err) == (3, "hello\n", "oops\n")
    assert (bench.upper / "file").read_text() == "data\n"
    assert bench.committed() == ["file"]
