"""Functions that take expressions instead of values: `try`, `can` and `convert`; and what type expressions mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from buildah_py.bake import syntax
from buildah_py.bake.values import (
    BOOL,
    DYNAMIC,
    NUMBER,
    STRING,
    Type,
    Value,
    ValueFault,
    bool_value,
    convert,
    list_of,
    map_of,
    set_of,
)
from buildah_py.errors import BuildFileError

if TYPE_CHECKING:
    from buildah_py.bake.evaluation import Evaluation
    from buildah_py.bake.syntax import Expression

_WORDS: Final = {"string": STRING, "number": NUMBER, "bool": BOOL, "any": DYNAMIC}
_COLLECTIONS: Final = {"list": list_of, "set": set_of, "map": map_of}
_BARE: Final = "list, map, set, object and tuple are followed by a type in parentheses, such as list(string)"
_KNOWN: Final = "types are string, number, bool, list(…), set(…), map(…), tuple([…]), object({…})"


def type_of(expression: Expression, *, any_type: bool = True) -> Type:
    """Read a type expression (hcl/ext/typeexpr). Raises BuildFileError."""
    place = expression.place
    if isinstance(expression, syntax.Variable):
        name = expression.name
        if name in _WORDS and (any_type or name != "any"):
            return _WORDS[name]
        if name in (*_COLLECTIONS, "object", "tuple"):
            place.fail(f"`{name}` alone is not a type", _BARE)
        place.fail(f"`{name}` is not a type", _KNOWN)
    if not isinstance(expression, syntax.Call):
        place.fail("this is not a type", _KNOWN)
    name, arguments = expression.name, expression.arguments
    if name not in (*_COLLECTIONS, "object", "tuple"):
        place.fail(f"`{name}` is not a type", _KNOWN)
    if len(arguments) != 1:
        place.fail(f"`{name}` takes one type", _BARE)
    inner = arguments[0]
    if name in _COLLECTIONS:
        return _COLLECTIONS[name](type_of(inner, any_type=any_type))
    if name == "tuple":
        if not isinstance(inner, syntax.Tuple):
            inner.place.fail("a tuple's types stand in brackets", "write tuple([string, number])")
        return Type("tuple", tuple(type_of(one, any_type=any_type) for one in inner.items))
    if not isinstance(inner, syntax.Object):
        inner.place.fail("an object's types stand in braces", "write object({ name = string })")
    return _object(inner, any_type=any_type)


def _object(expression: syntax.Object, *, any_type: bool) -> Type:
    found: list[tuple[str, Type]] = []
    optional: set[str] = set()
    for key, item in expression.items:
        if not isinstance(key, syntax.Literal):
            key.place.fail("an attribute's name is a word")
        name = str(key.value.raw)
        if isinstance(item, syntax.Call) and item.name == "optional":
            if len(item.arguments) != 1:
                item.place.fail("optional(…) takes one type")
            optional.add(name)
            item = item.arguments[0]
        found.append((name, type_of(item, any_type=any_type)))
    return Type("object", tuple(sorted(found)), frozenset(optional))


def try_(evaluation: Evaluation, call: syntax.Call) -> Value:
    """Give the first argument that has a value."""
    if not call.arguments:
        call.place.fail("`try` misses its arguments", "write try(expression, …)")
    last: BuildFileError | None = None
    for argument in call.arguments:
        try:
            return evaluation.value(argument)
        except BuildFileError as error:
            last = error
    assert last is not None
    raise last


def can(evaluation: Evaluation, call: syntax.Call) -> Value:
    """Tell whether the argument has a value."""
    if len(call.arguments) != 1:
        call.place.fail("`can` takes one argument", "write can(expression)")
    try:
        evaluation.value(call.arguments[0])
    except BuildFileError:
        return bool_value(False)
    return bool_value(True)


def convert_(evaluation: Evaluation, call: syntax.Call) -> Value:
    """Convert a value to a type."""
    if len(call.arguments) != 2:
        call.place.fail("`convert` takes a value and a type", "write convert(value, list(string))")
    value = evaluation.value(call.arguments[0])
    to = type_of(call.arguments[1])
    try:
        return convert(value, to)
    except ValueFault as fault:
        raise call.arguments[0].place.error(fault.message, fault.hint) from None
