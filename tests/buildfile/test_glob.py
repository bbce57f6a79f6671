"""The matcher of patterns for paths: however a pattern is matched, it is the same pattern, and takes no longer."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildah_py.buildfile import glob
from buildah_py.buildfile.ignore import IgnorePatterns

STARS = [
    ("*a" * 60 + "b", "a" * 120),
    ("**/" * 40 + "*a" * 40, "a" * 39 + "b"),
    ("**/" * 40 + "*a" * 40, "a/" * 60 + "b"),
    ("[^b]*" * 30 + "c", "a" * 120),
    ("*a*/" * 10 + "b", "aaaaa/" * 10 + "c"),
    ("a**" * 20 + "b", "a/" * 60),
]


@pytest.mark.parametrize(("pattern", "path"), STARS)
def test_each_character_of_a_path_is_looked_at_once_however_many_stars_there_are(pattern: str, path: str) -> None:
    tokens = glob.read(pattern, crossing=True)
    assert not glob.to_regex(tokens), "Python's engine would try all ways to divide a name among the stars"
    automaton = glob.Automaton(tokens)
    assert not automaton.matches(path)
    assert len(automaton.moves) <= len(path)
    assert max(state.bit_length() for state in automaton.moves.values()) <= 2 * len(tokens) + 1
    assert not IgnorePatterns([pattern]).matches(path)


PATTERNS = st.lists(
    st.sampled_from(["a", "b", ".", "*", "**", "?", "/", "[ab]", "[^a]", r"\*", "/**/", "!", "**/", " "]), max_size=6
).map("".join)
TEXTS = st.text("ab/.", max_size=12)


@settings(max_examples=500)
@given(PATTERNS, TEXTS, st.booleans())
def test_automata_and_regular_expressions_agree(pattern: str, text: str, crossing: bool) -> None:
    if glob.malformed(pattern):
        return
    tokens = glob.read(pattern, crossing=crossing)
    regex = "".join(token.regex for token in tokens)
    assert glob.Automaton(tokens).matches(text) is (re.fullmatch(regex, text, re.DOTALL) is not None)
