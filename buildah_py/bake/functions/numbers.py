"""Functions of numbers and truth values."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

from buildah_py.bake.evaluation import calculate, equal
from buildah_py.bake.functions.function import Library, Parameter, flag, num, whole
from buildah_py.bake.values import STRING, Value, ValueFault, bool_value

if TYPE_CHECKING:
    from collections.abc import Callable

LIBRARY = Library()
_add = LIBRARY.add
_OPERATORS = {
    "add": "+",
    "subtract": "-",
    "multiply": "*",
    "divide": "/",
    "modulo": "%",
    "greaterthan": ">",
    "greaterthanorequalto": ">=",
    "lessthan": "<",
    "lessthanorequalto": "<=",
}


def _operator(name: str, operator: str) -> None:
    def apply(one: Fraction, other: Fraction) -> Value:
        return calculate(operator, one, other)

    _add(name, num("a"), num("b"))(apply)


for _name, _sign in _OPERATORS.items():
    _operator(_name, _sign)


@_add("absolute", num("num"))
def _absolute(value: Fraction) -> Fraction:
    return abs(value)


@_add("negate", num("num"))
def _negate(value: Fraction) -> Fraction:
    return -value


@_add("ceil", num("num"))
def _ceil(value: Fraction) -> int:
    return math.ceil(value)


@_add("floor", num("num"))
def _floor(value: Fraction) -> int:
    return math.floor(value)


@_add("int", num("num"))
def _int(value: Fraction) -> int:
    return int(value)


@_add("signum", num("num"))
def _signum(value: Fraction) -> int:
    return (whole(value, "num") > 0) - (value < 0)


def _float(compute: Callable[[], float]) -> Fraction:
    """Compute with the machine's numbers, as cty does; the result is what its shortest digits say."""
    try:
        found = compute()
    except (ValueError, OverflowError, ZeroDivisionError):
        raise ValueFault("there is no such number") from None
    if not math.isfinite(found):
        raise ValueFault("the result is not a number")
    return Fraction(repr(found))


@_add("log", num("num"), num("base"))
def _log(value: Fraction, base: Fraction) -> Fraction:
    return _float(lambda: math.log(value) / math.log(base))


@_add("pow", num("num"), num("power"))
def _pow(value: Fraction, power: Fraction) -> Fraction:
    return _float(lambda: math.pow(value, power))


@_add("min", num("num"), rest=num("num"))
def _min(*given: Fraction) -> Fraction:
    return min(given)


@_add("max", num("num"), rest=num("num"))
def _max(*given: Fraction) -> Fraction:
    return max(given)


@_add("parseint", Parameter("number"), num("base"))
def _parseint(value: Value, base: Fraction) -> int:
    if value.type != STRING:
        raise ValueFault("`number` is a string")
    digits = value.raw
    to = whole(base, "base")
    if not 2 <= to <= 62:
        raise ValueFault(f"the base {to} is not between 2 and 62")
    found = _read_digits(digits, to)
    if found is None:
        raise ValueFault(f"`{digits}` is not a whole number with the base {to}")
    return found


def _read_digits(digits: str, base: int) -> int | None:
    sign = -1 if digits[:1] == "-" else 1
    bare = digits[1:] if digits[:1] in ("-", "+") else digits
    known = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    if not bare or len(bare) > 5000:
        return None
    found = 0
    for char in bare:
        value = known.find(char if base > 36 else char.lower())
        if not 0 <= value < base:
            return None
        found = found * base + value
    return sign * found


@_add("and", flag("a"), flag("b"))
def _and(one: bool, other: bool) -> bool:
    return one and other


@_add("or", flag("a"), flag("b"))
def _or(one: bool, other: bool) -> bool:
    return one or other


@_add("not", flag("val"))
def _not(value: bool) -> bool:
    return not value


_ANY = Parameter("a", nullable=True), Parameter("b", nullable=True)


@_add("equal", *_ANY)
def _equal(one: Value, other: Value) -> Value:
    return bool_value(equal(one, other))


@_add("notequal", *_ANY)
def _notequal(one: Value, other: Value) -> Value:
    return bool_value(not equal(one, other))
