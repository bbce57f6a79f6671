"""Values from outside of bake files: variables of the environment and the command line, and `--set`."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.bake import entries
from buildah_py.bake.functions.encodings import of_json
from buildah_py.bake.targets import ATTRIBUTES, Target
from buildah_py.bake.values import (
    BOOL,
    DYNAMIC,
    NUMBER,
    PRIMITIVES,
    STRING,
    Type,
    Value,
    ValueFault,
    bool_value,
    convert,
    number,
    object_value,
    string,
    tuple_value,
)
from buildah_py.errors import UsageError
from buildah_py.image import numbers
from buildah_py.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def read_variable(text: str, to: Type, *, json: bool, typed: bool) -> Value:
    """Read a variable's value of a type; `json` says that it is JSON. Raises ValueFault."""
    if json:
        return convert(_from_json(text), to)
    if to == BOOL:
        known = numbers.boolean(text.lower()) if text.lower() in ("1", "t", "true", "0", "f", "false") else None
        known = {"t": True, "f": False}.get(text.lower(), known)
        if known is None:
            raise ValueFault(f"`{text}` is neither true nor false")
        return bool_value(known)
    if to in (STRING, NUMBER):
        return convert(string(text), to)
    if to == DYNAMIC:
        return string(text)
    if not typed:
        raise ValueFault(
            "it has no type, and its default is not a simple value", "give it one: type = list(string), or another"
        )
    items = entries.fields(text)
    if not items:
        raise ValueFault("an empty text is not a list", "[] in NAME_JSON is an empty one")
    if to.kind in ("list", "set") and to.of in (*PRIMITIVES, DYNAMIC):
        return convert(tuple_value(map(string, items)), to)
    if to.kind == "tuple" and all(one in PRIMITIVES for one in to.of):
        return convert(tuple_value(map(string, items)), to)
    if to.kind == "map" and to.of in (*PRIMITIVES, DYNAMIC):
        found: dict[str, Value] = {}
        for item in items:
            key, colon, value = item.partition(":")
            if not colon:
                raise ValueFault(f"`{item}` is not `key:value`")
            found[key] = string(value)
        return convert(object_value(found), to)
    raise ValueFault(f"a value of {to} cannot be written as CSV", "give JSON in NAME_JSON")


def _from_json(text: str) -> Value:
    try:
        return of_json(json.loads(text, parse_int=number, parse_float=number))
    except (ValueError, RecursionError) as error:
        raise ValueFault(f"this is not JSON: {error}") from None


# --set

_KEYS: Final = {
    "annotations": "annotations",
    "args": "args",
    "attest": "attest",
    "cache-from": "cache-from",
    "cache-to": "cache-to",
    "call": "call",
    "context": "context",
    "contexts": "contexts",
    "dockerfile": "dockerfile",
    "entitlements": "entitlements",
    "extra-hosts": "extra-hosts",
    "labels": "labels",
    "network": "network",
    "no-cache": "no-cache",
    "no-cache-filter": "no-cache-filter",
    "output": "output",
    "platform": "platforms",
    "pull": "pull",
    "secrets": "secret",
    "shm-size": "shm-size",
    "ssh": "ssh",
    "tags": "tags",
    "target": "target",
    "ulimits": "ulimits",
}
"""Keys of `--set`, and the attributes that they set."""
_SWITCHES: Final = ("push", "load")
_APPENDED: Final = ("annotations", "attest", "entitlements")
"""Attributes that `--set` adds to."""
_MAPS: Final = ("args", "contexts", "labels", "extra-hosts")


class Override(NamedTuple):
    """One `--set`: targets that `pattern` matches get `value` for an attribute, or `appends` it.

    `name` is the key in an attribute that is a map. `text` is how it was given.
    """

    pattern: str
    key: str
    name: str
    value: str
    appends: bool
    text: str


def parse_sets(texts: Iterable[str], environ: Mapping[str, str]) -> list[Override]:
    """Read `--set TARGET.KEY[.NAME]=VALUE`s. Raises UsageError."""
    return [one for text in texts if (one := _parse(text, environ)) is not None]


def _parse(text: str, environ: Mapping[str, str]) -> Override | None:
    left, equals, value = text.partition("=")
    appends = bool(equals) and left.endswith("+")
    pattern, dot, rest = left.removesuffix("+").partition(".") if appends else left.partition(".")
    key, _, name = rest.partition(".")
    if not dot or not key:
        raise UsageError(f"--set {text}: it names no attribute", hint="write --set TARGET.KEY=VALUE")
    if key not in _KEYS and key not in _SWITCHES:
        wanted = next((one for one, attribute in _KEYS.items() if attribute == key), "")
        hint = f"did you mean {wanted}?" if wanted else did_you_mean(key, _KEYS)
        raise UsageError(f"--set {text}: `{key}` cannot be set", hint=hint or f"keys: {', '.join(_KEYS)}")
    if key in _MAPS:
        if not name:
            raise UsageError(f"--set {text}: `{key}` needs a name", hint=f"write --set {pattern}.{key}.NAME=VALUE")
        if not equals:
            if key != "args":
                raise UsageError(f"--set {text}: there is no value", hint=f"write --set {left}=VALUE")
            if name not in environ:
                return None
            value = environ[name]
    elif not equals:
        raise UsageError(f"--set {text}: there is no value", hint=f"write --set {left}=VALUE")
    elif name:
        raise UsageError(f"--set {text}: `{key}` has no names in it", hint=f"write --set {pattern}.{key}=VALUE")
    return Override(pattern, key, name, value, appends, text)


def override(target: Target, overrides: Iterable[Override]) -> Target:
    """Put overrides over a target, whose name they match. Raises UsageError."""
    values = dict(target.values)
    touched: set[str] = set()
    for one in overrides:
        if not matches(one.pattern, target.name):
            continue
        if one.key in _SWITCHES:
            if _boolean(one):
                values[f"{one.key}!"] = True
            continue
        attribute = _KEYS[one.key]
        kind = ATTRIBUTES[attribute].kind
        try:
            if kind == "map":
                values[attribute] = {**(values.get(attribute) or {}), one.name: one.value}
            elif kind == "text":
                values[attribute] = one.value
            elif kind == "flag":
                values[attribute] = _boolean(one)
            else:
                given = [one.value] if kind == "texts" else entries.READERS[kind](one.value) if one.value else []
                kept = attribute in touched or one.appends or attribute in _APPENDED
                touched.add(attribute)
                values[attribute] = [*((values.get(attribute) or ()) if kept else ()), *given]
        except ValueFault as fault:
            raise UsageError(f"--set {one.text}: {fault.message}", hint=fault.hint) from None
    return target._replace(values=values)


def _boolean(one: Override) -> bool:
    known = numbers.boolean(one.value.lower())
    if known is None:
        raise UsageError(f"--set {one.text}: `{one.value}` is neither true nor false")
    return known


@lru_cache(maxsize=256)
def _pattern(pattern: str) -> re.Pattern[str]:
    """Compile a pattern of Go's path.Match."""
    found: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "*":
            found.append("[^/]*")
        elif char == "?":
            found.append("[^/]")
        elif char == "[" and "]" in pattern[at + 2 :]:
            end = pattern.index("]", at + 2)
            found.append(f"[{pattern[at + 1 : end]}]")
            at = end
        elif char == "\\" and at + 1 < len(pattern):
            at += 1
            found.append(re.escape(pattern[at]))
        else:
            found.append(re.escape(char))
        at += 1
    return re.compile("".join(found))


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern matches the name of a target. Raises UsageError for a pattern that is none."""
    try:
        return _pattern(pattern).fullmatch(name) is not None
    except re.error as error:
        raise UsageError(f"`{pattern}` is not a pattern: {error}") from None
