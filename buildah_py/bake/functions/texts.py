"""Functions of strings."""

from __future__ import annotations

import os
import posixpath
import re
from typing import TYPE_CHECKING

from buildah_py.bake.functions.function import MOST_TEXT, Library, Parameter, num, text, whole
from buildah_py.bake.functions.graphemes import clusters
from buildah_py.bake.values import STRING, Value, ValueFault, list_of, strings

if TYPE_CHECKING:
    from fractions import Fraction

LIBRARY = Library()
_add = LIBRARY.add
_LIST = list_of(STRING)
_SPACES = " \t\n\v\f\r\x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"


def _each(value: str, change: str) -> str:
    """Change the case of each character by itself; one that would be several stays, or becomes the first of them."""
    found = []
    for char in value:
        new = str(getattr(char, change)())
        found.append(new if len(new) == 1 else new[0] if change == "lower" else char)
    return "".join(found)


@_add("upper", text("str"))
def _upper(value: str) -> str:
    return _each(value, "upper")


@_add("lower", text("str"))
def _lower(value: str) -> str:
    return _each(value, "lower")


@_add("title", text("str"))
def _title(value: str) -> str:
    found, begins = [], True
    for char in value:
        found.append(_each(char, "title") if begins else char)
        begins = not (char.isalnum() or char == "_") if char.isascii() else char.isspace()
    return "".join(found)


@_add("reverse", text("str"))
def _reverse(value: str) -> str:
    return "".join(reversed(clusters(value)))


@_add("strlen", text("str"))
def _strlen(value: str) -> int:
    return len(clusters(value))


@_add("substr", text("str"), num("offset"), num("length"))
def _substr(value: str, offset: Fraction, length: Fraction) -> str:
    characters = clusters(value)
    start, count = whole(offset, "offset"), whole(length, "length")
    if start < 0:
        start = max(0, start + len(characters))
    return "".join(characters[start:] if count < 0 else characters[start : start + count])


@_add("chomp", text("str"))
def _chomp(value: str) -> str:
    return value.rstrip("\r\n")


@_add("trim", text("str"), text("cutset"))
def _trim(value: str, cutset: str) -> str:
    return value.strip(cutset) if cutset else value


@_add("trimspace", text("str"))
def _trimspace(value: str) -> str:
    return value.strip(_SPACES)


@_add("trimprefix", text("str"), text("prefix"))
def _trimprefix(value: str, prefix: str) -> str:
    return value.removeprefix(prefix)


@_add("trimsuffix", text("str"), text("suffix"))
def _trimsuffix(value: str, suffix: str) -> str:
    return value.removesuffix(suffix)


@_add("indent", num("spaces"), text("str"))
def _indent(spaces: Fraction, value: str) -> str:
    count = whole(spaces, "spaces")
    if count < 0:
        raise ValueFault("`spaces` is negative")
    if count * value.count("\n") > MOST_TEXT:
        raise ValueFault("that is too long a text")
    return value.replace("\n", "\n" + " " * count)


@_add("replace", text("str"), text("substr"), text("replace"))
def _replace(value: str, old: str, new: str) -> str:
    return value.replace(old, new)


@_add("split", text("separator"), text("str"))
def _split(separator: str, value: str) -> Value:
    return strings(value.split(separator) if separator else clusters(value))


@_add("join", text("separator"), rest=Parameter("lists", _LIST))
def _join(separator: str, *lists: Value) -> str:
    if not lists:
        raise ValueFault("there is no list to be joined")
    items = [item.raw for one in lists for item in one.raw]
    if None in items:
        raise ValueFault(f"value {items.index(None)} of the list is null")
    return separator.join(items)


@_add("sort", Parameter("list", _LIST))
def _sort(value: Value) -> Value:
    items = [item.raw for item in value.raw]
    if None in items:
        raise ValueFault("a value of the list is null")
    return strings(sorted(items, key=lambda item: item.encode("utf-8", "surrogatepass")))


@_add("sanitize", text("name"))
def _sanitize(value: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_-]", "_", value)


@_add("dirname", text("path"))
def _dirname(path: str) -> str:
    return posixpath.normpath(posixpath.dirname(path) or ".").replace("//", "/") if path else "."


@_add("basename", text("path"))
def _basename(path: str) -> str:
    if not path:
        return "."
    return path.rstrip("/").rpartition("/")[2] or "/"


@_add("homedir")
def _homedir() -> str:
    return os.path.expanduser("~")
