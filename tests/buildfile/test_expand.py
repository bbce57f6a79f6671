"""Expansion of words: examples, /bin/sh where the forms are its own, and an obvious version of the rest."""

from __future__ import annotations

import fnmatch
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildah_py.buildfile.expand import ExpansionError, expand, trace, trace_body

ENV = {"x": "a.b.c", "e": "", "p": "/usr/lib/", "s": "one two"}


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("plain", "plain"),
        ("$x", "a.b.c"),
        ("${x}y", "a.b.cy"),
        ("$xy", ""),
        ("$$ $", " $"),
        ("\\$x", "$x"),
        ("'$x'", "$x"),
        ('"$x"', "a.b.c"),
        ('"\\$x\\"\\n"', '$x"\\n'),
        ("a\\ b\\", "a b"),
        ("${n:-d}", "d"),
        ("${n-d}", "d"),
        ("${e:-d}", "d"),
        ("${e-d}", ""),
        ("${x:+d}", "d"),
        ("${e:+d}", ""),
        ("${e+d}", "d"),
        ("${n+d}", ""),
        ("${x:?m}", "a.b.c"),
        ("${e?m}", ""),
        ("${n:-${e:-'q r'}}", "q r"),
        ('${n:-"}"}', "}"),
        ("${n:-\\}}", "}"),
        ("${x#*.}", "b.c"),
        ("${x##*.}", "c"),
        ("${x%.*}", "a.b"),
        ("${x%%.*}", "a"),
        ("${x#?}", ".b.c"),
        ("${x#z}", "a.b.c"),
        ("${x#\\*}", "a.b.c"),
        ("${x/./_}", "a_b.c"),
        ("${x//./_}", "a_b_c"),
        ("${p//\\//-}", "-usr-lib-"),
        ("${x/b/$s}", "a.one two.c"),
        ("${x//[ab]/_}", "a.b.c"),
        ("${n/a/b}", ""),
        ("${1}", ""),
        ("${%x}${+x}${/a/b}", ""),
        ("é${x}é", "éa.b.cé"),
    ],
)
def test_forms(word: str, text: str) -> None:
    assert expand(word, ENV) == text


@pytest.mark.parametrize(
    ("word", "message", "offset"),
    [
        ("a${x", "missing '}'", 1),
        ("${", "missing '}'", 0),
        ("${}", "bad substitution", 0),
        ("${:x}", "bad substitution", 0),
        ("a'b", "matching single-quote", 1),
        ('a"b', "matching double-quote", 1),
        ("${x!y}", "unsupported modifier (!)", 0),
        ("${x:#y}", "unsupported modifier (:#)", 0),
        ("${x y}", "unsupported modifier ( )", 0),
        ("${n:?why}", "n: why", 0),
        ("${n?}", "n: is not allowed to be unset", 0),
        ("${e:?}", "e: is not allowed to be empty", 0),
        ("${x#\\a}", "invalid escape", 0),
        ("${x/a", "missing", 0),
    ],
)
def test_faults(word: str, message: str, offset: int) -> None:
    with pytest.raises(ExpansionError) as caught:
        expand(word, ENV)
    assert message in caught.value.message
    assert caught.value.offset == offset


def test_nesting_has_a_bottom() -> None:
    assert expand("${n:-" * 90 + "x" + "}" * 90, ENV) == "x"
    for depth in (200, 20_000):
        with pytest.raises(ExpansionError, match="nested too deeply"):
            expand("${n:-" * depth + "x" + "}" * depth, ENV)


def test_operands_are_evaluated_whether_needed_or_not() -> None:
    with pytest.raises(ExpansionError, match="n: m"):
        expand("${x:-${n:?m}}", ENV)


def test_the_other_escape_character() -> None:
    assert expand("`$x c:\\$e\\d", ENV, "`") == "$x c:\\\\d"


def test_words_are_split_where_no_quotes_are() -> None:
    assert trace("$s '$s' \"$s\" a\\ b ''", ENV).words == ["one", "two", "$s", "one two", "a b"]


def test_bodies_keep_quotes() -> None:
    assert trace_body('\'$x\' "${n:-"d"}" \\$x', ENV).text == '\'a.b.c\' ""d"" $x'


def test_names_that_were_looked_up() -> None:
    found = trace("$x ${n:-$m} $x", ENV)
    assert (found.used, found.unset) == (["x"], ["m", "n"])


_piece = st.one_of(
    st.sampled_from(["a", "b", ".", "/", "x y", "-"]),
    st.sampled_from(["$x", "${x}", "${e}", "${n}", "$p", '"$s"', "'$s'", "'a b'", '"c d"', "\\$", "\\\\", "\\'"]),
    st.builds(
        "${{{}{}{}}}".format,
        st.sampled_from(["x", "e", "n", "s", "p"]),
        st.sampled_from([":-", "-", ":+", "+"]),
        st.sampled_from(["d", "$x", "${n:-q}", "'q'", "a.b", ""]),
    ),
    st.builds(
        "${{{}{}{}}}".format,
        st.sampled_from(["x", "e", "n", "p"]),
        st.sampled_from(["#", "##", "%", "%%"]),
        st.sampled_from(["*.", ".*", "?", "*", "a", "*/", "/*", "\\*", "z", "a.b.c"]),
    ),
)


@given(st.lists(st.lists(_piece, max_size=6).map("".join), min_size=1, max_size=25))
@settings(max_examples=30, deadline=None)
def test_agrees_with_the_shell(words: list[str]) -> None:
    # A double-quoted whole would change the meaning of quotes, so the shell assigns, which does not split.
    script = "".join(f"w={word}\nprintf '%s\\0' \"$w\"\n" for word in (word.replace(" ", "_") for word in words))
    env = {name: value.replace(" ", "_") for name, value in ENV.items()}
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.split("\0")[:-1] == [expand(word.replace(" ", "_"), env) for word in words]


@given(
    st.text(st.sampled_from("ab./"), max_size=8),
    st.text(st.sampled_from("ab.*?"), max_size=4),
    st.sampled_from(["#", "##", "%", "%%"]),
)
@settings(max_examples=300, deadline=None)
def test_trimming_is_what_trying_every_length_gives(value: str, pattern: str, operator: str) -> None:
    lengths = range(len(value) + 1) if len(operator) == 1 else range(len(value), -1, -1)
    expected = value
    for length in lengths:
        part = value[:length] if operator[0] == "#" else value[len(value) - length :]
        if fnmatch.fnmatchcase(part, pattern):
            expected = value[length:] if operator[0] == "#" else value[: len(value) - length]
            break
    assert expand(f"${{v{operator}{pattern}}}", {"v": value}) == expected


@given(st.text(st.sampled_from("ab.-"), max_size=10), st.text(st.sampled_from("ab.-"), min_size=1, max_size=3))
@settings(max_examples=200, deadline=None)
def test_replacing_is_what_str_replace_does(value: str, old: str) -> None:
    assert expand(f"${{v//{old}/<>}}", {"v": value}) == value.replace(old, "<>")
    assert expand(f"${{v/{old}/<>}}", {"v": value}) == value.replace(old, "<>", 1)


@given(st.text(max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_word_gives_text_or_a_fault(word: str) -> None:
    try:
        found = trace(word, ENV)
    except ExpansionError:
        pass
    else:
        assert "".join(found.words).replace(" ", "") in found.text.replace(" ", "") or len(found.words) > 1
