"""Builds that are killed, and machines that lose their power: nothing is lost, and nothing wrong is used.

`PYBUILD_CRASH_POINTS` says how many points of a build are tried (default 12), `PYBUILD_CRASH_SEED` which ones.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from .conftest import PYBUILD

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Pybuild

pytestmark = pytest.mark.root

POINTS = int(os.environ.get("PYBUILD_CRASH_POINTS", "12"))
SEED = int(os.environ.get("PYBUILD_CRASH_SEED", "5"))
TEXT = (
    "FROM busybox AS one\nARG N\nCOPY many /many\nRUN echo $N >/one; for i in 1 2 3 4 5 6; do echo $i >/f$i; done\n"
    "FROM busybox\nARG N\nWORKDIR /w/$N\nRUN --mount=type=cache,target=/c echo $N >>/c/log; mkdir /d; echo $N >/d/two\n"
    "COPY --from=one /one /f1 /many/ /d/\nRUN rm /d/m7.txt; echo $N >/d/three\n"
)


def build(pybuild: Pybuild, context: Path, number: int, **options: object) -> subprocess.Popen[bytes]:
    command = [PYBUILD, "--progress=plain", "-t", "test", "--build-arg", f"N={number}", str(context)]
    return subprocess.Popen(command, env=pybuild.environ(), start_new_session=True, stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)  # fmt: skip


def cut_power(root: Path, chance: random.Random) -> None:
    """Make the boot another one, and have files of layers that were in flight lose their ends."""
    database = sqlite3.connect(root / "state.db")
    rows = database.execute("SELECT diff_id FROM layers WHERE boot IS NOT NULL").fetchall()
    database.execute("UPDATE layers SET boot = 'an earlier one' WHERE boot IS NOT NULL")
    database.commit()
    database.close()
    for (diff_id,) in rows:
        home = root / "layers" / diff_id.removeprefix("sha256:")
        files = [path for path in home.rglob("*") if path.is_file() and not path.is_symlink()]
        for path in chance.sample(files, min(len(files), chance.randrange(3))):
            os.truncate(path, chance.randrange(path.stat().st_size + 1))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_kill_at_any_point_and_power_cuts_lose_nothing(busybox: Pybuild) -> None:
    context = busybox.context(TEXT, **{f"many__m{number}_txt": f"{number}\n" for number in range(30)})
    began = time.monotonic()
    assert build(busybox, context, 0).wait() == 0
    whole = time.monotonic() - began
    chance = random.Random(SEED)
    killed = 0
    for point in range(1, POINTS + 1):
        process = build(busybox, context, point)
        try:
            process.wait(whole * point / POINTS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        if point % 3 == 0:
            cut_power(busybox.root, chance)
        before = busybox.run("images", "-q").stdout.split()
        assert len(before) >= 2 or point % 3 == 0, "the images that were there still are"
        shown = busybox.run("fsck").stdout
        assert "clean" in shown, (point, shown)
        busybox.run("--progress=plain", "-t", "test", "--build-arg", f"N={point}", context)
        busybox.run("--progress=plain", "-t", f"kept{point}", "--build-arg", f"N={point}", context)
        seen = busybox.run("cat", "test:/d/one", "test:/d/two", "test:/d/three", "test:/d/f1", "test:/d/m8.txt").stdout
        assert seen == f"{point}\n" * 3 + "1\n8\n", point
        assert "no /d/m7.txt" in busybox.run("cat", "test:/d/m7.txt", status=125).stderr
        assert os.listdir(busybox.root / "staging") == []
        if point % 4 == 0:
            busybox.run("prune")
    assert killed >= POINTS // 2, "most builds were still running"
    shown = busybox.run("fsck").stdout
    assert "clean" in shown, shown
    names = busybox.run("images").stdout
    assert all(f"kept{point} " in names for point in range(1, POINTS + 1))
    busybox.run("prune", "--all")
    assert os.listdir(busybox.root / "layers") == []
    assert len(os.listdir(busybox.root / "leases")) <= 1


def test_a_power_cut_after_a_build_loses_nothing(busybox: Pybuild) -> None:
    context = busybox.context(TEXT, many__m7_txt="7\n")
    busybox.build(context, "--build-arg=N=1")
    cut_power(busybox.root, random.Random(SEED))
    assert "clean" in busybox.run("fsck").stdout
    assert set(busybox.build(context, "--build-arg=N=1").outcomes()) == {"HIT"}


def test_layers_that_the_power_cut_left_whole_are_kept_and_an_image_that_went_is_told(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nRUN echo 1 >/one\nRUN echo 2 >/two\n")
    busybox.build(context)
    database = sqlite3.connect(busybox.root / "state.db")
    database.execute("UPDATE layers SET boot = 'an earlier one'")
    database.commit()
    database.close()
    (home,) = (home for home in (busybox.root / "layers").iterdir() if (home / "fs/two").exists())
    os.truncate(home / "fs/two", 0)
    built = busybox.build(context)
    assert "the image test:latest was lost in a power cut" in built.shown
    assert built.outcomes() == ["HIT", "RAN"]
    assert busybox.run("cat", "test:/one", "test:/two").stdout == "1\n2\n"


def test_steps_before_a_failed_one_are_hits_and_durable_later(busybox: Pybuild) -> None:
    good = "FROM busybox\nRUN echo 1 >/one\n"
    busybox.build(busybox.context(good + "RUN false\n"), status=1)
    assert busybox.build(busybox.context(good)).outcomes() == ["HIT"]
    database = sqlite3.connect(busybox.root / "state.db")
    assert database.execute("SELECT count(*) FROM layers WHERE boot IS NOT NULL").fetchone() == (0,)
    database.close()
