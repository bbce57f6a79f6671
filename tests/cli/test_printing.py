"""What others wrote commands neither a terminal nor a CI."""

from __future__ import annotations

import json
import re

import pytest

from buildah_py.cli import main
from buildah_py.cli.printing import complain, say, say_exactly, say_json
from buildah_py.errors import NotFound
from buildah_py.progress.text import without_command

NASTY = "a\x1b]0;title\x07b\x9b2Jc\x1b[31md\x08\u202ee\r"
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")


@pytest.fixture(autouse=True)
def no_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)


def test_lines_for_people_hold_no_controls(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"{NASTY}\n\t{NASTY} \udcff")
    complain(NASTY)
    out, err = capsys.readouterr()
    assert (out, err) == ("abcde\n\tabcde \\udcff\n", "abcde\n")


def test_json_holds_all_and_no_controls(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"a": [NASTY, "##[add-mask]x", "\udcff"]}
    say_json(value)
    shown = capsys.readouterr().out
    assert json.loads(shown) == value
    assert not CONTROLS.search(shown)
    assert "##[" not in shown


def test_what_programs_read_stays_as_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    say_exactly(NASTY, end="")
    assert capsys.readouterr().out == NASTY
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    say_exactly(NASTY)
    assert capsys.readouterr().out == "abcde\n"


def test_errors_hold_no_controls(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> int:
        raise NotFound(f"there is no {NASTY}", hint=NASTY)

    monkeypatch.setattr("buildah_py.cli._dispatch", fail)
    assert main(["images"]) == 125
    assert capsys.readouterr().err == "pybuild: there is no abcde\n  hint: abcde\n"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("::set-output name=a::b", "| ::set-output name=a::b"),
        ("  \u200b\t::add-mask::x", "|   \u200b\t::add-mask::x"),
        ("std::vector", "std::vector"),
        ("a ##[add-mask]b", "a ## [add-mask]b"),
        ("a::b", "a::b"),
    ],
)
def test_workflow_commands(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, line: str, shown: str
) -> None:
    assert without_command(line) == shown
    complain(f"x\n{line}")
    assert capsys.readouterr().err == f"x\n{line}\n".replace("\u200e", "")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    complain(f"x\n{line}")
    say(line)
    out, err = capsys.readouterr()
    assert (out, err) == (f"{shown}\n", f"x\n{shown}\n")
