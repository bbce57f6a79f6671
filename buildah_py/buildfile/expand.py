"""Expand variables, quotes and escapes in a word, as BuildKit's front end does.

The forms: `$x`, `${x}`, `${x:-w}`, `${x-w}`, `${x:+w}`, `${x+w}`, `${x:?m}`, `${x?m}`, `${x#p}`, `${x##p}`, `${x%p}`,
`${x%%p}`, `${x/p/r}`, `${x//p/r}`. Operands may hold variables and quotes, and are evaluated whether they are needed or
not. Patterns know `*` and `?`. An unset variable is empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from buildah_py.buildfile.driver import MismatchError, driver
from buildah_py.buildfile.spaces import split_spaces, swap_escape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildah_py.buildfile.patterns import Pattern

MAX_DEPTH = 100
"""How deep substitutions may be nested; more than that no file means."""
MAX_LENGTH = 1 << 20
"""How many characters the variables of one word may come to."""


def _is_plain(word: str) -> bool:
    return not ("$" in word or '"' in word or "'" in word or "\\" in word or "`" in word)


class ExpansionError(ValueError):
    """A word that cannot be expanded; `offset` is the place in the word."""

    def __init__(self, message: str, offset: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


class Expansion:
    """Outcome of the expansion of a word, and the names that were looked up on the way."""

    __slots__ = ("text", "unset", "used", "words")

    def __init__(self, text: str, words: list[str], used: list[str], unset: list[str]) -> None:
        self.text = text
        self.words = words
        self.used = used
        self.unset = unset


def expand(word: str, env: Mapping[str, str], escape: str = "\\") -> str:
    """`word` without its quotes and escapes and with its variables replaced.

    Raises:
        ExpansionError: a quote or brace is not closed, an operator is unknown, or `${x?message}` found x unset.

    """
    if _is_plain(word):
        return word
    return trace(word, env, escape).text


def trace_body(text: str, env: Mapping[str, str]) -> Expansion:
    """Expand the body of a here-document: quotes are ordinary characters, the escape character is a backslash."""
    return _Evaluator(text, env, "body").run(text)


def trace(word: str, env: Mapping[str, str], escape: str = "\\") -> Expansion:
    """Expand `word` and say which names were found and which were not, each in the order of first use."""
    if _is_plain(word):
        return Expansion(word, [part for part in split_spaces(word) if part], [], [])
    return _Evaluator(word, env, "word").run(swap_escape(word, escape))


def split_raw(line: str) -> list[str] | None:
    """Return the words of `line` with quotes, escapes and variables left in them; None where a quote is not closed."""
    evaluator = _Evaluator(line, {}, "word", keep_quotes=True, keep_escapes=True, keep_unset=True)
    try:
        return evaluator.run(line).words
    except ExpansionError:
        return None


def fill_in(line: str, env: Mapping[str, str]) -> str:
    """`line` with the values of its variables, for people: quotes, escapes and variables that are not set stay."""
    evaluator = _Evaluator(line, env, "word", keep_quotes=True, keep_escapes=True, keep_unset=True)
    try:
        return evaluator.run(line).text
    except ExpansionError:
        return line


def split_delimiter(text: str, *, keep_quotes: bool) -> list[str]:
    """Return the words of a here-document's delimiter; variables stay as they are."""
    return _Evaluator(text, {}, "word", keep_quotes=keep_quotes, keep_unset=True).run(text).words


class _Evaluator:
    """Walks the tree of one word. Offsets of the tree are offsets in `_text`."""

    def __init__(
        self,
        text: str,
        env: Mapping[str, str],
        start: str,
        *,
        keep_quotes: bool = False,
        keep_escapes: bool = False,
        keep_unset: bool = False,
    ) -> None:
        self._text = text
        self._env = env
        self._start = start
        self._keep_quotes = keep_quotes
        self._keep_escapes = keep_escapes
        self._keep_unset = keep_unset
        self._used: dict[str, None] = {}
        self._unset: dict[str, None] = {}
        self._length = 0

    def run(self, mapped: str) -> Expansion:
        try:
            _, nodes = driver("word").parse(mapped, self._start)
        except MismatchError as error:
            raise _explain(mapped, error, body=self._start == "body") from None
        pieces: list[str] = []
        words: list[str] = []
        word = ""
        for node in nodes:
            kind = node[0]
            value = self._node(node, raw=self._keep_escapes, depth=0)
            pieces.append(value)
            if kind in _UNSPLIT:
                word += value
                continue
            parts = split_spaces(value)
            word += parts[0]
            for part in parts[1:]:
                if word:
                    words.append(word)
                word = part
        if word:
            words.append(word)
        return Expansion("".join(pieces), words, list(self._used), list(self._unset))

    def _lookup(self, name: str) -> str | None:
        value = self._env.get(name)
        (self._unset if value is None else self._used)[name] = None
        return None if value is None else self._bounded(value)

    def _bounded(self, value: str) -> str:
        """Count a value: a few lines of `ARG b=$a$a` make more of it than fits into memory."""
        self._length += len(value)
        if self._length > MAX_LENGTH:
            raise ExpansionError(f"the variables of one word come to more than {MAX_LENGTH} characters")
        return value

    def _operand(self, node: tuple[str, Any], *, raw: bool, depth: int) -> str:
        return "".join([self._node(child, raw=raw, depth=depth) for child in node[1]])

    def _node(self, node: Any, *, raw: bool, depth: int) -> str:
        """Return the text that `node` stands for; `raw` keeps escape characters, as patterns need them."""
        kind = node[0]
        text = self._text
        if kind in _LITERAL:
            return text[node[1] : node[2]]
        if kind == "VARIABLE":
            name = text[node[1] + 1 : node[2]]
            value = self._lookup(name)
            if value is None:
                return f"${name}" if self._keep_unset else ""
            return value
        if kind == "ESCAPED":
            return text[node[1] if raw else node[1] + 1 : node[2]]
        if kind == "LAST_ESCAPE":
            return text[node[1]] if raw else ""
        if kind == "SINGLE":
            return text[node[1] : node[2]] if self._keep_quotes else text[node[1] + 1 : node[2] - 1]
        if kind == "double":
            inside = "".join([self._node(child, raw=raw, depth=depth) for child in node[1]])
            return f'"{inside}"' if self._keep_quotes else inside
        if kind == "DOUBLE_ESCAPED":
            return text[node[1] if raw else node[1] + 1 : node[2]]
        if kind == "BACKSLASH":
            return text[node[1]] * (2 if raw else 1)
        if depth >= MAX_DEPTH:
            raise ExpansionError("substitutions are nested too deeply", _offset(node))
        return self._substitution(node, depth + 1)

    def _substitution(self, node: Any, depth: int) -> str:
        kind, children = node
        text = self._text
        if kind.startswith("nameless"):
            name = ""
            rest = children
        else:
            name = text[children[0][1] : children[0][2]]
            rest = children[1:]
        operator = text[rest[0][1] : rest[0][2]]
        if kind == "value":
            value = self._lookup(name)
            if value is None:
                return f"${{{name}}}" if self._keep_unset else ""
            return value
        if kind.endswith("replace"):
            pattern = self._operand(rest[1], raw=True, depth=depth)
            replacement = self._operand(rest[3], raw=True, depth=depth)
            value = self._lookup(name)
            if value is None and self._keep_unset:
                return f"${{{name}/{pattern}/{replacement}}}"
            from buildah_py.buildfile.patterns import TooLongError, replace

            compiled = _pattern(pattern, _offset(node))
            try:
                return self._bounded(
                    replace(value or "", compiled, replacement, everywhere=operator == "//", limit=MAX_LENGTH)
                )
            except TooLongError:
                raise ExpansionError(
                    f"the replacements in one word come to more than {MAX_LENGTH} characters", _offset(node)
                ) from None
        word = self._operand(rest[1], raw=operator[-1] in "#%", depth=depth)
        value = self._lookup(name)
        if value is None and self._keep_unset:
            return f"${{{name}{operator}{word}}}"
        if kind == "odd":
            raise ExpansionError(f"unsupported modifier ({operator}) in substitution", _offset(node))
        if kind.endswith("trim"):
            return _trim(value or "", operator, word, _offset(node))
        missing = value is None or (operator[0] == ":" and not value)
        if operator[-1] == "-":
            return word if missing else value or ""
        if operator[-1] == "+":
            return "" if missing else word
        if missing:
            why = word or ("is not allowed to be unset" if value is None else "is not allowed to be empty")
            raise ExpansionError(f"{name}: {why}", _offset(node))
        return value or ""


_LITERAL = frozenset({"TEXT", "BODY_TEXT", "DOUBLE_TEXT", "SLASH", "CLOSE", "DOLLAR"})
_UNSPLIT = frozenset({"ESCAPED", "SINGLE", "double"})


def _offset(node: Any) -> int:
    while isinstance(node[1], list):
        node = node[1][0]
    return max(0, int(node[1]) - 2)


def _pattern(text: str, offset: int) -> Pattern:
    from buildah_py.buildfile.patterns import Pattern, PatternError

    try:
        return Pattern(text)
    except PatternError as error:
        raise ExpansionError(f"invalid pattern ({text}) in substitution: {error}", offset) from None


def _trim(value: str, operator: str, word: str, offset: int) -> str:
    from buildah_py.buildfile.patterns import reversed_pattern, trim_front

    longest = word.startswith(operator)
    if longest:
        word = word[1:]
    if operator == "#":
        return trim_front(value, _pattern(word, offset), longest=longest)
    _pattern(word, offset)
    return trim_front(value[::-1], _pattern(reversed_pattern(word), offset), longest=longest)[::-1]


def _explain(text: str, error: MismatchError, *, body: bool) -> ExpansionError:
    """Say in words why `text` is not a word."""
    offset = error.offset
    at_end = offset >= len(text)
    start = text.rfind("${", 0, offset)
    if "SINGLE" not in error.expected and "DOUBLE_TEXT" in error.expected:
        return ExpansionError("unexpected end of statement while looking for matching double-quote", text.find('"'))
    if not body and not at_end and text[offset] == "'":
        return ExpansionError("unexpected end of statement while looking for matching single-quote", offset)
    if at_end:
        what = "missing '/' in ${}" if "SLASH" in error.expected and "CLOSE" in error.expected else "missing '}'"
        return ExpansionError(f"syntax error: {what}", max(start, 0))
    if text.startswith("${", max(offset - 2, 0)) and text[offset] in "{}:":
        return ExpansionError("syntax error: bad substitution", max(offset - 2, 0))
    modifier = text[offset : offset + 2] if text[offset] == ":" else text[offset]
    return ExpansionError(f"unsupported modifier ({modifier}) in substitution", max(start, 0))
