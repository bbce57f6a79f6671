from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildah_py.buildfile import glob
from buildah_py.buildfile.ignore import Decision, IgnorePatterns, clean
from buildah_py.errors import SourceError


def ignored(lines: list[str], path: str) -> bool:
    return IgnorePatterns(lines).matches(path)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("file", "file", True),
        ("file", "dir/file", False),
        ("file", "file/below", True),
        ("/file", "file", True),
        ("file/", "file", True),
        ("./a//b/../c", "a/c", True),
        ("*", "a/b", True),
        ("*.go", "x.go", True),
        ("*.go", "a/x.go", False),
        ("*/*.go", "a/x.go", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("**", "a/b/c", True),
        ("**/x", "x", True),
        ("**/x", "a/b/x", True),
        ("**/x", "a/bx", False),
        ("**x", "a/bx", True),
        ("**/*.pyc", "a/b.pyc", True),
        ("**/*.pyc", "b.pyc", True),
        ("**/*.pyc", "b.pyc/inside", True),
        ("a/**", "a", False),
        ("a/**", "a/b/c", True),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("a/**/b", "a/xb", False),
        ("[a-c]x", "bx", True),
        ("[^a-c]x", "bx", False),
        ("[^a-c]x", "zx", True),
        (r"\*", "*", True),
        (r"\*", "a", False),
        (r"\[x\]", "[x]", True),
        ("a.b", "axb", False),
        ("(a|b)+", "(a|b)+", True),
        ("a$", "a$", True),
        ("ü*", "über", True),
    ],
)
def test_one_pattern(pattern: str, path: str, expected: bool) -> None:
    assert ignored([pattern], path) is expected


def test_reading_a_file() -> None:
    patterns = IgnorePatterns(["\ufeff*.log  ", "# comment", "", "  #name", "! keep.log", "/", "."])
    assert patterns.matches("a.log")
    assert patterns.matches("#name")
    assert not patterns.matches("keep.log")
    assert not patterns.matches("comment")
    assert patterns.decision("keep.log") == Decision(ignored=False, line=5, pattern="! keep.log")


def test_the_last_line_that_matches_decides() -> None:
    lines = ["*", "!docs", "docs/*.md", "!docs/README.md"]
    patterns = IgnorePatterns(lines)
    kept = [p for p in ("a", "docs", "docs/x.txt", "docs/x.md", "docs/README.md") if not patterns.matches(p)]
    assert kept == ["docs", "docs/x.txt", "docs/README.md"]
    assert patterns.decision("docs/x.md") == Decision(ignored=True, line=3, pattern="docs/*.md")
    assert patterns.decision("docs/deep/er.txt") == Decision(ignored=False, line=2, pattern="!docs")
    assert IgnorePatterns(["x"]).decision("y") is None


@pytest.mark.parametrize(
    ("lines", "hidden", "seen"),
    [
        (["src/**/*.go", "build/*", "*/*", "build", "!dir"], ["dir/x", "src/a/b.go", "build"], ["dir", "src"]),
        (["dir/./sub", "!build/keep/it", "dir/../b", "!dir"], ["dir/sub", "dir/sub/x", "b"], ["dir", "dir/other"]),
        (["*", "!dir", "dir/sub", "!dir"], ["x", "dir/sub"], ["dir", "dir/other"]),
        (["a", "!a/x", "a*"], ["a", "a/y", "ab"], ["a/x"]),
    ],
)
def test_what_brings_a_visible_directory_back_brings_nothing_in_it_back(
    lines: list[str], hidden: list[str], seen: list[str]
) -> None:
    patterns = IgnorePatterns(lines)
    assert [path for path in hidden if not patterns.matches(path)] == []
    assert [path for path in seen if patterns.matches(path)] == []


def test_a_directory_is_walked_only_where_something_may_come_back() -> None:
    patterns = IgnorePatterns(["build", "!build/keep/*.txt", "vendor", "!**/LICENSE", "node_modules"])
    assert patterns.may_contain_included("build")
    assert patterns.may_contain_included("build/keep")
    assert patterns.may_contain_included("vendor/deep")
    assert not patterns.may_contain_included("node_modules")
    assert not IgnorePatterns(["a", "!b/c"]).may_contain_included("a")
    assert not IgnorePatterns(["a", "!a/b"]).may_contain_included("a/b/c")


@pytest.mark.parametrize("bad", ["[", "[]a]", "[a-]", "[^]", "a\\", "[-x]", "[x-", "!"])
def test_malformed_patterns_name_file_and_line(bad: str) -> None:
    with pytest.raises(SourceError, match=r"^\.dockerignore:2: "):
        IgnorePatterns(["ok", bad])


def test_flag_patterns_know_no_comments() -> None:
    assert IgnorePatterns(["#x"], flag=True).matches("#x")
    assert not IgnorePatterns(["/x"], flag=True).matches("x")


# The rules once more, slowly: as a person would read them.

NAMES = st.text("ab.", min_size=1, max_size=3).filter(lambda name: name not in {".", ".."})
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
PATTERNS = st.lists(
    st.sampled_from(["a", "b", ".", "*", "**", "?", "/", "[ab]", "[^a]", r"\*", "/**/", "!", "**/", " "]), max_size=6
).map("".join)


def slow_match(pattern: str, path: str) -> bool:
    """Whether one cleaned pattern matches one path as a whole."""
    literal = not re.search(r"[*?\[\\]", pattern[2:])
    if pattern.startswith("**") and literal:
        return path.endswith(pattern[2:]) or (pattern[2:3] == "/" and path == pattern[3:])
    return slow_rest(pattern, path)


def slow_rest(pattern: str, path: str) -> bool:
    if not pattern:
        return not path
    if pattern.startswith("**"):
        rest = pattern[2:].removeprefix("/")
        if not rest:
            return True
        return slow_rest(rest, path) or any(
            slow_rest(rest, path[index + 1 :]) for index, character in enumerate(path) if character == "/"
        )
    first = pattern[0]
    if first == "*":
        return any(slow_rest(pattern[1:], path[index:]) for index in range(len(path) + 1) if "/" not in path[:index])
    if not path:
        return False
    if first == "?":
        return path[0] != "/" and slow_rest(pattern[1:], path[1:])
    if first == "[":
        end = pattern.index("]")
        inside = pattern[1:end]
        hit = path[0] not in inside[1:] if inside[0] == "^" else path[0] in inside
        return hit and slow_rest(pattern[end + 1 :], path[1:])
    if first == "\\":
        return path[0] == pattern[1] and slow_rest(pattern[2:], path[1:])
    return path[0] == first and slow_rest(pattern[1:], path[1:])


def slow_read(line: str) -> tuple[bool, str]:
    text = line.strip()
    negated = text.startswith("!")
    if negated:
        text = text[1:].strip()
    text = clean(text) if text else ""
    if len(text) > 1:
        text = text.removeprefix("/")
    # A pattern is cleaned once more when it is compiled, and then a further "!" is a sign as well.
    text = clean("!" + text if negated else text)
    return text.startswith("!"), text.removeprefix("!")


def slow_ignored(lines: list[str], path: str) -> bool:
    """Go from the root down; a pattern is asked only where it would change what those before it say."""
    patterns = [slow_read(line) for line in lines if line.strip()]
    matched = [False] * len(patterns)
    result = False
    parts = path.split("/")
    for count in range(len(parts)):
        ancestor = "/".join(parts[: count + 1])
        result = False
        for number, (negated, text) in enumerate(patterns):
            matched[number] = matched[number] or (negated is result and slow_match(text, ancestor))
            if matched[number]:
                result = not negated
    return result


@settings(max_examples=600, deadline=None)
@given(st.lists(PATTERNS, max_size=5), st.lists(PATHS, min_size=1, max_size=6))
def test_agrees_with_the_slow_reading(lines: list[str], paths: list[str]) -> None:
    try:
        patterns = IgnorePatterns(lines)
    except SourceError:
        read = [slow_read(line)[1] for line in lines if line.strip()]
        assert any(not text or glob.malformed(text) for text in read)
        return
    for path in paths:
        expected = slow_ignored(lines, path)
        assert patterns.matches(path) is expected
        decision = patterns.decision(path)
        assert (decision is not None and decision.ignored) is expected
        parent, _, _ = path.rpartition("/")
        test = patterns.child_test(parent)
        assert (test is not None and test(path)) is expected
        if not expected:
            parts = path.split("/")
            for count in range(1, len(parts)):
                above = "/".join(parts[:count])
                assert not patterns.matches(above) or patterns.may_contain_included(above)


@given(st.text("ab./", max_size=12))
def test_clean_is_stable(path: str) -> None:
    once = clean(path)
    assert clean(once) == once
    assert "//" not in once
