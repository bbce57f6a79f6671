"""Screens of the main states at three widths; `python -m tests.progress.test_screens` writes them anew."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildah_py.meter import ITEMS, Moved
from buildah_py.progress import choose, events
from buildah_py.progress.folding import Sections
from buildah_py.progress.plain import PlainText
from buildah_py.progress.tty import Tty
from buildah_py.progress.waiting import Bars, SparseLines

pyte = pytest.importorskip("pyte", reason="needs pyte, a terminal emulator")

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildah_py.progress.renderer import Ticking

    Scene = list[tuple[float, events.Event | None]]

SCREENS = Path(__file__).with_name("screens")
WIDTHS = (120, 80, 40)
ROWS = 40
IMAGE = "sha256:" + "0123456789abcdef" * 4
APT = "RUN apt-get update && \\\n    apt-get install -y --no-install-recommends build-essential git && \\\n  rm -rf /x"
URL = "https://example.org/releases/1.2.3/application-1.2.3-linux-amd64.tar.gz"
MB = 1_000_000


def moved(step: int, what: str, mb: float, total: float, seconds: float, *, ended: bool = False) -> Moved:
    apart = what.startswith("pulling")
    return Moved(step, what, int(mb * MB), int(total * MB), seconds=seconds, ended=ended, apart=apart)


RUNNING: Scene = [
    (0.0, events.BuildStarted(9)),
    (0.0, events.Note("fetching 2 layers, 630.6 MB")),
    (0.0, events.StepStarted(1, "build", 1, 4, "FROM debian:12")),
    (0.0, events.StepDone(1, events.HIT)),
    (0.1, events.StepStarted(2, "build", 2, 4, "COPY src /src")),
    (1.6, events.StepDone(2, events.RAN, "COPY src: src/app.py changed", 1.5)),
    (1.6, events.StepStarted(3, "build", 3, 4, APT)),
    (1.7, events.StepStarted(4, "tools", 2, 3, f"ADD {URL} /opt/")),
    (1.7, moved(4, f"downloading {URL}", 0, 20, 0)),
    (1.8, events.StepStarted(5, "data", 2, 2, "COPY big /big")),
    (2.0, events.StepOutput(3, events.STDOUT, b"Reading package lists...\nBuilding dependency tree...\n" * 4)),
    (3.7, moved(4, f"downloading {URL}", 3.1, 20, 2)),
    (4.0, moved(5, "copying", 315, 629, 2)),
    (4.2, events.StepOutput(3, events.STDERR, "\u4e16\u754c and \x1b[31mcolours\x1b[0m, and a long row ".encode() * 4)),
    (4.2, events.StepOutput(3, events.STDERR, b"\n")),
    (5.7, moved(4, f"downloading {URL}", 6.2, 20, 4)),
    (5.8, moved(5, "copying", 600, 629, 4)),
    (65.0, None),
]  # fmt: skip

TRANSFERS: Scene = [
    (0.0, events.BuildStarted(2)),
    (0.0, events.StepStarted(1, "", 1, 2, "FROM debian:12")),
    (0.0, events.StepDone(1, events.HIT)),
    (0.0, events.StepStarted(2, "", 2, 2, "RUN make")),
    (0.0, moved(2, "pulling debian:12", 0, 630, 0)),
    (4.4, moved(2, "pulling debian:12", 630, 630, 4.4, ended=True)),
    (4.6, events.StepOutput(2, events.STDOUT, b"made\n")),
    (5.0, events.StepDone(2, events.RAN, events.FIRST_BUILD, 0.6)),
    (5.0, moved(0, "pushing registry.example.org/team/application:1.2.3", 0, 629, 0)),
    (5.0, moved(0, "compressing 2 layers", 0, 700, 0)),
    (5.0, Moved(0, "fetching https://example.org/repository.git", 0, 0)),
    (5.0, Moved(0, "checking layers", 0, 7, ITEMS)),
    (6.0, moved(0, "compressing 2 layers", 350, 700, 1)),
    (7.0, moved(0, "pushing registry.example.org/team/application:1.2.3", 40, 629, 2)),
    (7.0, moved(0, "compressing 2 layers", 700, 700, 2)),
    (7.0, Moved(0, "checking layers", 3, 7, ITEMS, 2)),
    (7.5, None),
]  # fmt: skip

FINISHED: Scene = [
    (0.0, events.BuildStarted(4)),
    (0.0, events.StepStarted(1, "", 1, 4, "FROM debian:12")),
    (0.0, events.StepDone(1, events.HIT)),
    (0.2, events.StepStarted(2, "", 2, 4, APT)),
    (9.0, events.StepDone(2, events.RAN, events.FIRST_BUILD, 8.8, 3.25, 200 * MB)),
    (9.0, events.StepStarted(3, "", 3, 4, "WORKDIR /srv")),
    (9.0, events.StepDone(3, events.RAN, events.FIRST_BUILD, 0.04)),
    (9.0, events.StepStarted(4, "", 4, 4, "RUN --mount=type=cache,target=/root/.cache make")),
    (9.0, events.StepDone(4, events.HIT, source="registry.example.org/cache")),
    (140.0, events.Warning("Dockerfile:2: JSONArgsRecommended: CMD in shell form keeps signals from the program")),
    (140.0, events.BuildDone(IMAGE, ("application:latest",), 140.0, 1, 2)),
]  # fmt: skip

FAILED: Scene = [
    (0.0, events.BuildStarted(4)),
    (0.0, events.StepStarted(1, "build", 1, 2, "RUN make")),
    (0.0, events.StepStarted(2, "test", 1, 2, "RUN pytest --verbose --color=yes tests/unit tests/integration")),
    (0.5, events.StepOutput(1, events.STDERR, b"make: *** No targets specified and no makefile found.  Stop.\n")),
    (0.5, events.StepOutput(2, events.STDOUT, b"collected 120 items\ntests/unit/test_a.py::test_one PASSED\n")),
    (1.0, events.StepDone(1, events.FAILED, "status 2", 1.0)),
    (1.0, events.StepDone(2, events.CANCELLED)),
    (1.0, events.BuildFailed(1.0)),
]  # fmt: skip

SCENES = {"running": RUNNING, "transfers": TRANSFERS, "finished": FINISHED, "failed": FAILED}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Written(io.StringIO):
    encoding = "utf-8"


def play(scene: Scene, sink: Ticking, clock: Clock, step: float = 0.0) -> None:
    """Show a scene; where it says None, and each `step` seconds, a tick passes."""
    for at, event in scene:
        while step and clock.now + step <= at:
            clock.now += step
            sink.tick()
        clock.now = at
        if event is None:
            sink.tick()
        else:
            sink(event)


def on_terminal(scene: Scene, columns: int, kind: type[Tty | Bars] = Tty) -> str:
    """Give what a window of that width shows, its lines with a border where it ends."""
    err, clock = Written(newline=""), Clock()
    sink = kind(err, err, colour=True, clock=clock, size=lambda: (columns, ROWS), ticks=False)
    play(scene, sink, clock)
    screen = pyte.Screen(columns, ROWS)
    screen.set_mode(pyte.modes.LNM)
    pyte.Stream(screen).feed(err.getvalue())
    sink.close()
    lines = [line.rstrip() for line in screen.display]
    while lines and not lines[-1]:
        del lines[-1]
    return "".join(f"{line}\n" for line in [*lines, "-" * columns])


def in_log(scene: Scene, **env: str) -> str:
    err, clock = Written(), Clock()
    sink = choose.renderer("plain", err=err, out=err, env=env)
    assert isinstance(sink, PlainText)
    sink._clock, sink._ticks = clock, False
    if isinstance(sink.folding, Sections):
        sink.folding._clock = lambda: 1_700_000_000.0
    play(scene, sink, clock, step=1.0)
    sink.close()
    return err.getvalue()


def of_command(scene: Scene) -> str:
    err, clock = Written(), Clock()
    sink = SparseLines(err, err, clock=clock, ticks=False)
    play([one for one in scene if isinstance(one[1], Moved | None)], sink, clock, step=1.0)
    sink.close()
    return err.getvalue()


def screens() -> dict[str, Callable[[], str]]:
    """Name the files, each with what makes its text."""
    found: dict[str, Callable[[], str]] = {}
    for name, scene in SCENES.items():
        found |= {f"{name}-{columns}.txt": partial(on_terminal, scene, columns) for columns in WIDTHS}
        found[f"{name}-plain.txt"] = partial(in_log, scene)
    found |= {f"command-{columns}.txt": partial(on_terminal, TRANSFERS, columns, Bars) for columns in WIDTHS}
    found["command-plain.txt"] = partial(of_command, [*TRANSFERS, (40.0, None)])
    found["running-github.txt"] = partial(in_log, RUNNING, GITHUB_ACTIONS="true")
    found["running-gitlab.txt"] = partial(in_log, RUNNING, GITLAB_CI="true")
    return found


@pytest.mark.parametrize("name", list(screens()))
def test_screens(name: str) -> None:
    assert screens()[name]() == (SCREENS / name).read_bytes().decode()


def test_short_transfers_one_after_the_other_are_told_of_every_ten_seconds() -> None:
    err, clock = Written(), Clock()
    sink = SparseLines(err, err, clock=clock, ticks=False)
    for number in range(8):
        for done in range(4):
            sink(Moved(0, f"unpacking part {number}", done, 3, ITEMS, float(done), ended=done == 3))
            clock.now += 1.0
            sink.tick()
    sink.close()
    assert err.getvalue().split("\n")[:-1] == [
        "unpacking part 2: 1 of 3, 2.0s",
        "unpacking part 5: 0 of 3, 1.0s",
        "unpacking part 7: 2 of 3, 3.0s",
    ]


def test_all_screens_are_made() -> None:
    assert {path.name for path in SCREENS.iterdir()} == set(screens())


@pytest.mark.parametrize("columns", [1, 2, 10, 20, 30, 39, 41])
def test_no_line_is_longer_than_the_window(columns: int) -> None:
    from buildah_py.progress.text import width

    for scene in SCENES.values():
        err, clock = Written(newline=""), Clock()
        sink = Tty(err, err, colour=False, clock=clock, size=lambda: (columns, ROWS), ticks=False)
        for at, event in scene:
            if isinstance(event, events.BuildFailed):
                break  # the last output of what failed is shown whole
            play([(at, event), (at, None)], sink, clock)
        text = err.getvalue().replace("\x1b[J", "").replace("\x1b[A", "")
        longest = max(width(line) for piece in text.split("\n") for line in piece.split("\r"))
        assert longest <= columns or columns < 20, "narrower than anybody reads it only has to go on"


if __name__ == "__main__":
    for file, make in screens().items():
        (SCREENS / file).write_bytes(make().encode())
