"""Our driver does what lark does, the tables are those of the grammars, and the short cuts agree with both."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedInput

from buildah_py.buildfile import _tables, flags, mount_flags, parse, statement
from buildah_py.buildfile.driver import Driver, MismatchError, driver, load
from buildah_py.buildfile.lines import LogicalLine, PhysicalLine
from buildah_py.buildfile.spaces import SPACES
from buildah_py.buildfile.tables import GRAMMARS, compile_grammar, read_grammar, render
from buildah_py.errors import BuildFileError
from buildah_py.source_text import Position, Source, Span
from tests.buildfile.texts import noise, scrambled

_LARKS = {
    name: Lark(read_grammar(name), parser="lalr", lexer="contextual", start=list(starts))
    for name, starts in GRAMMARS.items()
}
_STARTS = [(name, start) for name, starts in GRAMMARS.items() for start in starts]
_dense = st.text(st.sampled_from("ab$'\"\\`{}[]:,/#%+-?=!()&|<> \t\n1é.*"), max_size=30)
_text = st.one_of(_dense, scrambled, noise)


def as_tuples(tree: Any) -> Any:
    """A tree of lark's in the form of ours."""
    if isinstance(tree, Token):
        return tree.type, tree.start_pos, tree.end_pos
    assert isinstance(tree, Tree)
    return str(tree.data), [as_tuples(child) for child in tree.children]


def test_the_tables_are_those_of_the_grammars() -> None:
    with open(_tables.__file__, encoding="utf-8") as file:
        assert file.read() == render(), "run `python -m buildah_py.buildfile.tables`"


def test_the_driver_works_from_what_lark_computes() -> None:
    assert compile_grammar("mount") == load("mount")


def test_reading_a_build_file_does_not_import_lark() -> None:
    import subprocess
    import sys

    use = "from buildah_py.buildfile import parse; parse('FROM a\\nENV a=\"b c\"', 'x')"
    code = f"import sys; {use}; print('lark' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ})
    assert done.stdout == "False\n"


def test_without_tables_lark_makes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    import buildah_py.buildfile

    monkeypatch.delattr(buildah_py.buildfile, "_tables")
    monkeypatch.setitem(sys.modules, "buildah_py.buildfile._tables", None)
    assert Driver("mount").parse("a=b,c", "mount") == driver("mount").parse("a=b,c", "mount")


@pytest.mark.parametrize(("name", "start"), _STARTS)
def test_the_driver_agrees_with_lark(name: str, start: str) -> None:
    @given(_text)
    @example("")
    @example("--a='b' --c -- d")
    @example('${a:-"b ${c//x/\\/}"}$')
    @example('[1, {"a": ["b", null]}]')
    @example('a && (b || !c == "d")')
    @settings(max_examples=150, deadline=None)
    def check(text: str) -> None:
        try:
            ours: Any = driver(name).parse(text, start)
        except MismatchError:
            ours = None
        try:
            theirs = as_tuples(_LARKS[name].parse(text, start=start))
        except UnexpectedInput:
            theirs = None
        assert ours == theirs

    check()


def whole(text: str) -> statement.Statement:
    """A statement whose line is `text`."""
    return statement.Statement(
        Source("x", text), LogicalLine(text, (PhysicalLine(0, 1, 1),), (), 1, has_blank=False), "\\"
    )


@given(st.lists(st.sampled_from(["--a", "--b=c", "--", "-", "x", " ", "  ", "\xa0", "=", "--d=e=f"])).map("".join))
@settings(max_examples=300, deadline=None)
def test_simple_flags_are_split_as_the_grammar_splits_them(text: str) -> None:
    text = text.strip()
    quick = flags.split_simple(text, 0, "\\")
    if quick is None:
        return
    _, nodes = driver("arguments").parse(text, "flags")
    rest = [text[node[1] : node[2]].strip() for node in nodes if node[0] != "flag"]
    names = ["".join(text[a:b] for _, a, b in node[1]).partition("=") for node in nodes if node[0] == "flag"]
    assert [(flag.name, flag.value) for flag in quick[0]] == [
        (name, value if equals else None) for name, equals, value in names
    ]
    assert quick[1].strip() == "".join(rest)


@given(st.text(st.sampled_from('["], a\\\t'), max_size=12).map("[{}".format))
@example('["a", "b"]')
@example('["a"]"b')
@example('["a"]"b"]')
@settings(max_examples=300, deadline=None)
def test_simple_arrays_are_those_of_the_grammar(text: str) -> None:
    quick = statement.simple_json(text) if "\\" not in text and text.isprintable() else None
    if quick is None:
        return
    _, nodes = driver("json").parse(text, "array")
    assert [text[start + 1 : end - 1] for _, start, end in nodes] == quick


@given(st.text(st.sampled_from("ab=, \t'"), min_size=1, max_size=12))
@settings(max_examples=200, deadline=None)
def test_simple_options_are_split_as_the_grammar_splits_them(text: str) -> None:
    here = Span(Position(1, 1), Position(1, 2))
    try:
        quick = mount_flags.split_options(text, here, Source("x", text))
    except BuildFileError:
        return
    # A quoted option in front sends the text through the grammar.
    assert mount_flags.split_options(f'"q=1",{text}', here, Source("x", text)) == (("q", "1"), *quick)


@given(st.lists(st.sampled_from(["a", "b=c", " ", "\t", "  "])).map("".join))
@settings(deadline=None)
def test_simple_words_are_split_as_the_grammar_splits_them(text: str) -> None:
    text = text.strip()
    _, nodes = driver("arguments").parse(text, "words")
    assert [word.text for word in whole(f"ENV {text}").words()] == [
        text[pieces[0][1] : pieces[-1][2]] for _, pieces in nodes
    ]


_list = st.lists(st.sampled_from(["a", "AS", "as", "b:c", " ", "\t", "  ", "\xa0", "'x y'"]), min_size=1).map("".join)


@given(_list.map(lambda text: text.strip(SPACES)).filter(bool))
@example("a AS b")
@example("a as b c")
@settings(max_examples=300, deadline=None)
def test_lists_and_from_are_read_as_the_grammar_reads_them(text: str) -> None:
    _, tokens = driver("arguments").parse(text, "list")
    assert [word.text for word in whole(f"EXPOSE {text}").items()] == [text[start:end] for _, start, end in tokens]
    try:
        parsed = parse(f"FROM {text}", "x").stages[0].base
    except BuildFileError as error:
        fits = "one or three" not in error.message
        if fits:
            return  # the name is wrong, which is not the grammar's business
    else:
        fits = True
        _, tokens = driver("arguments").parse(text, "from")
        assert parsed.image.text == text[tokens[0][1] : tokens[0][2]]
    assert (whole(f"FROM {text}").fits("arguments", "from") is not None) == fits
