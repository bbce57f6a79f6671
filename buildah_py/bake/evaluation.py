"""Evaluates expressions of bake files (hcl/hclsyntax/spec.md, "Expressions")."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Final, Protocol

from buildah_py.bake import syntax
from buildah_py.bake.values import (
    BOOL,
    DYNAMIC,
    NULL,
    NUMBER,
    SEQUENCES,
    STRING,
    Type,
    Value,
    ValueFault,
    bool_value,
    convert,
    described,
    list_value,
    number,
    object_value,
    rounded,
    string,
    text_of,
    tuple_value,
    unify,
)
from buildah_py.errors import BuildFileError
from buildah_py.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from buildah_py.bake.syntax import Expression, Location


class Scope(Protocol):
    """Names that an expression can use."""

    def variable(self, name: str, place: Location) -> Value | None:
        """Give the value of a variable, None for a name that is not known."""

    def function(self, name: str) -> Callable[[Evaluation, syntax.Call], Value] | None:
        """Give what a function does, None for a name that is not known."""

    def reference(self, kind: str, name: str, wanted: str, place: Location) -> Value | None:
        """Give a target, or one attribute of it without the others; None where there is none of that kind."""

    def spend(self, place: Location) -> None:
        """Take note that an expression is evaluated. Raises BuildFileError when that were too many."""

    def names(self) -> Collection[str]:
        """List the variables, for a suggestion."""

    def functions(self) -> Collection[str]:
        """List the functions, for a suggestion."""


class Inner:
    """A scope with more names, or with others."""

    def __init__(self, outer: Scope, values: Mapping[str, Value]) -> None:
        self._outer = outer
        self._values = values
        self.spend = outer.spend

    def variable(self, name: str, place: Location) -> Value | None:
        """Give its own value before that of the outer scope."""
        return self._values[name] if name in self._values else self._outer.variable(name, place)

    def function(self, name: str) -> Callable[[Evaluation, syntax.Call], Value] | None:
        """Give the outer scope's."""
        return self._outer.function(name)

    def reference(self, kind: str, name: str, wanted: str, place: Location) -> Value | None:
        """Give the outer scope's."""
        return None if kind in self._values else self._outer.reference(kind, name, wanted, place)

    def names(self) -> Collection[str]:
        """List all."""
        return {*self._values, *self._outer.names()}

    def functions(self) -> Collection[str]:
        """List the outer scope's."""
        return self._outer.functions()


def evaluate(expression: Expression, scope: Scope) -> Value:
    """Give the value of an expression. Raises BuildFileError, which knows where in it the fault is."""
    return Evaluation(scope).value(expression)


class Evaluation:
    """Evaluates in one scope; `each` is the element that a splat is at."""

    def __init__(self, scope: Scope, each: Value | None = None) -> None:
        self.scope = scope
        self._each = each

    def value(self, expression: Expression) -> Value:
        """Give the value of an expression."""
        if isinstance(expression, syntax.Literal):
            return expression.value
        self.scope.spend(expression.place)
        try:
            found = _METHODS[type(expression)](self, expression)
            return _bounded(found) if isinstance(expression, _MAKERS) else found
        except ValueFault as fault:
            raise expression.place.error(fault.message, fault.hint) from None
        except RecursionError:
            raise expression.place.error("functions or variables call one another without end") from None

    def needed(self, expression: Expression, to: Type, what: str) -> Value:
        """Give a value of a type, which must not be null."""
        value = self.value(expression)
        try:
            found = convert(value, to)
        except ValueFault as fault:
            raise expression.place.error(f"{what}: {fault.message}", fault.hint) from None
        if found.raw is None:
            expression.place.fail(f"{what} is null")
        return found

    def _template(self, expression: syntax.Template) -> Value:
        if len(expression.parts) == 1 and not isinstance(expression.parts[0], syntax.Literal | syntax.For):
            only = expression.parts[0]
            if not isinstance(only, syntax.Conditional) or not isinstance(only.yes, syntax.Template):
                return self._text(self.value(only), only)
        return string("".join(str(self._text(self.value(part), part).raw) for part in expression.parts))

    def _text(self, value: Value, part: Expression) -> Value:
        if value.raw is None:
            part.place.fail("a value in this text is null", 'coalesce(…, "") gives something in its place')
        try:
            return convert(value, STRING)
        except ValueFault:
            part.place.fail(
                f"a text cannot hold {described(value.type)}", "join(…) or jsonencode(…) makes a string of it"
            )

    def _variable(self, expression: syntax.Variable) -> Value:
        name, place = expression.name, expression.place
        found = self.scope.variable(name, place)
        if found is None:
            hint = did_you_mean(name, sorted(self.scope.names()))
            place.fail(f"there is no variable `{name}`", hint or f'declare it: variable "{name}" {{}}')
        return found

    def _current(self, _: syntax.Each) -> Value:
        assert self._each is not None
        return self._each

    def _attribute(self, expression: syntax.Attribute) -> Value:
        on = expression.on
        if isinstance(on, syntax.Variable):
            found = self.scope.reference(on.name, expression.name, "", expression.place)
            if found is not None:
                return found
        if isinstance(on, syntax.Attribute | syntax.IndexOf) and isinstance(on.on, syntax.Variable):
            name = on.name if isinstance(on, syntax.Attribute) else self.value(on.key).raw
            if isinstance(name, str):
                found = self.scope.reference(on.on.name, name, expression.name, expression.place)
                if found is not None:
                    return found
        return attribute_of(self.value(expression.on), expression.name)

    def _index(self, expression: syntax.IndexOf) -> Value:
        return element_of(self.value(expression.on), self.value(expression.key))

    def _splat(self, expression: syntax.Splat) -> Value:
        on = self.value(expression.on)
        if on.raw is None:
            return tuple_value(())
        items = on.raw if on.type.kind in SEQUENCES else (on,)
        found = [Evaluation(self.scope, item).value(expression.each) for item in items]
        if on.type.kind in ("list", "set"):
            of = unify([item.type for item in found])
            return (
                list_value(found, of)
                if found and of == found[0].type
                else list_value(found, found[0].type)
                if found
                else list_value([], DYNAMIC)
            )
        return tuple_value(found)

    def _unary(self, expression: syntax.Unary) -> Value:
        if expression.operator == "!":
            return bool_value(not self.needed(expression.operand, BOOL, "what stands behind `!`").raw)
        return number(-self.needed(expression.operand, NUMBER, "what stands behind `-`").raw)

    def _binary(self, expression: syntax.Binary) -> Value:
        operator = expression.operator
        if operator in ("==", "!="):
            same = equal(self.value(expression.left), self.value(expression.right))
            return bool_value(same is (operator == "=="))
        of = BOOL if operator in ("&&", "||") else NUMBER
        left = self.needed(expression.left, of, f"what stands before `{operator}`").raw
        if operator in ("&&", "||") and left is (operator == "||"):
            try:  # the other side may be wrong then
                right = self.needed(expression.right, of, f"what stands behind `{operator}`").raw
            except BuildFileError:
                return bool_value(left)
        else:
            right = self.needed(expression.right, of, f"what stands behind `{operator}`").raw
        return calculate(operator, left, right)

    def _conditional(self, expression: syntax.Conditional) -> Value:
        chosen = self.needed(expression.condition, BOOL, "the condition").raw
        taken, other = (expression.yes, expression.no) if chosen else (expression.no, expression.yes)
        try:
            left = self.value(other).type
        except BuildFileError:  # what is not chosen may be wrong
            return self.value(taken)
        value = self.value(taken)
        if value.type == left or DYNAMIC in (value.type, left):
            return value if value.raw is not None or left == DYNAMIC else Value(left, None)
        to = unify([value.type, left] if chosen else [left, value.type])
        if to is None:
            expression.place.fail(
                f"both results of a condition are of one type, and these are {described(value.type)} and "
                f"{described(left)}"
            )
        return convert(value, to)

    def _tuple(self, expression: syntax.Tuple) -> Value:
        return tuple_value([self.value(item) for item in expression.items])

    def _object(self, expression: syntax.Object) -> Value:
        found: dict[str, Value] = {}
        for key, item in expression.items:
            name = str(self.needed(key, STRING, "a key").raw)
            found[name] = self.value(item)
        return object_value(found)

    def _for(self, expression: syntax.For) -> Value:
        over = self.value(expression.over)
        found: list[Value] = []
        keyed: dict[str, list[Value]] = {}
        for key, value in pairs(over, expression.over.place):
            names = dict(zip(expression.names, (key, value) if len(expression.names) > 1 else (value,), strict=True))
            self.scope.spend(expression.place)
            inner = Evaluation(Inner(self.scope, names), self._each)
            condition = expression.condition
            if condition is not None and not inner.needed(condition, BOOL, "the condition").raw:
                continue
            if expression.key is None:
                found.append(inner.value(expression.value))
                continue
            name = str(inner.needed(expression.key, STRING, "a key").raw)
            if name in keyed and not expression.groups:
                expression.key.place.fail(
                    f"the key `{name}` is there twice", "`…` behind the value makes lists: `key => value...`"
                )
            keyed.setdefault(name, []).append(inner.value(expression.value))
        if expression.joins:
            return string("".join(str(self._text(one, expression.value).raw) for one in found))
        if expression.key is None:
            return tuple_value(found)
        if expression.groups:
            return object_value({name: tuple_value(items) for name, items in keyed.items()})
        return object_value({name: items[0] for name, items in keyed.items()})

    def _call(self, expression: syntax.Call) -> Value:
        function = self.scope.function(expression.name)
        if function is None:
            expression.place.fail(
                f"there is no function `{expression.name}`", did_you_mean(expression.name, self.scope.functions())
            )
        return function(self, expression)

    def arguments(self, call: syntax.Call) -> list[tuple[Value, Location]]:
        """Evaluate the arguments of a call, with the place of each."""
        found = [(self.value(one), one.place) for one in call.arguments]
        if not call.expands:
            return found
        last, place = found.pop()
        if last.raw is None or last.type.kind not in SEQUENCES:
            place.fail(f"what stands before `...` is a list, and this is {described(last.type)}")
        return [*found, *((item, place) for item in last.raw)]


_METHODS: Final[Mapping[type, Callable[[Evaluation, syntax.Expression], Value]]] = {
    syntax.Template: Evaluation._template,  # type: ignore[dict-item]  # noqa: SLF001
    syntax.Variable: Evaluation._variable,  # type: ignore[dict-item]  # noqa: SLF001
    syntax.Each: Evaluation._current,  # type: ignore[dict-item]  # noqa: SLF001
    syntax.Attribute: Evaluation._attribute,  # type: ignore[dict-item]  # noqa: SLF001
    syntax.IndexOf: Evaluation._index,  # type: ignore[dict-item]  # noqa: SLF001
    syntax.Splat: Evaluation._splat,  # type: ignore[dict-item]  # noqa: SLF001
    syntax.Unary: Evaluation._unary,  # type: ignore[dict-item]  # noqa: SLF001
    syntax.Binary: Evaluation._binary,  # type: ignore[dict-item]  # noqa: SLF001
    syntax.Conditional: Evaluation._conditional,  # type: ignore[dict-item]  # noqa: SLF001
    syntax.Tuple: Evaluation._tuple,  # type: ignore[dict-item]  # noqa: SLF001
    syntax.Object: Evaluation._object,  # type: ignore[dict-item]  # noqa: SLF001
    syntax.For: Evaluation._for,  # type: ignore[dict-item]  # noqa: SLF001
    syntax.Call: Evaluation._call,  # type: ignore[dict-item]  # noqa: SLF001
}


_MAKERS: Final = (syntax.Template, syntax.Tuple, syntax.Object, syntax.For, syntax.Call)
_MOST: Final = 1_000_000
_CHARACTERS: Final = 16


def _bounded(value: Value) -> Value:
    """Give a value that has been made, unless it is larger than any file means. Raises ValueFault."""
    left, size = [value], 0
    while left:
        raw = left.pop().raw
        size += 1 + (len(raw) // _CHARACTERS if isinstance(raw, str) else 0)
        if isinstance(raw, dict | tuple):
            left.extend(raw.values() if isinstance(raw, dict) else raw)
        if size + len(left) > _MOST:
            raise ValueFault("what this makes is too large")
    return value


def pairs(over: Value, place: Location) -> Iterable[tuple[Value, Value]]:
    """Give keys and values of what a `for` goes over."""
    if over.raw is None:
        place.fail("what `for` goes over is null")
    if over.type.kind in ("list", "tuple"):
        return [(number(index), item) for index, item in enumerate(over.raw)]
    if over.type.kind == "set":
        return [(item, item) for item in over.raw]
    if over.type.kind in ("map", "object"):
        return [(string(name), item) for name, item in over.raw.items()]
    raise place.error(f"`for` goes over a list, a set, a map or an object, and this is {described(over.type)}")


def attribute_of(value: Value, name: str) -> Value:
    """Return an attribute of an object, or an element of a map. Raises ValueFault."""
    if value.raw is None:
        raise ValueFault(f"null has no attribute `{name}`")
    if value.type.kind not in ("map", "object"):
        hint = f"`[*].{name}` asks all values of a list" if value.type.kind in SEQUENCES else ""
        raise ValueFault(f"{described(value.type)} has no attributes, such as `{name}`", hint)
    if name not in value.raw:
        known = ", ".join(value.raw) or "none"
        raise ValueFault(f"there is no attribute `{name}`", did_you_mean(name, value.raw) or f"there are: {known}")
    found: Value = value.raw[name]
    return found


def element_of(value: Value, key: Value) -> Value:
    """Return an element by its position or key. Raises ValueFault."""
    if value.raw is None:
        raise ValueFault("null has no elements")
    if key.raw is None:
        raise ValueFault("null is not a position")
    if value.type.kind in ("list", "tuple"):
        position = convert(key, NUMBER).raw
        if position.denominator != 1 or not 0 <= position < len(value.raw):
            raise ValueFault(f"there is no value {text_of(convert(key, NUMBER))} in a list of {len(value.raw)}")
        item: Value = value.raw[int(position)]
        return item
    if value.type.kind in ("map", "object"):
        name = str(convert(key, STRING).raw)
        if name not in value.raw:
            raise ValueFault(f"there is no element `{name}`", did_you_mean(name, value.raw))
        found: Value = value.raw[name]
        return found
    raise ValueFault(f"{described(value.type)} has no elements")


def equal(one: Value, other: Value) -> bool:
    """Whether two values are equal: of one type, and the same."""
    if one.raw is None or other.raw is None:
        return one.raw is None and other.raw is None
    return one == other


def calculate(operator: str, left: Fraction | bool, right: Fraction | bool) -> Value:
    """Apply an operator to two values of its type. Raises ValueFault."""
    if operator == "&&":
        return bool_value(bool(left and right))
    if operator == "||":
        return bool_value(bool(left or right))
    one, other = Fraction(left), Fraction(right)
    if operator == "/" and not other:
        raise ValueFault("this divides by zero")
    if operator in _COMPARE:
        return bool_value(_COMPARE[operator](one, other))
    return Value(NUMBER, rounded(_CALCULATE[operator](one, other)))


def _remainder(one: Fraction, other: Fraction) -> Fraction:
    return one - other * int(rounded(one / other)) if other else one


_COMPARE: Final[Mapping[str, Callable[[Fraction, Fraction], bool]]] = {
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
}
_CALCULATE: Final[Mapping[str, Callable[[Fraction, Fraction], Fraction]]] = {
    "+": lambda one, other: one + other,
    "-": lambda one, other: one - other,
    "*": lambda one, other: one * other,
    "/": lambda one, other: one / other,
    "%": _remainder,
}
__all__ = [
    "NULL", "Evaluation", "Inner", "Scope", "attribute_of", "calculate", "element_of", "equal", "evaluate", "pairs",
]  # fmt: skip
