"""The part of Go's text/template that people use with `--format`: fields, pipelines, range, if, with, functions.

Values are plain JSON data. A field that is not there is an error, as it is for docker: a misspelt one would else look
like an empty one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from buildah_py.errors import UsageError

_ACTION = re.compile(r"\{\{(-(?=\s))?((?:\"(?:[^\"\\]|\\.)*\"|`[^`]*`|(?!\}\}).)*?)((?<=\s)-)?\}\}", re.DOTALL)
_TOKEN = re.compile(
    r"\s*(?:(?P<string>\"(?:[^\"\\]|\\.)*\"|`[^`]*`)|(?P<number>-?\d+(?:\.\d+)?)|(?P<mark>:=|[|()=,])"
    r"|(?P<field>(?:\$\w*)?(?:\.[A-Za-z_]\w*)+|\$\w*|\.)|(?P<word>[A-Za-z_]\w*))"
)
_ENDS = ("end", "else")
_OF_RESULT = "@"
"""Stands before fields that follow a `)` at once: `(index .Ports 0).Host`."""
_ESCAPE = rb"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.?)"
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"'}


class Block(NamedTuple):
    """`range`, `if` or `with`: what it is about, what stands in it, and what stands for nothing."""

    keyword: str
    tokens: list[str]
    body: list[Any]
    otherwise: list[Any]


def render(text: str, value: Any) -> str:
    """Fill in a template. Raises UsageError that says what is wrong with it."""
    nodes, rest = _parse(list(_split(text)), 0, text)
    if rest != -1:
        raise _wrong(text, "there is an `end` or `else` too many")
    return "".join(_Run(text, value).run(nodes, value))


def _split(text: str) -> Iterator[str | list[str]]:
    """Cut a template into texts and actions; an action is the list of its tokens."""
    position, trim = 0, False
    for match in _ACTION.finditer(text):
        before = text[position : match.start()]
        before = before.lstrip() if trim else before
        yield before.rstrip() if match[1] else before
        position, trim = match.end(), bool(match[3])
        if not match[2].strip().startswith("/*"):
            yield _tokens(match[2].strip(), text)
    rest = text[position:]
    if "{{" in rest:
        raise _wrong(text, "`{{` is never closed")
    yield rest.lstrip() if trim else rest


def _tokens(action: str, text: str) -> list[str]:
    found, position = [], 0
    while position < len(action):
        match = _TOKEN.match(action, position)
        if match is None:
            raise _wrong(text, f"`{action[position:]}` cannot be read")
        of_result = match["field"] and position and action[position - 1] == ")" and match[0].startswith(".")
        found.append(_OF_RESULT * bool(of_result) + match[0].strip())
        position = match.end()
    if not found:
        raise _wrong(text, "there is an action without anything in it")
    return found


def _parse(parts: Sequence[str | list[str]], start: int, text: str, *, inside: bool = False) -> tuple[list[Any], int]:
    """Nest blocks; gives the nodes and the place of the `end` or `else` behind them, -1 for the end of the text."""
    nodes: list[Any] = []
    place = start
    while place < len(parts):
        part = parts[place]
        if isinstance(part, str):
            nodes.append(part)
        elif part[0] in _ENDS:
            return nodes, place
        elif part[0] in ("range", "if", "with"):
            block, place = _parse_block(parts, place, text)
            nodes.append(block)
        else:
            nodes.append(part)
        place += 1
    if inside:
        raise _wrong(text, "an `end` is missing")
    return nodes, -1


def _parse_block(parts: Sequence[str | list[str]], place: int, text: str) -> tuple[Block, int]:
    opening = parts[place]
    assert isinstance(opening, list)
    body, place = _parse(parts, place + 1, text, inside=True)
    otherwise: list[Any] = []
    end = parts[place]
    if end[0] == "else":
        if len(end) > 1:  # else if …: a block of its own, which ends with this one
            inner, place = _parse_block([*parts[:place], list(end[1:]), *parts[place + 1 :]], place, text)
            return Block(opening[0], opening[1:], body, [inner]), place
        otherwise, place = _parse(parts, place + 1, text, inside=True)
    return Block(opening[0], opening[1:], body, otherwise), place


class _Run:
    def __init__(self, text: str, value: Any) -> None:
        self._text = text
        self._variables: dict[str, Any] = {"$": value}

    def run(self, nodes: list[Any], dot: Any) -> Iterator[str]:
        for node in nodes:
            if isinstance(node, str):
                yield node
            elif isinstance(node, Block):
                yield from self._block(node, dot)
            elif len(node) > 2 and node[0].startswith("$") and node[1] in (":=", "="):
                self._variables[node[0]] = self._pipeline(node[2:], dot)
            else:
                yield _shown(self._pipeline(node, dot))

    def _block(self, block: Block, dot: Any) -> Iterator[str]:
        tokens, names = block.tokens, []
        if ":=" in tokens:
            at = tokens.index(":=")
            names, tokens = [part for part in tokens[:at] if part != ","], tokens[at + 1 :]
        value = self._pipeline(tokens, dot)
        if block.keyword == "range":
            pairs = list(value.items()) if isinstance(value, Mapping) else list(enumerate(value or ()))
            for key, item in sorted(pairs) if isinstance(value, Mapping) else pairs:
                self._variables.update(zip(names, [item] if len(names) == 1 else [key, item], strict=False))
                yield from self.run(block.body, item)
            if not pairs:
                yield from self.run(block.otherwise, dot)
            return
        self._variables.update(dict.fromkeys(names, value))
        if value:
            yield from self.run(block.body, value if block.keyword == "with" else dot)
        else:
            yield from self.run(block.otherwise, dot)

    def _pipeline(self, tokens: list[str], dot: Any) -> Any:
        value: list[Any] = []
        start = depth = 0
        for place, part in enumerate([*tokens, "|"]):
            depth += {"(": 1, ")": -1}.get(part, 0)
            if part == "|" and depth == 0:
                value = [self._command(tokens[start:place], dot, value)]
                start = place + 1
        if depth:
            raise _wrong(self._text, "a `)` is missing" if depth > 0 else "there is a `)` too many")
        return value[0]

    def _command(self, tokens: list[str], dot: Any, piped: list[Any]) -> Any:
        if not tokens:
            raise _wrong(self._text, "a command of a pipeline is missing")
        head = tokens[0]
        if not re.fullmatch(r"[A-Za-z_]\w*", head) or head in ("true", "false", "nil"):
            arguments = [*self._arguments(tokens, dot), *piped]
            if len(arguments) > 1:
                raise _wrong(self._text, f"`{head}` takes no arguments")
            return arguments[0]
        function = _FUNCTIONS.get(head)
        if function is None:
            raise _wrong(self._text, f"there is no function `{head}`", f"there are {', '.join(sorted(_FUNCTIONS))}")
        try:
            return function(*self._arguments(tokens[1:], dot), *piped)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            raise _wrong(self._text, f"`{' '.join(tokens)}` fails: {error}") from error

    def _arguments(self, tokens: list[str], dot: Any) -> Iterator[Any]:
        place = 0
        while place < len(tokens):
            part = tokens[place]
            if part == "(":
                depth, start = 1, place + 1
                while depth:
                    place += 1
                    if place == len(tokens):
                        raise _wrong(self._text, "a `)` is missing")
                    depth += {"(": 1, ")": -1}.get(tokens[place], 0)
                value = self._pipeline(tokens[start:place], dot)
                if place + 1 < len(tokens) and tokens[place + 1].startswith(_OF_RESULT):
                    place += 1
                    value = self._fields(value, tokens[place].removeprefix(_OF_RESULT))
                yield value
            else:
                yield self._value(part, dot)
            place += 1

    def _unquoted(self, part: str) -> str:
        """Read an interpreted string (the Go specification, "String literals")."""

        def byte(found: re.Match[bytes]) -> bytes:
            escape = found[1].decode()
            if escape[0] in "uU":
                return chr(int(escape[1:], 16)).encode("utf-8", "surrogatepass")
            if escape[0] == "x":
                return bytes([int(escape[1:], 16)])
            return bytes([int(escape, 8) & 0xFF]) if escape.isdigit() else _ESCAPES[escape].encode()

        try:
            data = re.sub(_ESCAPE, byte, part[1:-1].encode("utf-8", "surrogateescape"))
        except (KeyError, ValueError, OverflowError):
            raise _wrong(self._text, f"{part} has an escape that means nothing") from None
        return data.decode("utf-8", "surrogateescape")

    def _value(self, part: str, dot: Any) -> Any:
        if part[0] == '"':
            return self._unquoted(part)
        if part[0] == "`":
            return part[1:-1]
        if part in ("true", "false", "nil"):
            return {"true": True, "false": False}.get(part)
        if re.fullmatch(r"-?\d+(\.\d+)?", part):
            if len(part) > 40:
                raise _wrong(self._text, f"`{part}` is too long for a number")
            return json.loads(part)
        if part[0] not in "$.":
            raise _wrong(self._text, f"`{part}` does not stand where a value can")
        variable, _, path = part.partition(".")
        value = dot
        if variable:
            if variable not in self._variables:
                raise _wrong(self._text, f"there is no variable `{variable}`")
            value = self._variables[variable]
        return self._fields(value, path, part)

    def _fields(self, value: Any, path: str, part: str = "") -> Any:
        for name in filter(None, path.split(".")):
            value = self._field(value, name, part or path)
        return value

    def _field(self, value: Any, name: str, part: str) -> Any:
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise _wrong(self._text, f"`{part}`: what `{name}` is asked of has no fields")
        if name in value or isinstance(value, Free):
            return value.get(name)
        from buildah_py.suggest import did_you_mean

        known = did_you_mean(name, value, fold=True) or f"there are {', '.join(sorted(value))}"
        raise _wrong(self._text, f"there is no field `{name}` in `{part}`", known)


class Free(dict[str, Any]):
    """An object with keys of the user's, such as labels: one that is not there is no mistake."""


def freed(value: Any, names: Sequence[str]) -> Any:
    """Give data in which the objects of these names, wherever they are, are Free."""
    if isinstance(value, list):
        return [freed(item, names) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: Free(item) if key in names and isinstance(item, dict) else freed(item, names)
        for key, item in value.items()
    }


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        missing = "" if isinstance(value, Free) else None
        value = value.get(key, missing) if isinstance(value, Mapping) else value[key]
    return value


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _printf(form: str, *values: Any) -> str:
    shown = [_shown(value) if verb[-1] in "sv" else value for verb, value in zip(_verbs(form), values, strict=True)]
    shown = [json.dumps(one) if verb[-1] == "q" else one for verb, one in zip(_verbs(form), shown, strict=True)]
    return re.sub(r"(%[-+ 0]*\d*(?:\.\d+)?)[vq]", r"\1s", form) % tuple(shown)


def _verbs(form: str) -> list[str]:
    return [verb for verb in re.findall(r"%[-+ 0]*\d*(?:\.\d+)?[a-zA-Z%]", form) if verb != "%%"]


def _shown(value: Any) -> str:
    """Return a value as Go prints it."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{key}:{_shown(item)}' for key, item in sorted(value.items()))}]"
    if isinstance(value, (list, tuple)):
        return f"[{' '.join(map(_shown, value))}]"
    return str(value)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": _json,
    "index": _index,
    "len": len,
    "join": lambda items, separator: separator.join(map(str, items or ())),
    "split": lambda text, separator: text.split(separator),
    "lower": lambda text: text.lower(),
    "upper": lambda text: text.upper(),
    "title": lambda text: text.title(),
    "truncate": lambda text, length: text[:length],
    "print": lambda *values: "".join(map(_shown, values)),
    "println": lambda *values: " ".join(map(_shown, values)) + "\n",
    "printf": _printf,
    "eq": lambda one, *others: any(one == other for other in others),
    "ne": lambda one, other: one != other,
    "lt": lambda one, other: one < other,
    "gt": lambda one, other: one > other,
    "le": lambda one, other: one <= other,
    "ge": lambda one, other: one >= other,
    "not": lambda value: not value,
    "and": lambda *values: next((value for value in values if not value), values[-1]),
    "or": lambda *values: next((value for value in values if value), values[-1]),
    "slice": lambda value, *bounds: value[bounds[0] : (bounds[1] if len(bounds) > 1 else None)],
}


def _wrong(text: str, why: str, hint: str = "") -> UsageError:
    return UsageError(f"--format {text}: {why}", hint=hint or "templates look like {{.Id}} or {{json .Config}}")
