from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildah_py.copy.wildcard import find, has_wildcard, match, split
from buildah_py.errors import UsageError
from buildah_py.sources.directory import DirectoryContext

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("abc", "abc", True), ("*", "abc", True), ("*c", "abc", True), ("a*", "a", True), ("a*/b", "abc/b", True),
        ("a*/b", "a/c/b", False), ("a*b*c*d*e*/f", "axbxcxdxe/f", True), ("a*b?c*x", "abxbbxdbxebxczzx", True),
        ("ab[c]", "abc", True), ("ab[b-d]", "abc", True), ("ab[^b-d]", "abc", False), (r"a\*b", "a*b", True),
        (r"a\*b", "ab", False), ("a?b", "a☺b", True), ("a[^a]b", "a☺b", True), ("[a-ü]*", "é", True),
        ("*[a-ü]", "A", False),
        ("a?b", "a/b", False), ("a*b", "a/b", False), ("[x\\-]", "-", True), ("*x", "xxx", True), ("**", "a/b", False),
        ("a\nb*", "a\nbc", True),
    ],
)  # fmt: skip
def test_match(pattern: str, name: str, expected: bool) -> None:
    assert match(pattern, name) is expected


@pytest.mark.parametrize("pattern", ["[]a]", "[-]", "[x-]", "[-x]", "[", "[^", "[^bc", "a[", r"[\\", "x\\", "[a-b-c]"])
def test_malformed(pattern: str) -> None:
    with pytest.raises(UsageError, match="malformed"):
        match(pattern, "a")


def slow(pattern: str, name: str) -> bool:
    if not pattern:
        return not name
    first, rest = pattern[0], pattern[1:]
    if first == "*":
        return slow(rest, name) or (name != "" and name[0] != "/" and slow(pattern, name[1:]))
    if not name:
        return False
    if first == "?":
        return name[0] != "/" and slow(rest, name[1:])
    if first == "[":
        inside, _, rest = rest.partition("]")
        negated = inside.startswith("^")
        low, high = inside.removeprefix("^")[0], inside[-1]
        return (low <= name[0] <= high) is not negated and slow(rest, name[1:])
    if first == "\\":
        first, rest = rest[0], rest[1:]
    return first == name[0] and slow(rest, name[1:])


PIECES = st.sampled_from(["a", "b", "c", "/", "*", "?", "[a]", "[a-b]", "[^b]", "[^a-b]", r"\*", r"\a", "."])


@settings(max_examples=1500, deadline=None)
@given(st.lists(PIECES, max_size=8).map("".join), st.text("abc/*.", max_size=8))
def test_agrees_with_the_slow_version(pattern: str, name: str) -> None:
    assert match(pattern, name) is slow(pattern, name)


def test_what_counts_as_a_wildcard() -> None:
    assert [text for text in ("a*", "a?", "a[b]", r"a\*", r"\[", "plain") if has_wildcard(text)] == ["a*", "a?", "a[b]"]
    assert split("a/b*/c") == ("a", "b*/c")
    assert split("a/b") == ("a/b", "")
    assert split("*") == ("", "*")


def test_find(tmp_path: Path) -> None:
    for path in ("a/x.py", "a/y.txt", "b/x.py", "b/sub/x.py", "x.py", ".hidden.py"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / "link").symlink_to("a")
    with DirectoryContext(str(tmp_path)) as tree:
        assert list(find(tree, "", "*.py")) == [".hidden.py", "x.py"]
        assert list(find(tree, "", "*/*.py")) == ["a/x.py", "b/x.py"]
        assert list(find(tree, "", "?")) == ["a", "b"]
        assert list(find(tree, "b", "*/x.py")) == ["b/sub/x.py"]
        assert list(find(tree, "", "b[^z]x.py")) == ["b/x.py"]
        assert list(find(tree, "", "none*")) == []
