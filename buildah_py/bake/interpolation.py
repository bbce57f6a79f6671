"""Variables in Compose files, and the `.env` file (docs.docker.com/reference/compose-file/interpolation)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from buildah_py.bake.values import ValueFault

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATORS: Final = (":-", ":?", ":+", "-", "?", "+")
_KEY: Final = re.compile(r"(?:export\s+)?([A-Za-z0-9_.\-\[\]]+)\s*(=|:|(?=\n|$))[ \t]*")
_DEEPEST: Final = 20


def interpolate(text: str, environ: Mapping[str, str], depth: int = 0) -> str:
    """Fill in `$NAME` and `${NAME…}`; `$$` is a dollar sign. Raises ValueFault."""
    if "$" not in text:
        return text
    if depth > _DEEPEST:
        raise ValueFault(f"variables stand more than {_DEEPEST} deep in one another")
    found: list[str] = []
    at = 0
    while (dollar := text.find("$", at)) >= 0:
        found.append(text[at:dollar])
        at = dollar + 1
        if text.startswith("$", at):
            found.append("$")
            at += 1
        elif text.startswith("{", at):
            end = _end(text, at)
            found.append(_braced(text[at + 1 : end], environ, depth))
            at = end + 1
        elif name := _NAME.match(text, at):
            found.append(environ.get(name[0], ""))
            at = name.end()
        else:
            found.append("$")
    return "".join([*found, text[at:]])


def _end(text: str, start: int) -> int:
    depth = 0
    for at in range(start, len(text)):
        if text[at] == "{" and (at == start or text[at - 1] == "$"):
            depth += 1
        elif text[at] == "}":
            depth -= 1
            if not depth:
                return at
    raise ValueFault(f"`{text}`: a brace behind `$` does not end", "write $$ for the sign itself")


def _braced(inside: str, environ: Mapping[str, str], depth: int) -> str:
    name = _NAME.match(inside)
    rest = inside[name.end() :] if name else inside
    operator = next((one for one in _OPERATORS if rest.startswith(one)), "")
    if not name or (rest and not operator):
        raise ValueFault(f"`${{{inside}}}` is not a variable", "write ${NAME} or ${NAME:-default}")
    value = environ.get(name[0])
    word = rest[len(operator) :]
    missing = value is None or (operator.startswith(":") and not value)
    if operator.endswith("+"):
        return "" if missing else interpolate(word, environ, depth + 1)
    if not missing or not operator:
        return value or ""
    if operator.endswith("?"):
        said = interpolate(word, environ, depth + 1)
        raise ValueFault(f"the variable {name[0]} is needed{f': {said}' if said else ''}", f"set {name[0]}")
    return interpolate(word, environ, depth + 1)


def read_dotenv(text: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Read a file of variables; `environ` comes before it. Raises ValueFault, with the line."""
    found: dict[str, str] = {}
    text = text.replace("\r\n", "\n")
    at = 0
    while at < len(text):
        if text[at] in " \t\n":
            at += 1
            continue
        if text[at] == "#":
            at = _line_end(text, at)
            continue
        key = _KEY.match(text, at)
        if not key:
            raise ValueFault(f"line {text.count(chr(10), 0, at) + 1}: this is not `NAME=VALUE`")
        at = key.end()
        if not key[2]:
            if key[1] in environ:
                found[key[1]] = environ[key[1]]
            continue
        known = {**found, **environ}
        quote = text[at : at + 1]
        if quote in ("'", '"'):
            value, at = _quoted(text, at)
            found[key[1]] = value if quote == "'" else interpolate(_unescaped(value), known)
            rest = text[at : _line_end(text, at)].strip()
            if rest and not rest.startswith("#"):
                raise ValueFault(f"line {text.count(chr(10), 0, at) + 1}: `{rest}` stands behind the value")
            at = _line_end(text, at)
        else:
            end = _line_end(text, at)
            found[key[1]] = interpolate(re.split(r"\s#", text[at:end])[0].strip(), known)
            at = end
    return found


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _quoted(text: str, start: int) -> tuple[str, int]:
    at = start + 1
    while at < len(text):
        if text[at] == "\\" and text[start] == '"':
            at += 2
            continue
        if text[at] == text[start]:
            return text[start + 1 : at], at + 1
        at += 1
    raise ValueFault(f"line {text.count(chr(10), 0, start) + 1}: the quotation marks do not end")


def _unescaped(value: str) -> str:
    known = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$$"}
    return re.sub(r"\\(.)", lambda found: known.get(found[1], found[0]), value, flags=re.DOTALL)
