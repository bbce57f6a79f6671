"""Programs that fetch something for a build: within bounds, and gone with all that they have started."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

import pytest

from buildah_py.errors import Interrupted
from buildah_py.sources.program import run

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT = {"PATH": os.environ["PATH"]}


def test_files_have_a_bound(tmp_path: Path) -> None:
    """It is set once the program runs, which here waits for that."""
    script = "while [ $(ulimit -f) = unlimited ]; do true; done; head -c 100000 /dev/zero > file"
    run(["sh", "-c", script], ENVIRONMENT, str(tmp_path), cancelled=lambda: False, longest=30, largest=10_240)
    assert (tmp_path / "file").stat().st_size == 10_240


def test_all_that_was_started_is_ended(tmp_path: Path) -> None:
    """Whatever signals it ignores."""
    os.mkfifo(tmp_path / "alive")
    reading = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    script = 'exec 3>alive; trap "" TERM; sh -c "trap \\"\\" TERM; echo up >&3; sleep 1000; true" & wait'
    with open(reading, "rb", buffering=0) as alive:

        def started() -> bool:
            return bool(select.select([alive], [], [], 0)[0])

        with pytest.raises(Interrupted):
            run(["sh", "-c", script], ENVIRONMENT, str(tmp_path), cancelled=started, longest=60, largest=10_240)
        os.set_blocking(reading, True)
        assert alive.read(3) == b"up\n"
        assert alive.read(1) == b"", "the last that had it open has ended"
