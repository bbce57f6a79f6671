"""Values of bake files and their types: those of cty (github.com/zclconf/go-cty/blob/main/docs/types.md)."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_BITS: Final = 512
"""Precision of numbers, in bits: cty's."""
_MOST_DIGITS: Final = 200
_LARGEST_EXPONENT: Final = 20_000


class Type(NamedTuple):
    """`kind` is string, number, bool, dynamic (any), list, set, map, tuple or object.

    `of` is the type of a list's, set's or map's elements, those of a tuple's, or an object's by names; `optional` are
    the names that an object need not have.
    """

    kind: str
    of: Any = None
    optional: frozenset[str] = frozenset()

    def __str__(self) -> str:
        if self.kind in ("list", "set", "map"):
            return f"{self.kind}({self.of})"
        if self.kind == "tuple":
            return f"tuple([{', '.join(map(str, self.of))}])"
        if self.kind == "object":
            shown = (f"{name} = {f'optional({one})' if name in self.optional else one}" for name, one in self.of)
            return f"object({{{', '.join(shown)}}})"
        return "any" if self.kind == "dynamic" else self.kind

    @property
    def attributes(self) -> dict[str, Type]:
        """The types of an object's attributes."""
        return dict(self.of)


STRING: Final = Type("string")
NUMBER: Final = Type("number")
BOOL: Final = Type("bool")
DYNAMIC: Final = Type("dynamic")
PRIMITIVES: Final = (STRING, NUMBER, BOOL)
SEQUENCES: Final = ("list", "set", "tuple")


def list_of(of: Type) -> Type:
    """Return the type of a list."""
    return Type("list", of)


def set_of(of: Type) -> Type:
    """Return the type of a set."""
    return Type("set", of)


def map_of(of: Type) -> Type:
    """Return the type of a map."""
    return Type("map", of)


class Value(NamedTuple):
    """A value of a type.

    `raw` is a str, bool or Fraction; a tuple of values; a dict of them, sorted by keys; or None for null.
    """

    type: Type
    raw: Any


class ValueFault(Exception):
    """Fault of a value, for whoever knows where it stands."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


NULL: Final = Value(DYNAMIC, None)


def string(text: str) -> Value:
    """Make a string; cty keeps them in Unicode's form C."""
    if not text.isascii():
        import unicodedata

        text = unicodedata.normalize("NFC", text)
    return Value(STRING, text)


def number(of: str | int | Fraction) -> Value:
    """Make a number. Raises ValueFault for a text that is none."""
    return Value(NUMBER, rounded(read_number(of) if isinstance(of, str) else Fraction(of)))


def bool_value(of: bool) -> Value:
    """Make a truth value."""
    return Value(BOOL, of)


def tuple_value(items: Iterable[Value]) -> Value:
    """Make a tuple."""
    items = tuple(items)
    return Value(Type("tuple", tuple(item.type for item in items)), items)


def object_value(items: Mapping[str, Value]) -> Value:
    """Make an object."""
    ordered = dict(sorted(items.items()))
    return Value(Type("object", tuple((name, value.type) for name, value in ordered.items())), ordered)


def list_value(items: Sequence[Value], of: Type | None = None) -> Value:
    """Make a list of values of one type."""
    return Value(list_of(of or (items[0].type if items else DYNAMIC)), tuple(items))


def strings(items: Iterable[str]) -> Value:
    """Make a list of strings."""
    return list_value([string(item) for item in items], STRING)


def map_value(items: Mapping[str, Value], of: Type) -> Value:
    """Make a map."""
    return Value(map_of(of), dict(sorted(items.items())))


def set_value(items: Iterable[Value], of: Type) -> Value:
    """Make a set: each value once, in cty's order."""
    found: list[Value] = []
    for item in items:
        if item not in found:
            found.append(item)
    if of.kind in ("string", "number", "bool"):
        found.sort(key=lambda item: (item.raw is None, item.raw if item.raw is not None else 0))
    return Value(set_of(of), tuple(found))


# numbers


def rounded(value: Fraction) -> Fraction:
    """Round to what a number can hold; a half goes to the even neighbour."""
    numerator, denominator = value.numerator, value.denominator
    if denominator == 1 and numerator.bit_length() <= _BITS:
        return value
    shift = _BITS - (abs(numerator).bit_length() - denominator.bit_length())
    scaled = value * Fraction(2) ** shift
    if abs(scaled) >= 2**_BITS:
        shift -= 1
        scaled /= 2
    elif abs(scaled) < 2 ** (_BITS - 1):
        shift += 1
        scaled *= 2
    return Fraction(round(scaled)) / Fraction(2) ** shift


def read_number(text: str) -> Fraction:
    """Read a number as cty reads it: decimal digits, a fraction, an exponent. Raises ValueFault."""
    import re

    found = re.fullmatch(r"([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+))?", text)
    if not found or not (found[2] or found[3]) or abs(int(found[4] or 0)) > _LARGEST_EXPONENT:
        raise ValueFault(f"`{text}` is not a number")
    digits = int((found[2] or "") + (found[3] or ""))
    exponent = int(found[4] or 0) - len(found[3] or "")
    value = Fraction(digits) * Fraction(10) ** exponent
    return rounded(-value if found[1] == "-" else value)


def number_text(value: Fraction) -> str:
    """Write a number in full, with as few digits as say which one it is."""
    if value.denominator == 1 and value.numerator.bit_length() <= _BITS:
        return str(value.numerator)
    digits, exponent = shortest(abs(value))
    return ("-" if value < 0 else "") + plain(digits, exponent)


def plain(digits: str, exponent: int) -> str:
    """Write `0.DIGITS * 10^exponent` without an exponent."""
    if exponent <= 0:
        return f"0.{'0' * -exponent}{digits}"
    if exponent >= len(digits):
        return digits + "0" * (exponent - len(digits))
    return f"{digits[:exponent]}.{digits[exponent:]}"


def shortest(value: Fraction, bits: int = _BITS) -> tuple[str, int]:
    """Return the fewest digits that stand for a positive number, and the exponent of `0.DIGITS * 10^exponent`."""
    exponent = 0
    while value >= Fraction(10) ** exponent:
        exponent += 1
    while value < Fraction(10) ** (exponent - 1):
        exponent -= 1
    for count in range(1, _MOST_DIGITS):
        scale = Fraction(10) ** (count - exponent)
        whole = round(value * scale)
        if rounded(whole / scale) == value or count > bits:
            text = str(whole)
            return text.rstrip("0"), exponent + len(text) - count
    return str(round(value * Fraction(10) ** (_MOST_DIGITS - exponent))).rstrip("0"), exponent


# conversion


def unify(types: Sequence[Type]) -> Type | None:
    """Find the type that values of all these can become, None where there is none (cty's convert.Unify)."""
    kinds = {one for one in types if one != DYNAMIC}
    if not kinds:
        return DYNAMIC
    if len(kinds) == 1:
        return kinds.pop()
    names = {one.kind for one in kinds}
    if names <= {"string", "number", "bool"}:
        return STRING if STRING in kinds else None
    ordered = [one for one in types if one != DYNAMIC]
    if names <= {"map", "object"}:
        return _unify_keyed(ordered, names)
    if names <= {"list", "tuple", "set"}:
        return _unify_sequences(ordered, names)
    return None


def _unify_keyed(types: Sequence[Type], names: set[str]) -> Type | None:
    if names == {"object"} and len({tuple(one.attributes) for one in types}) == 1:
        found = [(name, unify([one.attributes[name] for one in types])) for name in types[0].attributes]
        if all(of is not None for _, of in found):
            return Type("object", tuple(found))
    inner = [of for one in types for of in (one.attributes.values() if one.kind == "object" else [one.of])]
    of = unify(inner)
    return None if of is None else map_of(of)


def _unify_sequences(types: Sequence[Type], names: set[str]) -> Type | None:
    if names == {"tuple"} and len({len(one.of) for one in types}) == 1:
        found = [unify(column) for column in zip(*(one.of for one in types), strict=True)]
        if all(of is not None for of in found):
            return Type("tuple", tuple(found))
    inner = [of for one in types for of in (one.of if one.kind == "tuple" else [one.of])]
    of = unify(inner)
    if of is None:
        return None
    return set_of(of) if names == {"set"} else list_of(of)


def convert(value: Value, to: Type) -> Value:
    """Make a value of another type of it. Raises ValueFault."""
    if to == DYNAMIC or (value.type == to and not to.optional):
        return value
    if value.raw is None:
        return Value(to, None)
    if to in PRIMITIVES:
        return _to_primitive(value, to)
    kind = value.type.kind
    if to.kind in ("list", "set") and kind in SEQUENCES:
        of = to.of
        if of == DYNAMIC:
            of = unify([item.type for item in value.raw])
            if of is None:
                raise ValueFault("all values of a list have to be of one type")
        items = [_inner(item, of, f"value {position}") for position, item in enumerate(value.raw, 1)]
        return list_value(items, of) if to.kind == "list" else set_value(items, of)
    if to.kind == "map" and kind in ("map", "object"):
        of = to.of
        if of == DYNAMIC:
            of = unify([item.type for item in value.raw.values()])
            if of is None:
                raise ValueFault("all values of a map have to be of one type")
        return map_value({name: _inner(item, of, f"`{name}`") for name, item in value.raw.items()}, of)
    if to.kind == "tuple" and kind in SEQUENCES:
        if len(to.of) != len(value.raw):
            raise ValueFault(f"{len(to.of)} values are needed, and there are {len(value.raw)}")
        return tuple_value(
            _inner(item, of, f"value {number}")
            for number, (item, of) in enumerate(zip(value.raw, to.of, strict=True), 1)
        )
    if to.kind == "object" and kind in ("map", "object"):
        return _to_object(value, to)
    raise ValueFault(f"{described(to)} is needed, and this is {described(value.type)}")


def _to_object(value: Value, to: Type) -> Value:
    found: dict[str, Value] = {}
    for name, of in to.attributes.items():
        if name in value.raw:
            found[name] = _inner(value.raw[name], of, f"`{name}`")
        elif name in to.optional:
            found[name] = Value(of, None)
        else:
            raise ValueFault(f"the attribute `{name}` is missing")
    return object_value(found)


def _inner(value: Value, to: Type, name: str) -> Value:
    try:
        return convert(value, to)
    except ValueFault as fault:
        raise ValueFault(f"{name}: {fault.message}", fault.hint) from None


def _to_primitive(value: Value, to: Type) -> Value:
    raw = value.raw
    if value.type not in PRIMITIVES:
        raise ValueFault(f"{described(to)} is needed, and this is {described(value.type)}")
    if to == STRING:
        return Value(STRING, text_of(value))
    if to == NUMBER and value.type == STRING:
        return Value(NUMBER, read_number(raw))
    if to == BOOL and value.type == STRING:
        if raw in ("true", "1"):
            return bool_value(True)
        if raw in ("false", "0"):
            return bool_value(False)
        raise ValueFault(f"`{raw}` is neither true nor false")
    raise ValueFault(f"{described(to)} is needed, and this is {described(value.type)}")


def text_of(value: Value) -> str:
    """Write a primitive value as a string."""
    if value.type == BOOL:
        return "true" if value.raw else "false"
    return number_text(value.raw) if value.type == NUMBER else str(value.raw)


def described(of: Type) -> str:
    """Name a type in a sentence."""
    return {
        "string": "a string",
        "number": "a number",
        "bool": "a bool",
        "dynamic": "null",
        "object": "an object",
        "tuple": "a list",
        "list": f"a list of {of.of.kind}s" if of.kind == "list" else "",
        "set": f"a set of {of.of.kind}s" if of.kind == "set" else "",
        "map": f"a map of {of.of.kind}s" if of.kind == "map" else "",
    }[of.kind]
