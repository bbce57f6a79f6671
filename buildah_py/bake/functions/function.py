"""Functions of bake files: its parameters with their types, and what it makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

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
    string,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from fractions import Fraction

    from buildah_py.bake import syntax
    from buildah_py.bake.evaluation import Evaluation

    Implementation = Callable[..., Value | str | bool | int | Fraction]

MOST_TEXT: Final = 16 << 20
"""Characters that a function may make of some: no file means more."""


class Parameter(NamedTuple):
    """A parameter by its name for messages, and whether it may be null."""

    name: str
    type: Type = DYNAMIC
    nullable: bool = False


class Function(NamedTuple):
    """A function: `rest` is the parameter that any number of further arguments belong to.

    `apply` gets primitive arguments as str, bool or Fraction (None for null), others as Value.
    """

    name: str
    parameters: tuple[Parameter, ...]
    rest: Parameter | None
    apply: Implementation

    def __call__(self, evaluation: Evaluation, call: syntax.Call) -> Value:
        """Apply it to the arguments of a call. Raises BuildFileError at the argument that is wrong."""
        given = evaluation.arguments(call)
        wanted = [one.name for one in self.parameters] + ([f"{self.rest.name}…"] if self.rest else [])
        hint = f"write {self.name}({', '.join(wanted)})"
        if len(given) < len(self.parameters):
            call.place.fail(f"`{self.name}` misses the argument `{self.parameters[len(given)].name}`", hint)
        if self.rest is None and len(given) > len(self.parameters):
            given[len(self.parameters)][1].fail(f"this is one argument too many for `{self.name}`", hint)
        arguments: list[Any] = []
        for position, (value, place) in enumerate(given):
            parameter = self.parameters[position] if position < len(self.parameters) else self.rest
            assert parameter is not None
            try:
                converted = convert(value, parameter.type)
            except ValueFault as fault:
                raise place.error(f"`{parameter.name}` of `{self.name}`: {fault.message}", fault.hint) from None
            if converted.raw is None and not parameter.nullable:
                place.fail(f"`{parameter.name}` of `{self.name}` is null", hint)
            arguments.append(converted.raw if parameter.type in PRIMITIVES else converted)
        try:
            return wrapped(self.apply(*arguments))
        except ValueFault as fault:
            raise call.place.error(f"{self.name}: {fault.message}", fault.hint) from None


def wrapped(result: Value | str | bool | int | Fraction) -> Value:
    """Make a value of what a function gives."""
    if isinstance(result, Value):
        return result
    if isinstance(result, bool):
        return bool_value(result)
    return string(result) if isinstance(result, str) else number(result)


class Library:
    """Functions by their names, filled by a decorator."""

    def __init__(self) -> None:
        self.functions: dict[str, Function] = {}

    def add(
        self, name: str, *parameters: Parameter, rest: Parameter | None = None
    ) -> Callable[[Implementation], Implementation]:
        """Add a function by that name."""

        def decorate(apply: Implementation) -> Implementation:
            self.functions[name] = Function(name, parameters, rest, apply)
            return apply

        return decorate


def text(name: str) -> Parameter:
    """Return a parameter that is a string."""
    return Parameter(name, STRING)


def num(name: str) -> Parameter:
    """Return a parameter that is a number."""
    return Parameter(name, NUMBER)


def flag(name: str) -> Parameter:
    """Return a parameter that is a truth value."""
    return Parameter(name, BOOL)


def whole(value: Fraction, name: str) -> int:
    """Return a number that has to be a whole one. Raises ValueFault."""
    if value.denominator != 1:
        raise ValueFault(f"`{name}` is not a whole number")
    return value.numerator
