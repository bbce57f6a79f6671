"""Functions of lists, maps and sets."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import TYPE_CHECKING

from buildah_py.bake.evaluation import element_of, equal
from buildah_py.bake.functions.function import Library, Parameter, num, text, whole
from buildah_py.bake.values import (
    DYNAMIC,
    NUMBER,
    SEQUENCES,
    STRING,
    Type,
    Value,
    ValueFault,
    bool_value,
    convert,
    described,
    list_of,
    list_value,
    map_value,
    number,
    object_value,
    rounded,
    set_of,
    set_value,
    string,
    strings,
    tuple_value,
    unify,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LIBRARY = Library()
_add = LIBRARY.add
_MOST = 1024
_MOST_PRODUCT = 100_000
_KEYED = ("map", "object")


def _sequence(value: Value, name: str, *, sets: bool = True) -> Sequence[Value]:
    if value.type.kind not in SEQUENCES or (value.type.kind == "set" and not sets):
        raise ValueFault(f"`{name}` is a list, and this is {described(value.type)}")
    items: Sequence[Value] = value.raw
    return items


def _like(value: Value, items: Sequence[Value]) -> Value:
    """Make a sequence of a value's items: a list of a list or set, a tuple of a tuple."""
    return list_value(items, value.type.of) if value.type.kind in ("list", "set") else tuple_value(items)


@_add("length", Parameter("collection"))
def _length(value: Value) -> int:
    if value.type.kind not in (*SEQUENCES, "map"):
        raise ValueFault(f"`collection` is a list or a map, and this is {described(value.type)}")
    return len(value.raw)


@_add("element", Parameter("list"), num("index"))
def _element(value: Value, index: Fraction) -> Value:
    items = _sequence(value, "list", sets=False)
    if not items:
        raise ValueFault("the list is empty")
    position = whole(index, "index")
    if position < 0:
        raise ValueFault("`index` is negative")
    return items[position % len(items)]


@_add("coalesce", rest=Parameter("vals", nullable=True))
def _coalesce(*values: Value) -> Value:
    if not values:
        raise ValueFault("there is no value")
    to = unify([value.type for value in values])
    if to is None:
        raise ValueFault("all values have to be of one type")
    for value in values:
        if value.raw is not None:
            return convert(value, to)
    raise ValueFault("all values are null")


@_add("coalescelist", rest=Parameter("vals", nullable=True))
def _coalescelist(*values: Value) -> Value:
    for value in values:
        if value.raw is None:
            raise ValueFault("a value is null")
        if _sequence(value, "vals"):
            return value
    raise ValueFault("all lists are empty")


@_add("compact", Parameter("list", list_of(STRING)))
def _compact(value: Value) -> Value:
    return strings(item.raw for item in value.raw if item.raw)


@_add("concat", rest=Parameter("seqs"))
def _concat(*values: Value) -> Value:
    if not values:
        raise ValueFault("there is no list")
    items = [item for value in values for item in _sequence(value, "seqs", sets=False)]
    if all(value.type.kind == "list" for value in values):
        of = unify([value.type.of for value in values])
        if of is not None:
            return list_value([convert(item, of) for item in items], of)
    return tuple_value(items)


@_add("contains", Parameter("list"), Parameter("value"))
def _contains(value: Value, wanted: Value) -> bool:
    return any(equal(item, wanted) for item in _sequence(value, "list"))


@_add("indexof", Parameter("list"), Parameter("value", nullable=True))
def _indexof(value: Value, wanted: Value) -> int:
    for position, item in enumerate(_sequence(value, "list", sets=False)):
        if equal(item, wanted):
            return position
    raise ValueFault("the list has no such value")


@_add("distinct", Parameter("list", list_of(DYNAMIC)))
def _distinct(value: Value) -> Value:
    found: list[Value] = []
    for item in value.raw:
        if not any(equal(item, one) for one in found):
            found.append(item)
    return _like(value, found)


@_add("chunklist", Parameter("list", list_of(DYNAMIC)), num("size"))
def _chunklist(value: Value, size: Fraction) -> Value:
    count = whole(size, "size")
    if count < 0:
        raise ValueFault("`size` is negative")
    items = value.raw
    if not count:
        count = max(1, len(items))
    chunks = [list_value(items[at : at + count], value.type.of) for at in range(0, len(items), count)]
    return list_value(chunks, value.type)


@_add("flatten", Parameter("list"))
def _flatten(value: Value) -> Value:
    def flat(one: Value) -> list[Value]:
        return [deep for item in one.raw for deep in (flat(item) if _is_sequence(item) else [item])]

    _sequence(value, "list")
    return tuple_value(flat(value))


def _is_sequence(value: Value) -> bool:
    return value.type.kind in SEQUENCES and value.raw is not None


@_add("reverselist", Parameter("list"))
def _reverselist(value: Value) -> Value:
    return _like(value, tuple(reversed(_sequence(value, "list"))))


@_add("slice", Parameter("list"), num("start_index"), num("end_index"))
def _slice(value: Value, start: Fraction, end: Fraction) -> Value:
    items = _sequence(value, "list", sets=False)
    first, last = whole(start, "start_index"), whole(end, "end_index")
    if not 0 <= first <= last <= len(items):
        raise ValueFault(f"there is no part from {first} to {last} of a list of {len(items)}")
    return _like(value, items[first:last])


@_add("range", rest=num("params"))
def _range(*given: Fraction) -> Value:
    if not 1 <= len(given) <= 3:
        raise ValueFault(
            "it takes one to three numbers", "write range(end), range(start, end) or range(start, end, step)"
        )
    start, end = (Fraction(0), given[0]) if len(given) == 1 else given[:2]
    step = given[2] if len(given) == 3 else Fraction(1 if start <= end else -1)
    if start != end and (not step or (step > 0) is not (end > start)):
        raise ValueFault("the step leads away from the end")
    found: list[Value] = []
    while start != end and (start < end if step > 0 else start > end):
        if len(found) >= _MOST:
            raise ValueFault(f"these are more than {_MOST} numbers")
        found.append(number(start))
        start = rounded(start + step)
    return list_value(found, NUMBER)


# maps


def _keyed(value: Value, name: str) -> dict[str, Value]:
    if value.type.kind not in _KEYED:
        raise ValueFault(f"`{name}` is a map or an object, and this is {described(value.type)}")
    items: dict[str, Value] = value.raw
    return items


@_add("keys", Parameter("inputMap"))
def _keys(value: Value) -> Value:
    names = [string(name) for name in _keyed(value, "inputMap")]
    return list_value(names, STRING) if value.type.kind == "map" else tuple_value(names)


@_add("values", Parameter("mapping"))
def _values(value: Value) -> Value:
    items = tuple(_keyed(value, "mapping").values())
    return list_value(items, value.type.of) if value.type.kind == "map" else tuple_value(items)


@_add("lookup", Parameter("inputMap"), text("key"), Parameter("default"))
def _lookup(value: Value, key: str, default: Value) -> Value:
    items = _keyed(value, "inputMap")
    if value.type.kind == "map":
        return items[key] if key in items else convert(default, value.type.of)
    return items.get(key, default)


@_add("merge", rest=Parameter("maps", nullable=True))
def _merge(*values: Value) -> Value:
    found: dict[str, Value] = {}
    given = [value for value in values if value.raw is not None]
    for value in given:
        found.update(_keyed(value, "maps"))
    if given and all(value.type.kind == "map" for value in given):
        of = given[0].type.of
        if all(value.type.of == of for value in given):
            return map_value(found, of)
    return object_value(found)


@_add("zipmap", Parameter("keys", list_of(STRING)), Parameter("values"))
def _zipmap(keys: Value, values: Value) -> Value:
    items = _sequence(values, "values", sets=False)
    if len(keys.raw) != len(items):
        raise ValueFault(f"there are {len(keys.raw)} keys, and {len(items)} values")
    found = {str(key.raw): item for key, item in zip(keys.raw, items, strict=True)}
    return map_value(found, values.type.of) if values.type.kind == "list" else object_value(found)


@_add("index", Parameter("collection"), Parameter("key"))
def _index(value: Value, key: Value) -> Value:
    _check_indexed(value)
    wanted = STRING if value.type.kind == "map" else NUMBER
    if key.type != wanted:
        raise ValueFault(f"`key` is {described(wanted)}, and this is {described(key.type)}")
    return element_of(value, key)


@_add("hasindex", Parameter("collection"), Parameter("key"))
def _hasindex(value: Value, key: Value) -> bool:
    _check_indexed(value)
    if value.type.kind == "map":
        return key.type == STRING and key.raw in value.raw
    return bool(key.type == NUMBER and key.raw.denominator == 1 and 0 <= key.raw < len(value.raw))


def _check_indexed(value: Value) -> None:
    if value.type.kind not in ("list", "tuple", "map"):
        raise ValueFault(f"`collection` is a list or a map, and this is {described(value.type)}")


# sets


def _of_one_type(values: Sequence[Value]) -> tuple[list[list[Value]], Type]:
    of = unify([value.type.of for value in values])
    if of is None:
        raise ValueFault("values of all sets have to be of one type")
    return [[convert(item, of) for item in value.raw] for value in values], of


def _set_function(name: str, combine: Callable[[list[Value], list[Value]], list[Value]], *, two: bool = False) -> None:
    def apply(*values: Value) -> Value:
        sets, of = _of_one_type(values)
        found = sets[0]
        for other in sets[1:]:
            found = combine(found, other)
        return set_value(found, of)

    if two:
        _add(name, Parameter("a", set_of(DYNAMIC)), Parameter("b", set_of(DYNAMIC)))(apply)
    else:
        _add(name, Parameter("first_set", set_of(DYNAMIC)), rest=Parameter("other_sets", set_of(DYNAMIC)))(apply)


_set_function("setunion", lambda one, other: [*one, *other])
_set_function("setintersection", lambda one, other: [item for item in one if item in other])
_set_function("setsubtract", lambda one, other: [item for item in one if item not in other], two=True)
_set_function(
    "setsymmetricdifference",
    lambda one, other: [item for item in one if item not in other] + [item for item in other if item not in one],
)


@_add("sethaselement", Parameter("set", set_of(DYNAMIC)), Parameter("elem"))
def _sethaselement(value: Value, wanted: Value) -> Value:
    return bool_value(any(equal(item, wanted) for item in value.raw))


@_add("setproduct", rest=Parameter("sets"))
def _setproduct(*values: Value) -> Value:
    if len(values) < 2:
        raise ValueFault("there have to be at least two sets")
    lists: list[Sequence[Value]] = []
    count = 1
    for value in values:
        items = _sequence(value, "sets")
        if value.type.kind == "tuple":
            of = unify([item.type for item in items])
            if of is None:
                raise ValueFault("values of a set are of one type")
            items = [convert(item, of) for item in items]
        count *= max(1, len(items))
        lists.append(items)
    if count > _MOST_PRODUCT:
        raise ValueFault(f"these are more than {_MOST_PRODUCT} combinations")
    found = [tuple_value(one) for one in itertools.product(*lists)]
    of = found[0].type if found else Type("tuple", ())
    return set_value(found, of) if all(value.type.kind == "set" for value in values) else list_value(found, of)
