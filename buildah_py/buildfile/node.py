"""Frozen, slotted data classes that cost next to nothing to define.

A syntax tree has some thirty node classes, and the standard library's decorator compiles half a dozen methods for each
of them: 20 ms at every start. Here the methods are shared, and `__init__` is compiled when the first node of a class
is made. To a type checker, and to `dataclasses.replace`, `fields` and `asdict`, the classes are data classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # noqa: PLC0414  # re-exported
else:

    def dataclass(*, frozen: bool, slots: bool, kw_only: bool = False) -> Any:
        """Stand-in for `dataclasses.dataclass(frozen=True, slots=True)`."""
        assert frozen
        assert slots

        def decorate(cls: type) -> type:
            return _define(cls, kw_only)

        return decorate


def _define(cls: type, kw_only: bool) -> type:
    own = tuple(cls.__annotations__) if "__annotations__" in vars(cls) else ()
    inherited: tuple[str, ...] = getattr(cls, "__node_fields__", ())
    namespace = dict(cls.__dict__)
    defaults = dict(getattr(cls, "__node_defaults__", {}))
    for name in own:
        if name in namespace:
            defaults[name] = namespace.pop(name)
    namespace.pop("__dict__", None)
    namespace.pop("__weakref__", None)
    fields = inherited + tuple(name for name in own if name not in inherited)
    namespace.update(
        __slots__=tuple(name for name in own if name not in inherited),
        __node_fields__=fields,
        __node_defaults__=defaults,
        __match_args__=() if kw_only else fields,
        __dataclass_fields__=_Fields(kw_only),
        __init__=_first_init(kw_only),
        **_METHODS,
    )
    made = type(cls)(cls.__name__, cls.__bases__, namespace)
    made.__qualname__ = cls.__qualname__
    return made


def _first_init(kw_only: bool) -> Any:
    def __init__(self: Any, *args: Any, **values: Any) -> None:  # noqa: N807
        cls = type(self)
        init = _compile_init(cls, kw_only)
        cls.__init__ = init
        init(self, *args, **values)

    return __init__


def _compile_init(cls: Any, kw_only: bool) -> Any:
    parameters = ["*"] if kw_only and cls.__node_fields__ else []
    body = []
    scope: dict[str, Any] = {"_set": object.__setattr__}
    for name in cls.__node_fields__:
        if name in cls.__node_defaults__:
            scope[f"_default_{name}"] = cls.__node_defaults__[name]
            parameters.append(f"{name}=_default_{name}")
        else:
            parameters.append(name)
        body.append(f"    _set(_self, {name!r}, {name})")
    exec(f"def __init__(_self, {', '.join(parameters)}):\n" + "\n".join(body or ["    pass"]), scope)  # noqa: S102
    return scope["__init__"]


class _Fields:
    """Gives `__dataclass_fields__` when someone asks for them: that needs the slow module."""

    def __init__(self, kw_only: bool) -> None:
        self._kw_only = kw_only

    def __get__(self, instance: object, owner: Any) -> dict[str, Any]:
        import dataclasses

        shadow = type(
            owner.__name__,
            (),
            {**owner.__node_defaults__, "__annotations__": dict.fromkeys(owner.__node_fields__, "Any")},
        )
        made: Any = dataclasses.dataclass(frozen=True, kw_only=self._kw_only)(shadow)
        fields: dict[str, Any] = made.__dataclass_fields__
        return fields


def _values(node: Any) -> tuple[Any, ...]:
    return tuple([getattr(node, name) for name in node.__node_fields__])


def _eq(self: Any, other: object) -> Any:
    if self is other:
        return True
    if type(self) is not type(other):
        return NotImplemented
    return _values(self) == _values(other)


def _hash(self: Any) -> int:
    return hash(_values(self))


def _repr(self: Any) -> str:
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__node_fields__)
    return f"{type(self).__qualname__}({shown})"


def _setattr(self: Any, name: str, value: object) -> None:  # noqa: ARG001
    raise AttributeError(f"cannot assign to field {name!r}")


def _delattr(self: Any, name: str) -> None:  # noqa: ARG001
    raise AttributeError(f"cannot delete field {name!r}")


def _reduce(self: Any) -> tuple[Any, ...]:
    return _rebuild, (type(self), dict(zip(self.__node_fields__, _values(self), strict=True)))


def _rebuild(cls: Any, values: dict[str, Any]) -> Any:
    return cls(**values)


_METHODS = {
    "__eq__": _eq,
    "__hash__": _hash,
    "__repr__": _repr,
    "__setattr__": _setattr,
    "__delattr__": _delattr,
    "__reduce__": _reduce,
}
