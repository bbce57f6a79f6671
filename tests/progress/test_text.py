from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildah_py.progress import text
from buildah_py.progress.events import StepStarted
from buildah_py.progress.text import Lines

_bytes = st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\xc3", b"\xa9", b"b\n", b"\r\n"]), max_size=12).map(b"".join)


def cut(pieces: list[bytes]) -> list[str]:
    lines = Lines()
    return [line for piece in pieces for line in lines.feed(piece)] + lines.flush()


@given(st.lists(_bytes, max_size=5))
def test_lines_do_not_depend_on_how_they_arrive(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    expected = whole.replace(b"\r\n", b"\n").replace(b"\r", b"\n").decode(errors="backslashreplace").split("\n")
    if not expected[-1]:
        expected.pop()
    assert cut(pieces) == cut([whole]) == expected


@given(st.lists(_bytes, max_size=5), st.integers(1, 4))
def test_the_last_lines_are_the_last_of_all(pieces: list[bytes], most: int) -> None:
    whole, last = Lines(), Lines()
    assert [last.feed(piece, most) for piece in pieces] == [whole.feed(piece)[-most:] for piece in pieces]
    assert last.flush() == whole.flush()


@given(st.lists(st.text(" aé\t\x1b[31m"), min_size=1), st.booleans())
def test_lines_behind_a_prefix(lines: list[str], colour: bool) -> None:
    expected = "".join(f"#1 {text.clean(line, colour=colour)}".rstrip() + "\n" for line in lines)
    assert text.prefixed("#1 ", "".join(f"{line}\n" for line in lines), colour=colour) == expected


def test_a_line_is_there_as_soon_as_it_ends() -> None:
    lines = Lines()
    assert [lines.feed(piece) for piece in (b"\r", b"\n", b"\n")] == [[""], [], [""]]
    assert lines.feed(b"10%\r") == ["10%"]
    assert lines.feed(b"\n20") == []
    assert lines.feed(b"%\r\n\n") == ["20%", ""]
    assert lines.flush() == []


def test_output_without_line_ends_is_shown_in_pieces() -> None:
    data = "\u20ac".encode() * text.MAX_LINE
    lines = Lines()
    pieces = lines.feed(data) + lines.flush()
    assert "".join(pieces) == "\u20ac" * text.MAX_LINE
    assert max(len(piece.encode()) for piece in pieces) <= text.MAX_LINE


def test_bytes_that_are_no_text_are_shown_as_such() -> None:
    assert cut([b"a\xff\xc3\n"]) == ["a\\xff\\xc3"]


@pytest.mark.parametrize(
    ("line", "colourless", "coloured"),
    [
        ("plain\ttext", "plain\ttext", "plain\ttext"),
        ("\x1b[31mred\x1b[0m", "red", "\x1b[31mred\x1b[0m"),
        ("\x1b[1;31mred", "red", "\x1b[1;31mred\x1b[0m"),
        ("\x1b[2J\x1b[10;1Hx\x1b[?25l\x1b[?1049h", "x", "x"),
        ("\x1b]0;title\x07x\x1b]8;;http://h\x1b\\y", "xy", "xy"),
        ("\x1b]0;never ended", "", ""),
        ("\x1bPdata\x1b\\x\x1b(B\x1b7\x1bcy", "xy", "xy"),
        ("a\x08b\x07\x00\x7f\x9b2Jc\x85", "abc", "abc"),
        ("\x1b", "", ""),
        ("abc\u202etxt.exe\u2066", "abctxt.exe", "abctxt.exe"),
        ("na\u00efve \u4e16\u754c", "na\u00efve \u4e16\u754c", "na\u00efve \u4e16\u754c"),
    ],
)
def test_what_would_change_the_terminal_goes(line: str, colourless: str, coloured: str) -> None:
    assert text.clean(line, colour=False) == colourless
    assert text.clean(line, colour=True) == coloured


@given(st.text(alphabet="\x1b[]0;mJ\\\x07\x9bab\u202e\r\n", max_size=12))
def test_nothing_dangerous_is_left(line: str) -> None:
    assert not set(text.clean(line, colour=False)) & set("\x1b\x07\x9b\r\u202e")


@given(st.text(alphabet="a\t\u4e16\u0301\u00e9", max_size=30), st.integers(1, 20))
def test_text_fits(line: str, columns: int) -> None:
    fitted = text.fit(line, columns)
    assert text.width(fitted) <= columns
    if text.width(line.expandtabs(8)) <= columns:
        assert fitted == line.expandtabs(8)
    else:
        assert fitted.endswith("\u2026")


def test_labels() -> None:
    assert text.label(StepStarted(3, "build", 2, 5, "RUN a \\\n    b")) == "[build 2/5] RUN a b"
    assert text.label(StepStarted(3, "", 2, 5, "RUN\x1b[2J a")) == "[2/5] RUN a"
    assert text.label(StepStarted(3, "", 0, 0, "load the context")) == "load the context"
    assert text.label(StepStarted(3, "build", 0, 0, "x")) == "[build] x"
