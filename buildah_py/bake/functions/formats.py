"""Functions `format` and `formatlist`: the verbs of cty's format (cty/function/stdlib, "format")."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from buildah_py.bake.functions.encodings import json_string, to_json
from buildah_py.bake.functions.function import Library, Parameter, text
from buildah_py.bake.functions.graphemes import clusters
from buildah_py.bake.values import (
    BOOL,
    NUMBER,
    SEQUENCES,
    STRING,
    Type,
    Value,
    ValueFault,
    convert,
    list_value,
    number_text,
    shortest,
    string,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

LIBRARY = Library()
_add = LIBRARY.add
_VERB: Final = re.compile(
    r"%(?P<flags>[-+# 0]*)(?P<width>\d*)(?:\.(?P<precision>\d*))?(?:\[(?P<index>\d+)\])?(?P<verb>.)?", re.DOTALL
)
_WIDEST: Final = 10_000


class _Verb:
    """One verb with what stands before it."""

    def __init__(self, found: re.Match[str]) -> None:
        self.flags = found["flags"]
        self.width = int(found["width"] or 0)
        self.precision = None if found["precision"] is None else int(found["precision"] or 0)
        self.verb = found["verb"] or ""
        if self.width > _WIDEST or (self.precision or 0) > _WIDEST:
            raise ValueFault(f"`{found[0]}` is wider than {_WIDEST} characters")

    def padded(self, value: str, *, zero: bool = False) -> str:
        missing = self.width - len(clusters(value))
        if missing <= 0:
            return value
        if "-" in self.flags:
            return value + " " * missing
        if zero and "0" in self.flags:
            sign = value[:1] if value[:1] in "+- " else ""
            return sign + "0" * missing + value[len(sign) :]
        return " " * missing + value


def formatted(form: str, arguments: Sequence[Value]) -> str:
    """Write arguments as the verbs in `form` say. Raises ValueFault."""
    found: list[str] = []
    at = highest = position = 0
    for match in _VERB.finditer(form):
        found.append(form[at : match.start()])
        at = match.end()
        verb = _Verb(match)
        if not verb.verb:
            raise ValueFault("`format` ends within a verb", "write %% for the sign itself")
        if verb.verb == "%":
            found.append("%")
            continue
        if match["index"]:
            position = int(match["index"]) - 1
        if not 0 <= position < len(arguments):
            raise ValueFault(f"there is no argument for `{match[0]}`")
        found.append(_one(verb, arguments[position], match[0]))
        position += 1
        highest = max(highest, position)
    if highest < len(arguments) and not re.search(r"%[^%]*\[\d+\]", form):
        raise ValueFault(f"there are {len(arguments)} arguments, and `format` uses {highest}")
    return "".join([*found, form[at:]])


def _one(verb: _Verb, value: Value, shown: str) -> str:
    kind = verb.verb
    if kind == "v":
        return verb.padded(to_json(value) if "#" in verb.flags else _plain(value))
    if value.raw is None:
        raise ValueFault(f"`{shown}`: the argument is null", "%v takes null")
    try:
        if kind == "t":
            return "true" if convert(value, BOOL).raw else "false"
        if kind in "bdoxXeEfFgG":
            number = convert(value, NUMBER).raw
            return _number(verb, number)
        if kind in "sq":
            raw = str(convert(value, STRING).raw)
            if verb.precision is not None:
                raw = "".join(clusters(raw)[: verb.precision])
            return verb.padded(json_string(raw) if kind == "q" else raw)
    except ValueFault as fault:
        raise ValueFault(f"`{shown}`: {fault.message}") from None
    raise ValueFault(f"`{shown}` is not a verb", "there are v, t, b, d, o, x, X, e, E, f, F, g, G, s, q")


def _plain(value: Value) -> str:
    if value.raw is None:
        return "null"
    if value.type == STRING:
        return str(value.raw)
    if value.type == NUMBER:
        return _general(value.raw, None, "v")
    return to_json(value)


def _number(verb: _Verb, number: Fraction) -> str:
    kind = verb.verb
    negative = number < 0
    size = abs(number)
    if kind in "bdoxX":
        if size.denominator != 1:
            raise ValueFault("a whole number is needed")
        whole = int(size)
        digits = {"b": "b", "d": "d", "o": "o", "x": "x", "X": "X"}[kind]
        text = format(whole, digits)
        if verb.precision is not None:
            text = text.rjust(verb.precision, "0")
        if "#" in verb.flags:
            text = {"o": "0", "x": "0x", "X": "0X", "b": "0b"}.get(kind, "") + text
    elif kind in "fF":
        text = _fixed(size, 6 if verb.precision is None else verb.precision)
    elif kind in "eE":
        text = _exponential(size, 6 if verb.precision is None else verb.precision, kind)
    else:
        text = _general(size, verb.precision, kind)
    sign = "-" if negative else "+" if "+" in verb.flags else " " if " " in verb.flags else ""
    return verb.padded(sign + text, zero=True)


def _fixed(size: Fraction, precision: int) -> str:
    scaled = round(size * 10**precision)
    digits = str(scaled).rjust(precision + 1, "0")
    return f"{digits[:-precision]}.{digits[-precision:]}" if precision else digits


def _exponential(size: Fraction, precision: int, kind: str) -> str:
    if not size:
        return f"0{'.' + '0' * precision if precision else ''}{kind}+00"
    exponent = _exponent(size)
    digits = str(round(size / Fraction(10) ** (exponent - precision)))
    if len(digits) > precision + 1:
        exponent += 1
        digits = digits[:-1]
    mantissa = digits[0] + (f".{digits[1:]}" if precision else "")
    return f"{mantissa}{kind}{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def _exponent(size: Fraction) -> int:
    """Return the exponent of ten of the first digit."""
    return shortest(size)[1] - 1


def _general(number: Fraction, precision: int | None, kind: str) -> str:
    """Write as %g: the shortest, or with so many digits; with an exponent where it is large or small."""
    sign, size = ("-" if number < 0 else ""), abs(number)
    if not size:
        return f"{sign}0"
    exponent = _exponent(size)
    if precision is None:
        digits = shortest(size)[0]
        limit = 21 if kind == "v" else 6
        if exponent < -4 or exponent >= limit:
            mantissa = digits[0] + (f".{digits[1:]}" if len(digits) > 1 else "")
            return f"{sign}{mantissa}{'E' if kind == 'G' else 'e'}{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
        return sign + number_text(size)
    precision = precision or 1
    written = _exponential(size, precision - 1, "E" if kind == "G" else "e")
    exponent = int(re.split("[eE]", written)[1])
    if exponent < -4 or exponent >= precision:
        mantissa, mark, power = re.split("([eE])", written)
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        return f"{sign}{mantissa}{mark}{power}"
    fixed = _fixed(size, max(0, precision - 1 - exponent))
    return sign + (fixed.rstrip("0").rstrip(".") if "." in fixed else fixed)


@_add("format", text("format"), rest=Parameter("args", nullable=True))
def _format(form: str, *arguments: Value) -> str:
    return formatted(form, arguments)


@_add("formatlist", text("format"), rest=Parameter("args", nullable=True))
def _formatlist(form: str, *arguments: Value) -> Value:
    lists = [one.raw if one.raw is not None and one.type.kind in SEQUENCES else None for one in arguments]
    lengths = {len(one) for one in lists if one is not None}
    if len(lengths) > 1:
        raise ValueFault(f"the lists are of different lengths: {', '.join(map(str, sorted(lengths)))}")
    count = lengths.pop() if lengths else 1
    found = [
        formatted(form, [one if items is None else items[at] for one, items in zip(arguments, lists, strict=True)])
        for at in range(count)
    ]
    return list_value([string(one) for one in found], STRING)


__all__ = ["LIBRARY", "Type", "formatted"]
