from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pexpect
import pytest

from buildah_py.progress import events
from buildah_py.progress.tty import Tty

pyte = pytest.importorskip("pyte", reason="needs pyte, a terminal emulator")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SCRIPT = Path(__file__).with_name("terminal_build.py")


class Terminal:
    """A build on a pseudo-terminal, and what a person would see there."""

    def __init__(self, pipe: Path, rows: int = 20, columns: int = 60, **env: str) -> None:
        os.mkfifo(pipe)
        self.screen = pyte.HistoryScreen(columns, rows, history=1000)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        self.child = pexpect.spawn(
            sys.executable,
            [str(SCRIPT), str(pipe)],
            env={**environment, "TERM": "xterm", "PYTHONPATH": os.pathsep.join(sys.path), **env},
            dimensions=(rows, columns),
            timeout=20,
        )
        self.input = pipe.open("w", buffering=1, encoding="utf-8")

    def tell(self, *told: events.Event) -> None:
        for event in told:
            name = type(event).__name__
            self.input.write(f"e.{name}{tuple(event)!r}\n")

    def read(self) -> bool:
        """Take in what there is; False at the end."""
        try:
            data = self.child.read_nonblocking(65536, timeout=20)
        except pexpect.EOF:
            return False
        self.raw += data
        self.stream.feed(data)
        return True

    def wait(self, seen: Callable[[str], bool]) -> None:
        while not seen(self.text()):
            assert self.read(), f"the build ended; the screen was:\n{self.text()}"

    def resize(self, rows: int, columns: int, meanwhile: bytes = b"") -> None:
        """Stop the build, have others write to the terminal, change the window, and go on."""
        os.kill(self.child.pid, signal.SIGSTOP)
        os.waitpid(self.child.pid, os.WUNTRACED)
        with contextlib.suppress(pexpect.TIMEOUT):
            while True:
                self.stream.feed(self.child.read_nonblocking(65536, timeout=0))
        self.stream.feed(meanwhile)
        self.child.setwinsize(rows, columns)
        self.screen.resize(rows, columns)
        os.kill(self.child.pid, signal.SIGCONT)

    def finish(self) -> None:
        self.input.close()
        while self.read():
            pass
        self.child.wait()

    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def everything(self) -> list[str]:
        """The lines that scrolled away, and the screen's."""
        columns = range(self.screen.columns)
        gone = ["".join(line[x].data for x in columns).rstrip() for line in self.screen.history.top]
        return [*gone, *self.text().splitlines()]


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    made: list[Terminal] = []

    def make(rows: int = 20, columns: int = 60, **env: str) -> Terminal:
        made.append(Terminal(tmp_path / f"pipe{len(made)}", rows, columns, **env))
        return made[-1]

    yield make
    for terminal in made:
        terminal.input.close()
        terminal.child.close(force=True)


START: list[events.Event] = [events.BuildStarted(2), events.StepStarted(1, "app", 1, 2, "RUN make")]


def test_a_build(terminals: Callable[..., Terminal]) -> None:
    terminal = terminals()
    terminal.tell(*START, events.StepOutput(1, events.STDOUT, b"compiling\n"))
    terminal.wait(lambda text: "> [app 1/2] RUN make" in text and "compiling" in text and "0/2 steps" in text)
    terminal.tell(
        events.StepDone(1, events.RAN, "Makefile changed", 1.5), events.StepStarted(2, "app", 2, 2, "COPY a b")
    )
    terminal.wait(lambda text: "1/2 steps" in text and "> [app 2/2] COPY a b" in text and text.count("\n") <= 2)
    lines = terminal.text().splitlines()
    assert lines[0] == "\u2713 [app 1/2] RUN make  (Makefile changed)        DONE   1.5s"
    assert lines[1].startswith("building ")
    assert len(lines) == 3
    terminal.tell(events.StepDone(2, events.HIT), events.BuildDone("sha256:12", ("app",), 2.0, 1, 1))
    terminal.finish()
    assert terminal.text().splitlines() == [
        "\u2713 [app 1/2] RUN make  (Makefile changed)        DONE   1.5s",
        "\u2713 [app 2/2] COPY a b                          CACHED",
        "built sha256:12 as app in 2.0s: 1 from the cache, 1",
        "  executed",
        "prompt$",
    ]


def test_a_failed_step_says_its_last_words_at_the_end(terminals: Callable[..., Terminal]) -> None:
    terminal = terminals()
    terminal.tell(*START, events.StepStarted(2, "other", 1, 1, "RUN sleep"))
    terminal.tell(events.StepOutput(1, events.STDERR, b"".join(b"word %d\n" % number for number in range(200))))
    terminal.wait(lambda text: "word 199" in text)
    terminal.tell(
        events.StepDone(1, events.FAILED, "status 2", 0.5), events.StepDone(2, events.CANCELLED), events.BuildFailed(1)
    )
    terminal.finish()
    lines = terminal.everything()
    end = lines.index("[app 1/2]")
    assert lines[:end] == [
        "\u2717 [app 1/2] RUN make  (status 2)              FAILED   0.5s",
        "\u2013 [other 1/1] RUN sleep                    CANCELLED",
        "",
    ]
    assert lines[end + 1 :] == [f"word {number}" for number in range(150, 200)] + ["", "prompt$"]


def test_an_exception_leaves_a_clean_terminal(terminals: Callable[..., Terminal]) -> None:
    terminal = terminals(NO_COLOR="1")
    terminal.tell(*START)
    terminal.wait(lambda text: "building" in text)
    terminal.input.write("raise\n")
    terminal.finish()
    assert "building" not in terminal.text()
    assert terminal.text().startswith("Traceback")
    assert not terminal.screen.cursor.hidden
    assert b"\x1b[3" not in terminal.raw  # no colours


def test_output_cannot_leave_its_place(terminals: Callable[..., Terminal]) -> None:
    terminal = terminals()
    terminal.tell(
        *START, events.StepOutput(1, events.STDOUT, b"\x1b[2J\x1b[1;1Hhere\x1b[?25l\x1b]0;owned\x07\xff\t!\n")
    )
    terminal.tell(events.StepOutput(1, events.STDOUT, "\u4e16".encode() * 100 + b"\n" + b"w" * 100_000 + b"\n"))
    terminal.wait(lambda text: "www" in text)
    lines = terminal.text().splitlines()
    assert lines[0].startswith("building")
    assert lines[2] == "  here\\xff        !"
    assert lines[3].startswith("  \u4e16")
    assert len(lines) == 5
    assert all(len(line) < 60 for line in lines)
    assert terminal.screen.title == ""
    assert not terminal.screen.cursor.hidden
    terminal.finish()


def test_more_steps_than_lines(terminals: Callable[..., Terminal]) -> None:
    terminal = terminals(rows=6, columns=30)
    terminal.tell(events.BuildStarted(9), *(events.StepStarted(n, "s", n, 9, f"RUN {n}") for n in range(1, 10)))
    terminal.wait(lambda text: "RUN 4" in text)
    assert len(terminal.text().splitlines()) == 5
    terminal.tell(*(events.StepDone(n, events.RAN) for n in range(1, 10)), events.BuildDone("sha256:1"))
    terminal.finish()
    assert [line for line in terminal.everything() if "building" in line] == []
    assert sum("DONE   0.0s" in line for line in terminal.everything()) == 9


def test_a_window_that_changes(terminals: Callable[..., Terminal]) -> None:
    terminal = terminals(rows=20, columns=60)
    terminal.tell(*START, events.StepOutput(1, events.STDOUT, b"z" * 200 + b"\n"))
    terminal.wait(lambda text: "z" * 55 in text)
    terminal.resize(rows=20, columns=30)
    terminal.wait(lambda text: any(line == "  " + "z" * 26 + "\u2026" for line in text.splitlines()))
    terminal.tell(events.StepDone(1, events.RAN), events.BuildDone("sha256:1"))
    terminal.finish()
    assert "building" not in terminal.text()
    assert "zz" not in terminal.text()


def test_a_terminal_that_was_given_back(terminals: Callable[..., Terminal]) -> None:
    """A build that was stopped and goes on draws one whole picture below what others have written meanwhile."""
    terminal = terminals()
    terminal.tell(*START, events.StepOutput(1, events.STDOUT, b"compiling\n"))
    terminal.wait(lambda text: "compiling" in text)
    terminal.resize(rows=20, columns=60, meanwhile=b"^Z\r\n[1]+  Stopped\r\n$ fg\r\npybuild build .\r\n")
    terminal.tell(events.StepOutput(1, events.STDOUT, b"linking\n"))
    terminal.wait(lambda text: "linking" in text)
    lines = terminal.text().splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["[1]+", "$", "pybuild"]
    assert [line.split()[0] for line in lines[4:]] == ["building", ">", "compiling", "linking"]
    terminal.finish()


def test_a_picture_makes_way_for_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    class Written(io.StringIO):
        encoding = "utf-8"

    def stop(process: int, number: int) -> None:
        assert (process, number) == (os.getpid(), signal.SIGTSTP)
        stopped.append(err.getvalue())

    err, stopped = Written(newline=""), list[str]()
    monkeypatch.setattr(os, "kill", stop)
    before = signal.getsignal(signal.SIGTSTP)
    with Tty(err, err, size=lambda: (60, 20)) as sink:
        monkeypatch.setattr(sink, "_ticks", False)
        sink(START[0])
        sink(START[1])
        sink.tick()
        assert "building" in err.getvalue()
        signal.raise_signal(signal.SIGTSTP)
        assert stopped[0].endswith("\r\x1b[J")
        sink.tick()
        assert "building" in err.getvalue()[len(stopped[0]) :]
        assert signal.getsignal(signal.SIGTSTP) == sink._make_way
    assert signal.getsignal(signal.SIGTSTP) == before


def test_a_fast_build_draws_nothing(terminals: Callable[..., Terminal]) -> None:
    terminal = terminals()
    terminal.tell(*START, events.StepDone(1, events.HIT), events.BuildDone("sha256:1"))
    terminal.finish()
    assert terminal.text().splitlines()[0].split() == ["\u2713", "[app", "1/2]", "RUN", "make", "CACHED"]
