"""Frozen classes behave as those of the standard library do."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import pytest

from buildah_py import frozen


@frozen.dataclass(frozen=True, slots=True)
class Inner:
    a: int
    b: tuple[str, ...] = ("x",)


@frozen.dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    name: str
    table: dict[str, int] = frozen.field(default_factory=dict)
    inner: Inner = frozen.field(default_factory=lambda: Inner(1))


def test_a_factory_makes_a_value_for_each_object() -> None:
    one, other = Outer(name="one"), Outer(name="other")
    one.table["x"] = 1
    assert other.table == {}
    assert Outer(name="given", table={"y": 2}).table == {"y": 2}


def test_equality_hash_and_repr() -> None:
    assert Inner(1) == Inner(1, ("x",)) != Inner(2)
    assert len({Inner(1), Inner(1), Inner(2)}) == 2
    assert repr(Inner(1)) == "Inner(a=1, b=('x',))"


def test_nothing_can_be_changed() -> None:
    made: Any = Inner(1)
    with pytest.raises(AttributeError):
        made.a = 2
    with pytest.raises(AttributeError):
        del made.a
    with pytest.raises(AttributeError):
        object.__setattr__(made, "c", 2)


@frozen.dataclass(frozen=True, slots=True)
class Secret:
    name: str = "n"
    password: str = frozen.field(default="none", repr=False)
    used: int = frozen.field(default=0, compare=False)
    tags: list[str] = frozen.field(default_factory=list, repr=False, compare=False)


def test_fields_that_are_not_shown_or_not_compared() -> None:
    made = Secret("x", "sesame", 3)
    assert repr(made) == "Secret(name='x', used=3)"
    assert made == Secret("x", "sesame", 4, ["tag"]) != Secret("x", "other", 3)
    assert hash(made) == hash(Secret("x", "sesame", 4))
    assert (Secret().password, Secret().used, Secret().tags) == ("none", 0, [])
    shown = {field.name: (field.repr, field.compare) for field in dataclasses.fields(made)}
    assert shown == {
        "name": (True, True), "password": (False, True), "used": (True, False), "tags": (False, False)
    }  # fmt: skip


@pytest.mark.parametrize("module", [frozen, dataclasses])
def test_what_dataclasses_does(module: Any) -> None:
    made = Outer(name="n", inner=Inner(2, ("y", "z")))
    assert module.replace(made, name="m") == Outer(name="m", inner=Inner(2, ("y", "z")))
    assert module.asdict(made) == {"name": "n", "table": {}, "inner": {"a": 2, "b": ("y", "z")}}
    assert [field.name for field in dataclasses.fields(made)] == ["name", "table", "inner"]


def test_copies() -> None:
    made = Outer(name="n", table={"x": 1})
    assert pickle.loads(pickle.dumps(made)) == copy.deepcopy(made) == made


@pytest.mark.parametrize(
    ("kind", "arguments", "values"),
    [(Inner, (), {}), (Inner, (1, 2, 3), {}), (Inner, (1,), {"c": 1}), (Outer, ("positional",), {})],
)
def test_wrong_arguments_are_refused(kind: Any, arguments: Any, values: Any) -> None:
    with pytest.raises(TypeError):
        kind(*arguments, **values)
