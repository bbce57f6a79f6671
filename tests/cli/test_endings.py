"""What ends the program, and when."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

MODULE = """
import os, signal
os.kill(os.getpid(), signal.{name})
for _ in range(1000):
    pass
whole = True
"""
PROGRAM = """
import sys, time
from buildah_py.api.signals import treat_all_endings_alike
treat_all_endings_alike()
try:
    import interrupted
    while True:  # pause(2) would miss a signal that comes right before it
        time.sleep(0.01)
except KeyboardInterrupt:
    print("whole" if sys.modules["interrupted"].whole else "broken")
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_an_ending_waits_for_an_import(tmp_path: Path, name: str) -> None:
    (tmp_path / "interrupted.py").write_text(MODULE.format(name=name))
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = [{str(tmp_path)!r}]\n{PROGRAM}"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ran.stdout, ran.stderr, ran.returncode) == ("whole\n", "", 0)
