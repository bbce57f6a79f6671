"""Frozen, slotted data classes that cost next to nothing to define.

Every start imports some sixty of them, and the standard library's decorator compiles half a dozen methods for each:
25 ms. Here the methods are shared, and `__init__` is compiled when the first object of a class is made. To a type
checker, and to `dataclasses.replace`, `fields` and `asdict`, the classes are data classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import asdict as asdict  # noqa: PLC0414
    from dataclasses import dataclass as dataclass  # noqa: PLC0414  # re-exported
    from dataclasses import field as field  # noqa: PLC0414
    from dataclasses import replace as replace  # noqa: PLC0414
else:

    def dataclass(*, frozen: bool, slots: bool, kw_only: bool = False) -> Any:
        """Stand-in for `dataclasses.dataclass(frozen=True, slots=True)`."""
        assert frozen
        assert slots

        def decorate(cls: type) -> type:
            return _define(cls, kw_only)

        return decorate

    def field(
        *,
        default: Any = None,
        default_factory: Callable[[], Any] | None = None,
        repr: bool = True,  # noqa: A002
        compare: bool = True,
    ) -> Any:
        """Stand-in for `dataclasses.field`: a default, which a factory makes anew for each object, and who sees it."""
        return _Field(default, default_factory, repr, compare)

    def replace(obj: Any, **changes: Any) -> Any:
        """Stand-in for `dataclasses.replace`, for these classes."""
        return type(obj)(**(dict(zip(obj.__frozen_fields__, _values(obj), strict=True)) | changes))

    def asdict(obj: Any) -> dict[str, Any]:
        """Stand-in for `dataclasses.asdict`; goes into fields of these classes, but not into containers of them."""
        values = zip(obj.__frozen_fields__, _values(obj), strict=True)
        return {name: asdict(value) if hasattr(value, "__frozen_fields__") else value for name, value in values}


class _Field:
    """The default of a field, and whether it is shown and compared."""

    def __init__(self, default: Any, factory: Callable[[], Any] | None, shown: bool, compared: bool) -> None:
        self.default = default
        self.factory = factory
        self.shown = shown
        self.compared = compared


def _define(cls: type, kw_only: bool) -> type:
    own = tuple(cls.__annotations__) if "__annotations__" in vars(cls) else ()
    inherited: tuple[str, ...] = getattr(cls, "__frozen_fields__", ())
    namespace = dict(cls.__dict__)
    defaults = dict(getattr(cls, "__frozen_defaults__", {}))
    for name in own:
        if name in namespace:
            defaults[name] = namespace.pop(name)
    namespace.pop("__dict__", None)
    namespace.pop("__weakref__", None)
    fields = inherited + tuple(name for name in own if name not in inherited)
    special = {name: value for name, value in defaults.items() if isinstance(value, _Field)}
    namespace.update(
        __slots__=tuple(name for name in own if name not in inherited),
        __frozen_fields__=fields,
        __frozen_defaults__=defaults,
        __frozen_shown__=tuple(name for name in fields if name not in special or special[name].shown),
        __frozen_compared__=tuple(name for name in fields if name not in special or special[name].compared),
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
    parameters = ["*"] if kw_only and cls.__frozen_fields__ else []
    body = []
    scope: dict[str, Any] = {"_set": object.__setattr__}
    for name in cls.__frozen_fields__:
        value = name
        if name in cls.__frozen_defaults__:
            default = cls.__frozen_defaults__[name]
            if isinstance(default, _Field) and default.factory is None:
                default = default.default
            scope[f"_default_{name}"] = default
            parameters.append(f"{name}=_default_{name}")
            if isinstance(default, _Field):
                value = f"_default_{name}.factory() if {name} is _default_{name} else {name}"
        else:
            parameters.append(name)
        body.append(f"    _set(_self, {name!r}, {value})")
    exec(f"def __init__(_self, {', '.join(parameters)}):\n" + "\n".join(body or ["    pass"]), scope)  # noqa: S102
    return scope["__init__"]


class _Fields:
    """Gives `__dataclass_fields__` when someone asks for them: that needs the slow module."""

    def __init__(self, kw_only: bool) -> None:
        self._kw_only = kw_only

    def __get__(self, instance: object, owner: Any) -> dict[str, Any]:
        import dataclasses

        defaults = {
            name: _standard(value) if isinstance(value, _Field) else value
            for name, value in owner.__frozen_defaults__.items()
        }
        shadow = type(
            owner.__name__,
            (),
            {**defaults, "__annotations__": dict.fromkeys(owner.__frozen_fields__, "Any")},
        )
        made: Any = dataclasses.dataclass(frozen=True, kw_only=self._kw_only)(shadow)
        fields: dict[str, Any] = made.__dataclass_fields__
        return fields


def _standard(value: _Field) -> Any:
    import dataclasses

    if value.factory is None:
        return dataclasses.field(default=value.default, repr=value.shown, compare=value.compared)
    return dataclasses.field(default_factory=value.factory, repr=value.shown, compare=value.compared)


def _values(obj: Any) -> tuple[Any, ...]:
    return tuple([getattr(obj, name) for name in obj.__frozen_fields__])


def _compared(obj: Any) -> tuple[Any, ...]:
    return tuple([getattr(obj, name) for name in obj.__frozen_compared__])


def _eq(self: Any, other: object) -> Any:
    if self is other:
        return True
    if type(self) is not type(other):
        return NotImplemented
    return _compared(self) == _compared(other)


def _hash(self: Any) -> int:
    return hash(_compared(self))


def _repr(self: Any) -> str:
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__frozen_shown__)
    return f"{type(self).__qualname__}({shown})"


def _setattr(self: Any, name: str, value: object) -> None:  # noqa: ARG001
    raise AttributeError(f"cannot assign to field {name!r}")


def _delattr(self: Any, name: str) -> None:  # noqa: ARG001
    raise AttributeError(f"cannot delete field {name!r}")


def _reduce(self: Any) -> tuple[Any, ...]:
    return _rebuild, (type(self), dict(zip(self.__frozen_fields__, _values(self), strict=True)))


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
