"""The definition that files in HCL and JSON make together: variables, functions, groups and targets, all evaluated.

Nothing is evaluated before it is asked for, so that variables, functions and attributes may refer to one another in
any order and across files; circles are found on the way.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from buildah_py.bake import syntax
from buildah_py.bake.evaluation import Evaluation, Inner, evaluate
from buildah_py.bake.functions.library import FUNCTIONS
from buildah_py.bake.functions.types import type_of
from buildah_py.bake.overriding import read_variable
from buildah_py.bake.targets import ATTRIBUTES, Target, TargetGroup, attribute
from buildah_py.bake.values import (
    BOOL,
    DYNAMIC,
    NULL,
    STRING,
    Type,
    Value,
    ValueFault,
    bool_value,
    convert,
    list_of,
    list_value,
    map_of,
    map_value,
    object_value,
    string,
    strings,
    tuple_value,
)
from buildah_py.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from buildah_py.bake.syntax import Assignment, Expression, HclBlock, HclBody, Location

NAME: Final = re.compile(r"[a-zA-Z0-9_-]+")
_MOST_TARGETS: Final = 10_000
_MOST_WORK: Final = 300_000
_PSEUDO: Final = ("name", "matrix")
_KINDS: Final = ("target", "group", "variable", "function")


class ListedVariable(NamedTuple):
    """A variable as `--list` shows it."""

    name: str
    type: Type | None
    value: Value
    description: str


class Evaluated(NamedTuple):
    """All that the files say; `unknown` are blocks and attributes that mean nothing, by what they are called."""

    groups: Mapping[str, TargetGroup]
    targets: Mapping[str, Target]
    variables: tuple[ListedVariable, ...]
    unknown: tuple[tuple[Location, str], ...]


class _Unit(NamedTuple):
    """A target to be: its block, the matrix' values, and its name."""

    block: HclBlock
    values: Mapping[str, Value]
    name: str


class Definition:
    """The scope of all files together. `given` are variables of the command line, before those of the environment."""

    def __init__(
        self,
        bodies: Sequence[HclBody],
        environ: Mapping[str, str],
        builtins: Mapping[str, str],
        given: Mapping[str, str],
    ) -> None:
        self._spent = 0
        self._environ = environ
        self._given = given
        self._settings: dict[str, Assignment] = {}
        self._blocks: dict[str, list[HclBlock]] = {kind: [] for kind in _KINDS}
        self._unknown: list[tuple[Location, str]] = []
        for body in bodies:
            self._settings |= body.settings
            for block in body.blocks:
                if block.kind in self._blocks:
                    self._blocks[block.kind].append(block)
                else:
                    self._unknown.append((block.place, f"blocks `{block.kind}`"))
        self._variables = self._named("variable")
        self._functions = self._named("function")
        self._values: dict[str, Value] = {name: string(value) for name, value in builtins.items()}
        self._busy: list[str] = []
        self._units: dict[str, _Unit] | None = None
        self._matrices: dict[str, TargetGroup] = {}
        self._attributes: dict[tuple[str, str], Any] = {}

    def _named(self, kind: str) -> dict[str, HclBlock]:
        found: dict[str, HclBlock] = {}
        for block in self._blocks[kind]:
            if len(block.labels) != 1:
                block.place.fail(f"`{kind}` has one name", f'write {kind} "name" {{ … }}')
            found[block.labels[0]] = block
        return found

    def evaluated(self) -> Evaluated:
        """Evaluate everything. Raises BuildFileError at the first fault."""
        for name in self._settings:
            self._known(name)
        for name in self._functions:
            self._check_function(name)
        variables = tuple(self._listed(name) for name in sorted(self._variables))
        units = self._targets()
        groups = {**self._matrices}
        for block in self._blocks["group"]:
            group = self._group(block)
            groups[group.name] = group
        found: dict[str, Target] = {}
        for unit in units.values():
            target = self._target(unit)
            found[target.name] = found[target.name].merged(target) if target.name in found else target
        return Evaluated(groups, found, variables, tuple(self._unknown))

    # the scope

    def spend(self, place: Location) -> None:
        """Count what is evaluated: loops in one another can go on for ever."""
        self._spent += 1
        if self._spent > _MOST_WORK:
            place.fail("evaluating the file takes too long", f"{_MOST_WORK} expressions are evaluated at most")

    def variable(self, name: str, place: Location) -> Value | None:
        """Give a variable, a global attribute, or all targets or groups."""
        if name in self._values:
            return self._values[name]
        if name in self._settings or name in self._variables:
            return self._once(name, place, lambda: self._known(name))
        if name == "target":
            return object_value({one: self._reference(one, None, place) for one in self._unit_names()})
        if name == "group":
            return object_value({group.name: _group_value(group) for group in map(self._group, self._blocks["group"])})
        if name == "variable":
            return object_value({one: self._known(one) for one in self._variables})
        return None

    def function(self, name: str) -> Callable[[Evaluation, syntax.Call], Value] | None:
        """Give a function of the library, or of the files."""
        if name in FUNCTIONS:
            return FUNCTIONS[name]
        block = self._functions.get(name)
        return None if block is None else lambda evaluation, call: self._call(block, evaluation, call)

    def names(self) -> Collection[str]:
        """List the variables."""
        return {*self._settings, *self._variables, *self._values}

    def functions(self) -> Collection[str]:
        """List the functions."""
        return sorted({*FUNCTIONS, *self._functions})

    def reference(self, kind: str, name: str, wanted: str, place: Location) -> Value | None:
        """Give a target, or one attribute of it, without asking for other targets."""
        if kind != "target" or name not in self._unit_names():
            return None
        if not wanted:
            return self._reference(name, None, place)
        return self._reference(name, wanted, place).raw[wanted] if wanted in (*ATTRIBUTES, "name") else None

    def _once(self, what: str, place: Location, find: Callable[[], Value]) -> Value:
        if what in self._busy:
            circle = " → ".join([*self._busy[self._busy.index(what) :], what])
            place.fail(f"`{what}` refers to itself: {circle}")
        self._busy.append(what)
        try:
            return find()
        finally:
            self._busy.pop()

    # variables

    def _known(self, name: str) -> Value:
        if name not in self._values:
            setting, block = self._settings.get(name), self._variables.get(name)
            if block is None:
                assert setting is not None
                self._values[name] = evaluate(setting.value, self)
            else:
                self._values[name] = self._value_of(name, block, setting)
                self._validate(name, block)
        return self._values[name]

    def _value_of(self, name: str, block: HclBlock, setting: Assignment | None) -> Value:
        """Find a variable's value: of the command line, the environment, a global attribute, or its default."""
        settings = block.body.settings
        for one in settings.values():
            if one.name not in ("default", "type", "description"):
                self._unknown.append((one.place, f"attributes `{one.name}` of variables"))
        of = type_of(settings["type"].value) if "type" in settings else None
        default = setting or settings.get("default")
        value: Value | None = None
        if default is not None:
            value = evaluate(default.value, self)
            if of is not None:
                try:
                    value = convert(value, of)
                except ValueFault as fault:
                    raise default.value.place.error(f"the default of `{name}`: {fault.message}", fault.hint) from None
        source, text = self._override(name)
        if text is not None:
            to = of or (value.type if value is not None and value.raw is not None else STRING)
            try:
                return read_variable(text, to, json=source != name and of is not None, typed=of is not None)
            except ValueFault as fault:
                where = "--var" if name in self._given else f"the environment's {source}"
                raise block.place.error(f"`{name}`, of {where}: {fault.message}", fault.hint) from None
        if value is None:
            return Value(of, None) if of is not None else string("")
        return value

    def _override(self, name: str) -> tuple[str, str | None]:
        if name in self._given:
            return name, self._given[name]
        json_name = f"{name}_JSON"
        if json_name not in self._variables and json_name in self._environ:
            return json_name, self._environ[json_name]
        return name, self._environ.get(name)

    def _validate(self, name: str, block: HclBlock) -> None:
        for validation in block.body.blocks:
            if validation.kind != "validation":
                self._unknown.append((validation.place, f"blocks `{validation.kind}` of variables"))
                continue
            settings = validation.body.settings
            if "condition" not in settings:
                validation.place.fail("a validation needs a condition", "write condition = …")
            condition = settings["condition"].value
            if Evaluation(self).needed(condition, BOOL, "the condition").raw:
                continue
            message = settings.get("error_message")
            said = convert(evaluate(message.value, self), STRING).raw if message else "the value is not valid"
            condition.place.fail(f"the variable `{name}` is not valid: {said}")

    def _listed(self, name: str) -> ListedVariable:
        settings = self._variables[name].body.settings
        shown = type_of(settings["type"].value) if "type" in settings else None
        described = self._text(settings.get("description"))
        value = self._known(name)
        return ListedVariable(name, shown, value, described)

    def _text(self, setting: Assignment | None) -> str:
        if setting is None:
            return ""
        value = Evaluation(self).value(setting.value)
        try:
            return str(convert(value, STRING).raw or "")
        except ValueFault as fault:
            raise setting.value.place.error(fault.message, fault.hint) from None

    # functions

    def _check_function(self, name: str) -> None:
        block = self._functions[name]
        settings = block.body.settings
        for needed in ("params", "result"):
            if needed not in settings:
                block.place.fail(f"the function `{name}` misses `{needed}`", "write params = [a, b] and result = …")
        self._parameters(block)

    def _parameters(self, block: HclBlock) -> tuple[list[str], str]:
        settings = block.body.settings
        params = settings["params"].value
        if not isinstance(params, syntax.Tuple):
            params.place.fail("parameters are a list of names", "write params = [a, b]")
        names = [_word(item) for item in params.items]
        rest = settings.get("variadic_params")
        return names, _word(rest.value) if rest is not None else ""

    def _call(self, block: HclBlock, evaluation: Evaluation, call: syntax.Call) -> Value:
        name = block.labels[0]
        self._check_function(name)
        names, rest = self._parameters(block)
        given = evaluation.arguments(call)
        hint = f"write {name}({', '.join([*names, *([f'{rest}…'] if rest else [])])})"
        if len(given) < len(names):
            call.place.fail(f"`{name}` misses the argument `{names[len(given)]}`", hint)
        if len(given) > len(names) and not rest:
            given[len(names)][1].fail(f"this is one argument too many for `{name}`", hint)
        for position, (value, place) in enumerate(given):
            if value.raw is None:
                which = names[position] if position < len(names) else rest
                place.fail(f"`{which}` of `{name}` is null", hint)
        values = {one: value for one, (value, _) in zip(names, given, strict=False)}
        if rest:
            values[rest] = tuple_value(value for value, _ in given[len(names) :])
        result = block.body.settings["result"].value
        return self._once(f"{name}()", call.place, lambda: evaluate(result, Inner(self, values)))

    # groups and targets

    def _group(self, block: HclBlock) -> TargetGroup:
        name = _name_of(block)
        settings = block.body.settings
        for one in settings.values():
            if one.name not in ("targets", "description"):
                self._unknown.append((one.place, f"attributes `{one.name}` of groups"))
        items: list[str] = []
        if "targets" in settings:
            expression = settings["targets"].value
            try:
                value = convert(evaluate(expression, self), list_of(STRING))
            except ValueFault as fault:
                raise expression.place.error(fault.message, fault.hint) from None
            items = [str(item.raw) for item in value.raw or ()]
        return TargetGroup(name, tuple(dict.fromkeys(items)), self._text(settings.get("description")), block.place)

    def _targets(self) -> dict[str, _Unit]:
        """Find out which targets there are, by names that tell units of one name apart."""
        if self._units is not None:
            return self._units
        self._units = {}
        for number, block in enumerate(self._blocks["target"]):
            label = _name_of(block)
            units = list(self._expanded(block, label))
            if "matrix" in block.body.settings:
                names = [unit.name for unit in units]
                for one in names:
                    if names.count(one) > 1:
                        where = block.body.settings.get("name") or block
                        where.place.fail(f"the matrix makes two targets `{one}`", "use all of its values in `name`")
                if names != [label]:
                    self._matrices[label] = TargetGroup(label, tuple(names), place=block.place)
            for unit in units:
                self._units[f"{unit.name}#{number}"] = unit
        return self._units

    def _unit_names(self) -> list[str]:
        return list(dict.fromkeys(unit.name for unit in self._targets().values()))

    def _expanded(self, block: HclBlock, label: str) -> Iterator[_Unit]:
        settings = block.body.settings
        if "matrix" not in settings:
            if "name" in settings:
                settings["name"].place.fail("`name` is for targets with a matrix", "leave it out")
            yield _Unit(block, {}, label)
            return
        place = settings["matrix"].value.place
        matrix = evaluate(settings["matrix"].value, self)
        if matrix.raw is None or matrix.type.kind not in ("object", "map"):
            place.fail("a matrix is an object of lists", 'write matrix = { axis = ["a", "b"] }')
        for axis, values in matrix.raw.items():
            if values.raw is None or values.type.kind not in ("list", "set", "tuple"):
                place.fail(f"`{axis}` of the matrix is not a list")
        count = 1
        for values in matrix.raw.values():
            count *= len(values.raw)
        if count > _MOST_TARGETS:
            place.fail(f"this matrix makes {count} targets", f"no more than {_MOST_TARGETS} are made")
        for combination in itertools.product(*(values.raw for values in matrix.raw.values())):
            values = dict(zip(matrix.raw, combination, strict=True))
            name = label
            if "name" in settings:
                expression = settings["name"].value
                name = str(Evaluation(Inner(self, values)).needed(expression, STRING, "the name").raw)
                _check_name(name, expression.place)
            yield _Unit(block, values, name)

    def _target(self, unit: _Unit) -> Target:
        values: dict[str, Any] = {}
        places: dict[str, Location] = {}
        for one in unit.block.body.settings.values():
            if one.name in _PSEUDO:
                continue
            if one.name not in ATTRIBUTES:
                hint = did_you_mean(one.name, ATTRIBUTES)
                self._unknown.append((one.place, f"attributes `{one.name}` of targets{f' ({hint})' if hint else ''}"))
                Evaluation(self._scope_of(unit)).value(one.value)
                continue
            value = self._attribute(unit, one)
            if value is not None:
                values[one.name] = value
                places[one.name] = one.value.place
        for block in unit.block.body.blocks:
            self._unknown.append((block.place, f"blocks `{block.kind}` of targets"))
        return Target(unit.name, values, places, unit.block.place)

    def _scope_of(self, unit: _Unit) -> Inner:
        return Inner(self, unit.values)

    def _attribute(self, unit: _Unit, setting: Assignment) -> Any:
        key = f"{unit.name}#{unit.block.place.start}#{unit.block.place.source.name}", setting.name
        if key not in self._attributes:
            value = evaluate(setting.value, self._scope_of(unit))
            try:
                self._attributes[key] = attribute(setting.name, value)
            except ValueFault as fault:
                raise setting.value.place.error(f"`{setting.name}`: {fault.message}", fault.hint) from None
        return self._attributes[key]

    def _reference(self, name: str, wanted: str | None, place: Location) -> Value:
        """Give attributes of a target as others see them: those that its own blocks set."""
        target = Target(name)
        for unit in self._targets().values():
            if unit.name != name:
                continue
            for one in unit.block.body.settings.values():
                if one.name in ATTRIBUTES and wanted in (None, one.name):
                    what = f"target.{name}.{one.name}"

                    def find(unit: _Unit = unit, one: Assignment = one) -> Value:
                        nonlocal target
                        found = self._attribute(unit, one)
                        if found is not None:
                            target = target.merged(Target(name, {one.name: found}))
                        return NULL

                    self._once(what, place, find)
        return object_value({"name": string(name), **{one: _as_value(one, target) for one in ATTRIBUTES}})


def _as_value(name: str, target: Target) -> Value:
    """Give an attribute as a value for expressions."""
    kind = ATTRIBUTES[name].kind
    found = target.values.get(name)
    if kind == "text":
        return string(found) if found is not None else string("") if name == "description" else Value(STRING, None)
    if kind == "flag":
        return bool_value(found) if found is not None else Value(BOOL, None)
    if kind == "texts":
        return strings(found) if found is not None else Value(list_of(STRING), None)
    if kind == "map":
        return map_value(_strings_of(found), STRING) if found is not None else Value(map_of(STRING), None)
    usual = {"secrets": {"id": "", "src": "", "env": ""}, "outputs": {"dest": ""}}.get(kind, {})
    items = [
        object_value({key: _entry_value(value) for key, value in {**usual, **entry}.items()}) for entry in found or ()
    ]
    return (
        list_value(items, items[0].type)
        if items and all(one.type == items[0].type for one in items)
        else tuple_value(items)
        if items
        else list_value([], DYNAMIC)
    )


def _entry_value(value: Any) -> Value:
    if isinstance(value, list):
        return strings(value)
    return bool_value(value) if isinstance(value, bool) else string(value)


def _strings_of(found: Mapping[str, str | None]) -> dict[str, Value]:
    return {key: string(value) if value is not None else Value(STRING, None) for key, value in found.items()}


def _group_value(group: TargetGroup) -> Value:
    return object_value(
        {"name": string(group.name), "targets": strings(group.targets), "description": string(group.description)}
    )


def _word(expression: Expression) -> str:
    if isinstance(expression, syntax.Variable):
        return expression.name
    if isinstance(expression, syntax.Literal) and isinstance(expression.value.raw, str):
        return expression.value.raw
    raise expression.place.error("a parameter's name is a word")


def _name_of(block: HclBlock) -> str:
    if len(block.labels) != 1:
        block.place.fail(f"a {block.kind} has one name", f'write {block.kind} "name" {{ … }}')
    _check_name(block.labels[0], block.place)
    return block.labels[0]


def _check_name(name: str, place: Location) -> None:
    if not NAME.fullmatch(name):
        place.fail(
            f"`{name}` cannot be the name of a target or group",
            "names have letters, digits, `_` and `-`: sanitize(…) makes one of any text",
        )
