"""Functions of regular expressions: RE2's syntax (github.com/google/re2/wiki/Syntax), with Python's engine."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from buildah_py.bake.functions.function import Library, text
from buildah_py.bake.values import STRING, Type, Value, ValueFault, list_value, object_value, string, tuple_value

if TYPE_CHECKING:
    from collections.abc import Iterator

LIBRARY = Library()
_add = LIBRARY.add
_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": "\\x00-\\x7f",
    "blank": "\\t ",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": "\\t\\n\\v\\f\\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_SHORT = {"d": "0-9", "w": "0-9A-Za-z_", "s": "\\t\\n\\f\\r "}


@lru_cache(maxsize=64)
def compiled(pattern: str) -> re.Pattern[str]:
    """Compile a pattern of RE2's. Raises ValueFault."""
    try:
        return re.compile(_translated(pattern))
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueFault(f"`{pattern}` is not a regular expression: {error}") from None


def _translated(pattern: str, *, lazy: bool = False) -> str:
    """Say in Python's syntax what a pattern means in RE2's; `lazy` ones take as little as they can."""
    found: list[str] = []
    multiline = False
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            piece, at = _escape(pattern, at, inside=False)
            found.append(piece)
            continue
        if char == "[":
            piece, at = _class(pattern, at)
            found.append(piece)
            continue
        if char == "(" and (flags := re.match(r"\(\?([a-zA-Z]*)(?:-([a-zA-Z]*))?([:)])", pattern[at:])):
            multiline = multiline or "m" in flags[1]
            lazy = lazy or "U" in flags[1]
            on = flags[1].replace("U", "")
            off = (flags[2] or "").replace("U", "")
            if flags[3] == ")":  # for the rest of the group
                rest = _group_end(pattern, at + flags.end())
                inner = _translated(pattern[at + flags.end() : rest], lazy=lazy)
                found.append(f"(?{on}{'-' if off else ''}{off}:{inner})" if on or off else inner)
                at = rest
            else:
                found.append(f"(?{on}{'-' if off else ''}{off}:")
                at += flags.end()
            continue
        if char == "(" and re.match(r"\(\?(<?[=!]|P=|P>)", pattern[at:]):
            raise ValueFault(f"`{pattern}` is not a regular expression: RE2 looks neither ahead nor back")
        if char == "(" and pattern.startswith("(?<", at):
            found.append("(?P<")
            at += 3
            continue
        if char == "$" and not multiline:
            char = "\\Z"
        if lazy and (repeated := re.match(r"([*+?]|\{\d+(?:,\d*)?\})(\??)", pattern[at:])):
            found.append(repeated[1] + ("" if repeated[2] else "?"))
            at += repeated.end()
            continue
        found.append(char)
        at += 1
    return "".join(found)


def _group_end(pattern: str, at: int) -> int:
    depth = 0
    while at < len(pattern):
        if pattern[at] == "\\":
            at += 1
        elif pattern[at] == "(":
            depth += 1
        elif pattern[at] == ")":
            if not depth:
                return at
            depth -= 1
        at += 1
    return at


def _escape(pattern: str, at: int, *, inside: bool) -> tuple[str, int]:
    char = pattern[at + 1 : at + 2]
    if not char:
        raise ValueFault(f"`{pattern}` is not a regular expression: a backslash stands at its end")
    if char.lower() in _SHORT:
        own = _SHORT[char.lower()]
        if char.islower():
            return (own if inside else f"[{own}]"), at + 2
        if inside:
            return {"D": "\\D", "W": "\\W", "S": "\\S"}[char], at + 2
        return f"[^{own}]", at + 2
    if char == "z":
        return "\\Z", at + 2
    if named := re.match(r"\\([pP])(?:\{(\^?)(\w+)\}|(\w))", pattern[at:]):
        own = _category(named[3] or named[4], pattern)
        without = (named[1] == "P") is not (named[2] == "^")
        if without and inside:
            raise ValueFault(f"`{pattern}`: {named[0]} is not known within a class")
        return (own if inside else f"[{'^' if without else ''}{own}]"), at + named.end()
    if char == "Q":
        end = pattern.find("\\E", at)
        end = len(pattern) if end < 0 else end
        return re.escape(pattern[at + 2 : end]), min(len(pattern), end + 2)
    if char == "C":
        return "(?s:.)", at + 2
    if braced := re.match(r"\\x\{([0-9a-fA-F]{1,8})\}", pattern[at:]):
        return re.escape(chr(min(int(braced[1], 16), 0x10FFFF))), at + braced.end()
    if char.isdecimal() and char != "0":
        raise ValueFault(f"`{pattern}` is not a regular expression: RE2 does not refer back")
    return f"\\{char}", at + 2


@lru_cache(maxsize=8)
def _category(name: str, pattern: str) -> str:
    """List the characters of a category of Unicode as ranges of a class."""
    import sys
    import unicodedata

    found: list[str] = []
    start: int | None = None
    for code in range(sys.maxunicode + 2):
        is_one = code <= sys.maxunicode and unicodedata.category(chr(code)).startswith(name)
        if is_one and start is None:
            start = code
        elif not is_one and start is not None:
            found.append(f"\\U{start:08x}-\\U{code - 1:08x}")
            start = None
    if not found:
        raise ValueFault(
            f"`{pattern}`: the class {name} is not known", "there are categories, such as L, Lu, N, P, S, Z"
        )
    return "".join(found)


def _class(pattern: str, at: int) -> tuple[str, int]:
    start = at
    at += 1
    found = "["
    if pattern[at : at + 1] == "^":
        found += "^"
        at += 1
    first = True
    while at < len(pattern):
        char = pattern[at]
        if char == "]" and not first:
            return found + "]", at + 1
        first = False
        if named := re.match(r"\[:(\^?)(\w+):\]", pattern[at:]):
            if named[2] not in _CLASSES:
                raise ValueFault(f"`{pattern}`: the class {named[0]} is not known")
            found += _outside(named[2]) if named[1] else _CLASSES[named[2]]
            at += named.end()
        elif char == "\\":
            piece, at = _escape(pattern, at, inside=True)
            found += piece
        else:
            found += f"\\{char}" if char in "[]&~|" else char
            at += 1
    raise ValueFault(f"`{pattern}` is not a regular expression: the class in column {start + 1} does not end")


def _outside(name: str) -> str:
    """List all characters but those of a class, for a class."""
    inside = re.compile(f"[{_CLASSES[name]}]")
    others = (code for code in range(128) if not inside.match(chr(code)))
    return "".join(f"\\x{code:02x}" for code in others) + "\\x80-\\U0010ffff"


def _result(found: re.Match[str]) -> Value:
    """Give what cty gives of a match: the text, a tuple of groups, or an object of named ones."""
    groups = found.re.groupindex
    if groups and len(groups) != found.re.groups:
        raise ValueFault("either all groups of a pattern have names, or none")

    def group(value: str | None) -> Value:
        return Value(STRING, None) if value is None else string(value)

    if groups:
        return object_value({name: group(found[name]) for name in groups})
    if found.re.groups:
        return tuple_value(map(group, found.groups()))
    return string(found[0])


@_add("regex", text("pattern"), text("string"))
def _regex(pattern: str, value: str) -> Value:
    found = compiled(pattern).search(value)
    if found is None:
        raise ValueFault(f"`{pattern}` does not match `{value[:80]}`")
    return _result(found)


def _matches(expression: re.Pattern[str], value: str) -> Iterator[re.Match[str]]:
    """Find all matches as RE2 does: no empty one stands where another has ended."""
    at, end = 0, -1
    while at <= len(value):
        found = expression.search(value, at)
        if found is None:
            return
        if found.end() > found.start() or found.start() != end:
            yield found
        end = found.end()
        at = end if found.end() > at else at + 1
        if found.end() == found.start():
            at = max(at, found.end() + 1)


@_add("regexall", text("pattern"), text("string"))
def _regexall(pattern: str, value: str) -> Value:
    found = [_result(one) for one in _matches(compiled(pattern), value)]
    return list_value(found, found[0].type if found else _empty(pattern))


def _empty(pattern: str) -> Type:
    groups = compiled(pattern).groups
    names = compiled(pattern).groupindex
    if names:
        return Type("object", tuple((name, STRING) for name in sorted(names)))
    return Type("tuple", (STRING,) * groups) if groups else STRING


@_add("regex_replace", text("str"), text("pattern"), text("replace"))
def _regex_replace(value: str, pattern: str, replacement: str) -> str:
    expression = compiled(pattern)

    def expand(found: re.Match[str]) -> str:
        def one(reference: re.Match[str]) -> str:
            if reference[0] == "$$":
                return "$"
            name = reference[1] or reference[2]
            if name.isdecimal():
                return (found[int(name)] or "") if int(name) <= expression.groups else ""
            return (found[name] or "") if name in expression.groupindex else ""

        return re.sub(r"\$\$|\$\{(\w+)\}|\$(\w+)", one, replacement)

    found: list[str] = []
    at = 0
    for one in _matches(expression, value):
        found += [value[at : one.start()], expand(one)]
        at = one.end()
    return "".join([*found, value[at:]])
