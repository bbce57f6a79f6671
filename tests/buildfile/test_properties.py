"""What holds for every text: an answer, the same from the fast way and the grammar, and back again when printed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from buildah_py.buildfile import parse
from buildah_py.buildfile.checks import find
from buildah_py.buildfile.printer import render
from buildah_py.errors import BuildFileError
from tests.buildfile.texts import noise, scrambled, valid

if TYPE_CHECKING:
    from buildah_py.buildfile.tree import BuildFile

_PLACES = ("span", "text", "blank_line", "source", "as_", "comments", "error")


def shape(node: Any) -> Any:
    """A tree without places in the text and without the spelling of keywords."""
    if hasattr(node, "__frozen_fields__"):
        fields = [name for name in node.__frozen_fields__ if name not in _PLACES]
        return (
            type(node).__name__,
            *((name, node.keyword.upper() if name == "keyword" else shape(getattr(node, name))) for name in fields),
        )
    if isinstance(node, tuple):
        return tuple(shape(child) for child in node)
    return node


def answer(text: str, *, extensions: bool = False) -> BuildFile | None:
    """The tree of `text`, or None where it has faults; anything else fails the test."""
    try:
        return parse(text, "Buildfile", extensions=extensions)
    except BuildFileError as error:
        check_fault(error)
        return None


def check_fault(error: BuildFileError) -> None:
    """A fault can be shown, and stands somewhere in the file."""
    assert str(error)
    assert all(fault.span.start.line >= 1 and fault.span.start.column >= 1 for fault in (error, *error.others))


@given(st.one_of(noise, scrambled), st.booleans())
@example("FROM a\n" + "RUN \\\n" * 50, False)
@example("FROM a\nRUN <<" + "'" * 51, False)
@example("FROM a\nENV a=" + "${a:-" * 300 + "}" * 300, False)
@example("FROM a\nRUN [" + "[" * 2000, False)
@example("# syntax=pybuild/1\nFROM a\nIF " + "(" * 2000 + "a" + ")" * 2000 + "\nEND", False)
@example("FROM a\nHEALTHCHECK --retries=" + "9" * 5000 + " CMD a\nSTOPSIGNAL " + "9" * 5000, False)
@settings(max_examples=250, deadline=None)
def test_any_text_gives_a_tree_or_faults(text: str, extensions: bool) -> None:
    file = answer(text, extensions=extensions)
    if file is not None:
        find(file)


@given(st.binary(max_size=100))
@settings(deadline=None)
def test_any_bytes_give_a_tree_or_faults(data: bytes) -> None:
    try:
        parse(b"FROM a\n" + data, "Buildfile")
    except BuildFileError as error:
        check_fault(error)


@given(valid)
@settings(max_examples=200, deadline=None)
def test_printing_and_parsing_gives_the_same_tree(text: str) -> None:
    file = parse(text, "Buildfile")
    printed = render(file)
    again = parse(printed, "Buildfile")
    assert shape(again) == shape(file)
    assert render(again) == printed
    assert sorted(comment.strip("# \t") for _, comment in again.comments) == sorted(
        comment.strip("# \t") for _, comment in file.comments
    )


@given(st.one_of(noise, scrambled))
@settings(max_examples=200, deadline=None)
def test_whatever_parses_can_be_printed(text: str) -> None:
    file = answer(text, extensions=True)
    if file is not None:
        assert shape(parse(render(file), "Buildfile", extensions=True)) == shape(file)


@given(valid)
@settings(deadline=None)
def test_crlf_changes_nothing_but_bodies(text: str) -> None:
    if "<<" not in text:
        assert shape(parse(text.replace("\n", "\r\n"), "Buildfile")) == shape(parse(text, "Buildfile"))
