from __future__ import annotations

import io
import json
import os
import threading
from typing import TYPE_CHECKING

import pytest

from buildah_py.errors import OutputError, UsageError
from buildah_py.progress import choose, events
from buildah_py.progress.jsonlines import JsonLines
from buildah_py.progress.plain import PlainText
from buildah_py.progress.quiet import Quiet
from buildah_py.progress.tty import Tty

if TYPE_CHECKING:
    from buildah_py.progress.renderer import Renderer

IMAGE = "sha256:" + "1" * 64
BUILD: list[events.Event] = [
    events.BuildStarted(3),
    events.Note("the context is empty"),
    events.StepStarted(1, "base", 1, 3, "FROM busybox"),
    events.StepDone(1, events.HIT),
    events.StepStarted(2, "base", 2, 3, "RUN make"),
    events.StepOutput(2, events.STDOUT, b"one\ntw"),
    events.StepOutput(2, events.STDERR, b"\x1b[31moops\x1b[0m\n"),
    events.StepOutput(2, events.STDOUT, b"o\nh\xc3"),
    events.StepOutput(2, events.STDOUT, b"\xa9 \xff"),
    events.Warning("JSONArgsRecommended", 2),
    events.StepDone(2, events.RAN, "Makefile changed", 0.25),
    events.StepStarted(3, "base", 3, 3, "COPY a b"),
    events.StepDone(3, events.CANCELLED),
    events.BuildDone(IMAGE, ("docker.io/library/app:latest",), 1.25, 1, 1),
]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        self.now += 0.5
        return self.now


def shown(kind: type[Renderer], build: list[events.Event]) -> tuple[str, str]:
    err, out = io.StringIO(), io.StringIO()
    with kind(err, out, clock=Clock()) as sink:
        for event in build:
            sink(event)
    return err.getvalue(), out.getvalue()


def test_plain() -> None:
    err, out = shown(PlainText, BUILD)
    assert out == ""
    assert (
        err
        == f"""\
note: the context is empty

#1 [base 1/3] FROM busybox
#1 CACHED

#2 [base 2/3] RUN make
#2 0.500 one
#2 1.000 oops
#2 1.500 two
#2 warning: JSONArgsRecommended
#2 2.000 h\u00e9 \\xff
#2 DONE 0.2s (Makefile changed)

#3 [base 3/3] COPY a b
#3 CANCELLED

built {IMAGE} as docker.io/library/app:latest in 1.2s: 1 from the cache, 1 executed
"""
    )


FAILED: list[events.Event] = [
    events.BuildStarted(1),
    events.StepStarted(1, "", 1, 1, "RUN false"),
    *(events.StepOutput(1, events.STDERR, f"line {number}\n".encode()) for number in range(300)),
    events.StepOutput(1, events.STDERR, b"the end"),
    events.StepDone(1, events.FAILED, "it ended with the status 3", 0.1),
    events.BuildFailed(0.2),
]


def test_plain_shows_a_failure_whole() -> None:
    err, _ = shown(PlainText, FAILED)
    assert all(f" line {number}\n" in err for number in range(300))
    assert err.endswith(" the end\n#1 FAILED: it ended with the status 3\n")


def test_quiet() -> None:
    err, out = shown(Quiet, BUILD)
    assert out == IMAGE + "\n"
    assert err == "warning: JSONArgsRecommended\n"


def test_quiet_shows_what_a_failed_step_said_last() -> None:
    err, out = shown(Quiet, FAILED)
    assert out == ""
    assert err.startswith("[1/1]\n")
    assert err.endswith("line 299\nthe end\n")
    assert "line 100\n" not in err


def test_json() -> None:
    err, out = shown(JsonLines, BUILD)
    assert out == ""
    told = [json.loads(line) for line in err.splitlines()]
    assert [one["event"] for one in told][:4] == ["build-started", "note", "step-started", "step-done"]
    assert told[2]["text"] == "FROM busybox"
    assert told[-1] == {
        "event": "build-done", "schema": 1, "time": told[-1]["time"], "at": told[-1]["at"], "image": IMAGE,
        "names": ["docker.io/library/app:latest"],
        "seconds": 1.25, "hits": 1, "ran": 1, "loaded": "",
    }  # fmt: skip
    output = "".join(one["text"] for one in told if one["event"] == "step-output" and one["stream"] == "stdout")
    assert output == "one\ntwo\nh\u00e9 \\xff"
    times = [one["time"] for one in told]
    assert times == sorted(times)


def test_json_keeps_half_a_character_at_the_end() -> None:
    half: list[events.Event] = [
        events.StepStarted(1, "", 1, 1, "RUN x"),
        events.StepOutput(1, events.STDOUT, b"\xe2\x82"),
        events.StepDone(1, events.RAN),
    ]
    told = [json.loads(line) for line in shown(JsonLines, half)[0].splitlines()]
    assert [one.get("text") for one in told] == ["RUN x", "\\xe2\\x82", None]


def test_output_from_many_threads_stays_whole() -> None:
    err = io.StringIO()
    sink = PlainText(err, io.StringIO())
    sink(events.BuildStarted(4))

    def step(number: int) -> None:
        sink(events.StepStarted(number, "", number, 4, f"RUN {number}"))
        for line in range(200):
            sink(events.StepOutput(number, events.STDOUT, f"{number} says {line}\n".encode()))
        sink(events.StepDone(number, events.RAN))

    threads = [threading.Thread(target=step, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said = [line.split(" ", 2) for line in err.getvalue().splitlines() if " says " in line]
    for number in "1234":
        lines = [text for step, _, text in said if step == f"#{number}"]
        assert lines == [f"{number} says {line}" for line in range(200)]


def test_a_stream_that_goes_away_is_reported_once() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    err = os.fdopen(writer, "w")
    sink = PlainText(err, io.StringIO())
    with pytest.raises(OutputError, match="Broken pipe"):
        sink(events.Note("x"))
    sink(events.Note("y"))
    sink.close()
    with pytest.raises(BrokenPipeError):
        err.close()


def test_modes() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def made(mode: str, err: io.StringIO, **env: str) -> Renderer:
        return choose.renderer(mode, err=err, out=io.StringIO(), env=env)

    pipe, terminal = io.StringIO(), Terminal()
    assert isinstance(made("auto", pipe, TERM="xterm"), PlainText)
    assert isinstance(made("auto", terminal, TERM="dumb"), PlainText)
    assert isinstance(made("auto", terminal, TERM="xterm"), Tty)
    assert isinstance(made("tty", terminal, TERM="xterm"), Tty)
    assert isinstance(made("json", pipe), JsonLines)
    assert isinstance(made("quiet", pipe), Quiet)
    coloured, colourless = made("plain", terminal, TERM="xterm"), made("plain", terminal, TERM="xterm", NO_COLOR="1")
    assert isinstance(coloured, PlainText)
    assert isinstance(colourless, PlainText)
    assert (coloured.colour, colourless.colour) == (True, False)
    with pytest.raises(UsageError, match="is not a terminal"):
        made("tty", pipe)
    with pytest.raises(UsageError, match="--progress=fancy") as raised:
        made("fancy", pipe)
    assert "plain" in raised.value.hint
