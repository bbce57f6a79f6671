"""One instruction's text, split into keyword, flags and arguments, with the way back to places in the file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from buildah_py.buildfile.driver import MismatchError, driver
from buildah_py.buildfile.flags import Flag, split_flags
from buildah_py.buildfile.spaces import BLANKS, ITEM, SPACES, has_odd_space, swap_escape
from buildah_py.buildfile.tree import Word
from buildah_py.errors import BuildFileError

if TYPE_CHECKING:
    from typing import TypedDict

    from buildah_py.buildfile.lines import LogicalLine
    from buildah_py.buildfile.tree import Heredoc
    from buildah_py.source_text import Source, Span

    class Common(TypedDict):
        """The fields that all nodes have."""

        span: Span
        keyword: str
        text: str
        doc: tuple[str, ...]
        heredocs: tuple[Heredoc, ...]
        blank_line: int


_HEREDOC_KEYWORDS = ("RUN", "COPY", "ADD")


def simple_json(text: str) -> list[str] | None:
    """Return the strings of an array without escapes, or None: then the grammar has to look at it."""
    parts = text.split('"')
    between = [part.strip(" ") for part in parts[::2]]
    if (
        len(parts) < 3
        or len(parts) % 2 == 0
        or between[0] != "["
        or between[-1] != "]"
        or between[1:-1] != [","] * (len(between) - 2)
    ):
        return None
    return parts[1::2]


class NotStringsError(Exception):
    """A JSON array that holds something else than strings."""


class Statement:
    """An instruction as text: `keyword`, `flags`, and `args`, which begin at `offset` of the logical line.

    `extensions` tells whether pybuild's extensions are allowed.
    """

    __slots__ = (
        "args",
        "escape",
        "extensions",
        "flags",
        "heredocs",
        "keyword",
        "line",
        "name",
        "offset",
        "source",
        "start",
    )

    def __init__(self, source: Source, line: LogicalLine, escape: str, start: int = 0) -> None:
        self.source = source
        self.line = line
        self.escape = escape
        self.extensions = False
        self.heredocs: tuple[Heredoc, ...] = ()
        text = line.text[start:]
        lead = len(text) - len(text.lstrip(SPACES))
        text = text.strip(SPACES)
        self.start = start + lead
        blank = BLANKS.search(text)
        self.flags: tuple[Flag, ...] = ()
        if blank is None:
            self.keyword = text
            self.args = ""
            self.offset = self.start + len(text)
        else:
            self.keyword = text[: blank.start()]
            self.flags, args, self.offset = split_flags(text[blank.end() :], self.start + blank.end(), escape)
            self.args = args.rstrip(SPACES)
        self.name = self.keyword.upper()

    def error(
        self, message: str, start: int | None = None, end: int | None = None, *, hint: str = ""
    ) -> BuildFileError:
        """Return an error for `start` up to `end` of the logical line; by default for all of the instruction."""
        if start is None:
            start, end = self.start, len(self.line.text.rstrip(SPACES))
        return BuildFileError(message, self.source, self.line.span(start, start if end is None else end), hint=hint)

    def common(self, span: Span) -> Common:
        """Return the fields that every node takes over from its statement."""
        line = self.line
        return {
            "span": span,
            "keyword": self.keyword,
            "text": line.text,
            "doc": line.doc,
            "heredocs": self.heredocs,
            "blank_line": line.last_line if line.has_blank else 0,
        }

    def takes_heredocs(self) -> bool:
        """Whether `<<` means something in this instruction: not where the arguments are an exec form."""
        inner = self
        if self.name == "ONBUILD" and self.args:
            inner = Statement(self.source, self.line, self.escape, self.offset)
        try:
            return inner.name in _HEREDOC_KEYWORDS and inner.json() is None
        except NotStringsError:
            return True

    def rest(self, start: int) -> Statement:
        """Return the same instruction as if its arguments began at `start`."""
        rest = Statement.__new__(Statement)
        rest.source, rest.line, rest.escape = self.source, self.line, self.escape
        rest.keyword, rest.name, rest.start, rest.flags = self.keyword, self.name, self.start, ()
        rest.heredocs, rest.extensions = self.heredocs, self.extensions
        rest.args = self.args[start:]
        rest.offset = self.offset + start
        return rest

    def word(self, start: int, end: int) -> Word:
        """Return the argument from `start` up to `end` of `args`."""
        return Word(self.args[start:end], self.line.span(self.offset + start, self.offset + end))

    def whole(self) -> Word:
        """All of `args` as one word."""
        return self.word(0, len(self.args))

    def items(self) -> list[Word]:
        """Return the arguments between blanks; quotes mean nothing here."""
        return [self.word(found.start(), found.end()) for found in ITEM.finditer(self.args)]

    def words(self) -> list[Word]:
        """Return the arguments between spaces that no quote or escape character protects."""
        args = self.args
        if not ("'" in args or '"' in args or self.escape in args or has_odd_space(args)):
            return self.items()
        mapped = swap_escape(args, self.escape)
        _, nodes = driver("arguments").parse(mapped, "words")
        words = []
        for _, pieces in nodes:
            if not pieces:
                continue
            words.append(self.word(pieces[0][1], pieces[-1][2]))
        return words

    def json(self) -> list[str] | None:
        """Return the arguments as a JSON array of strings; None where they are not JSON.

        Raises:
            NotStringsError: an array with something else in it.

        """
        args = self.args
        if not args.startswith("["):
            return None
        if "\\" not in args and args.isprintable():
            simple = simple_json(args)
            if simple is not None:
                return simple
        try:
            _, nodes = driver("json").parse(args, "array")
        except MismatchError:
            return None
        if any(node[0] != "STRING" for node in nodes):
            raise NotStringsError
        return [_json_string(args[start + 1 : end - 1]) for _, start, end in nodes]

    def fits(self, grammar: str, rule: str) -> list[tuple[str, int, int]] | None:
        """Return the tokens of `args`, read as a flat rule; None where they do not fit."""
        try:
            nodes: list[tuple[str, int, int]] = driver(grammar).parse(self.args, rule)[1]
        except MismatchError:
            return None
        return nodes


class Flags:
    """The flags of one statement, as its instruction takes them."""

    def __init__(self, statement: Statement, strings: tuple[str, ...], booleans: tuple[str, ...] = ()) -> None:
        """Read `statement`'s flags: `strings` need a value, those that end in `*` may be repeated."""
        self._statement = statement
        self._found: dict[str, list[Flag]] = {}
        if not statement.flags:
            return
        several = {name[:-1] for name in strings if name.endswith("*")}
        known = [*(name.rstrip("*") for name in strings), *booleans]
        for flag in statement.flags:
            if flag.name not in known:
                from buildah_py.suggest import did_you_mean

                hint = did_you_mean(flag.name, known, prefix="--")
                raise statement.error(f"unknown flag: --{flag.name}", flag.start, flag.end, hint=hint)
            if flag.name in self._found and flag.name not in several:
                raise statement.error(f"duplicate flag specified: --{flag.name}", flag.start, flag.end)
            if flag.name in booleans:
                if flag.value is not None and flag.value.lower() not in ("true", "false"):
                    wrong = f"expecting boolean value for flag --{flag.name}, not: {flag.value}"
                    missing = f"missing a value on flag: --{flag.name}"
                    raise statement.error(wrong if flag.value else missing, flag.start, flag.end)
            elif flag.value is None:
                raise statement.error(
                    f"missing a value on flag: --{flag.name}", flag.start, flag.end, hint=f"write --{flag.name}=VALUE"
                )
            self._found.setdefault(flag.name, []).append(flag)

    def text(self, name: str) -> str | None:
        """Return the value of a flag; None where it was not given."""
        found = self._found.get(name)
        return found[0].value if found else None

    def word(self, name: str) -> Word | None:
        """Return the value of a flag as a word; None where it was not given or is empty."""
        words = self.words(name)
        return words[0] if words and words[0].text else None

    def words(self, name: str) -> tuple[Word, ...]:
        """Return the values of a flag that may be repeated."""
        return tuple(Word(flag.value or "", self._span(flag)) for flag in self._found.get(name, ()))

    def boolean(self, name: str) -> bool | None:
        """Return a flag without a value, or with `=true` or `=false`; None where it was not given."""
        found = self._found.get(name)
        return (found[0].value or "true").lower() == "true" if found else None

    def span(self, name: str) -> Span:
        """Where a flag that was given stands."""
        flag = self._found[name][0]
        return self._statement.line.span(flag.start, flag.end)

    def _span(self, flag: Flag) -> Span:
        return self._statement.line.span(flag.value_start, flag.end)


_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def _json_string(text: str) -> str:
    if "\\" not in text:
        return text

    def unescape(found: re.Match[str]) -> str:
        char = found.group(1)
        if char[0] != "u":
            return _ESCAPES.get(char, char)
        return _utf16(found.group()[2:].split("\\u"))

    return re.sub(r"\\(u[0-9a-fA-F]{4}(?:\\u[0-9a-fA-F]{4})*|.)", unescape, text, flags=re.DOTALL)


def _utf16(units: list[str]) -> str:
    """UTF-16 code units to text; half a pair becomes a replacement character, as in Go."""
    out = []
    position = 0
    while position < len(units):
        unit = int(units[position], 16)
        position += 1
        if 0xD800 <= unit <= 0xDBFF and position < len(units):
            low = int(units[position], 16)
            if 0xDC00 <= low <= 0xDFFF:
                out.append(chr(0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)))
                position += 1
                continue
        out.append("\ufffd" if 0xD800 <= unit <= 0xDFFF else chr(unit))
    return "".join(out)
