"""Targets and groups: which attributes they have, how values become attributes, and how targets are merged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from buildah_py.bake import entries
from buildah_py.bake.values import BOOL, STRING, Value, ValueFault, convert, described, list_of, map_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from buildah_py.bake.entries import EntryFields
    from buildah_py.bake.syntax import Location

OVERRIDE: Final = "override"
APPEND: Final = "append"
BY_KEY: Final = "by key"


class Kind(NamedTuple):
    """Kind of an attribute: text, flag, texts, map, or a kind of entries; and what the last of several does."""

    kind: str
    merging: str = OVERRIDE
    key: str = ""


ATTRIBUTES: Final[Mapping[str, Kind]] = {
    "description": Kind("text"),
    "inherits": Kind("texts", APPEND),
    "annotations": Kind("texts", APPEND),
    "attest": Kind("attestations", BY_KEY, "type"),
    "context": Kind("text"),
    "contexts": Kind("map"),
    "dockerfile": Kind("text"),
    "dockerfile-inline": Kind("text"),
    "args": Kind("map"),
    "labels": Kind("map"),
    "tags": Kind("texts"),
    "cache-from": Kind("caches", APPEND),
    "cache-to": Kind("caches"),
    "target": Kind("text"),
    "secret": Kind("secrets", BY_KEY, "id"),
    "ssh": Kind("agents", BY_KEY, "id"),
    "platforms": Kind("texts"),
    "output": Kind("outputs"),
    "pull": Kind("flag"),
    "no-cache": Kind("flag"),
    "network": Kind("text"),
    "no-cache-filter": Kind("texts", APPEND),
    "shm-size": Kind("text"),
    "ulimits": Kind("texts", APPEND),
    "call": Kind("text"),
    "entitlements": Kind("texts", APPEND),
    "extra-hosts": Kind("map"),
}
"""Attributes of a target, in the order in which `--print` shows them."""

NULLABLE: Final = frozenset({"args", "labels", "extra-hosts"})
"""Maps whose values may be null, which leaves them out."""


class Target(NamedTuple):
    """A target: `values` by attribute (str, bool, list of str, dict, list of entries), `places` where they stand."""

    name: str
    values: Mapping[str, Any] = {}
    places: Mapping[str, Location] = {}
    place: Location | None = None

    def text(self, name: str) -> str:
        """Return an attribute that is a text, "" where it is not set."""
        return str(self.values.get(name) or "")

    def list(self, name: str) -> Sequence[Any]:
        """Return an attribute that is a list."""
        found: Sequence[Any] = self.values.get(name) or ()
        return found

    def map(self, name: str) -> Mapping[str, str]:
        """Return an attribute that is a map."""
        found: Mapping[str, str] = self.values.get(name) or {}
        return found

    def at(self, name: str) -> Location | None:
        """Return where an attribute stands, or else the target."""
        return self.places.get(name) or self.place

    def merged(self, other: Target) -> Target:
        """Put another one's attributes over these."""
        values, places = dict(self.values), dict(self.places)
        for name, value in other.values.items():
            known = ATTRIBUTES.get(name)  # what the command line switches on is none
            values[name] = _merged(known, values.get(name), value) if known is not None else value
            if name in other.places:
                places[name] = other.places[name]
        return Target(self.name, values, places, self.place or other.place)

    def with_values(self, **changes: Any) -> Target:
        """Set attributes, spelled with `_` for `-`."""
        return self._replace(values={**self.values, **{name.replace("_", "-"): one for name, one in changes.items()}})


def _merged(kind: Kind, old: Any, new: Any) -> Any:
    if kind.kind == "map":
        return {**(old or {}), **{name: value for name, value in new.items() if value is not None}}
    if old is None:
        return distinct(kind, new) if isinstance(new, list) else new
    if kind.merging == OVERRIDE:
        return distinct(kind, new) if isinstance(new, list) else new
    return distinct(kind, [*old, *new])


def distinct(kind: Kind, items: Iterable[Any]) -> list[Any]:
    """Leave each entry once: of those with one key the last, in the place of the first; empty ones not at all."""
    found: list[Any] = []
    for item in items:
        if item in ("", {}, None):
            continue
        if kind.key:
            same = next((at for at, one in enumerate(found) if one[kind.key] == item[kind.key]), None)
            if same is not None:
                found[same] = item
                continue
        if item not in found:
            found.append(item)
    return found


class TargetGroup(NamedTuple):
    """A group: its targets and groups, by name."""

    name: str
    targets: tuple[str, ...]
    description: str = ""
    place: Location | None = None


def attribute(name: str, value: Value) -> Any:
    """Read the value of an attribute; None where it is null. Raises ValueFault."""
    kind = ATTRIBUTES[name].kind
    if kind in entries.READERS:
        return _entries(kind, value)
    if value.raw is None:
        return None
    if kind == "text":
        return convert(value, STRING).raw
    if kind == "flag":
        return convert(value, BOOL).raw
    if kind == "texts":
        items = convert(value, list_of(STRING)).raw
        if any(item.raw is None for item in items):
            raise ValueFault(
                "a value of the list is null", "leave it out with a condition: [for x in … : x if x != null]"
            )
        return [item.raw for item in items]
    found = {key: item.raw for key, item in convert(value, map_of(STRING)).raw.items()}
    if name not in NULLABLE and None in found.values():
        raise ValueFault("a value is null")
    return found


def _entries(kind: str, value: Value) -> list[EntryFields]:
    if value.raw is None or value.type.kind not in ("list", "set", "tuple"):
        raise ValueFault(f"a list is needed, and this is {described(value.type)}", "write [ … ] around it")
    found: list[EntryFields] = []
    for item in value.raw:
        if item.raw is None:
            raise ValueFault("a value of the list is null")
        given = plain(item)
        if not isinstance(given, str | dict):
            raise ValueFault(f"a text or an object is needed, and this is {described(item.type)}")
        if given != "":
            found += entries.READERS[kind](given)
    return found


def plain(value: Value) -> Any:
    """Give an entry's value as text, with the objects and lists that it is made of."""
    if value.raw is None:
        raise ValueFault("a value is null")
    if isinstance(value.raw, dict):
        return {name: plain(item) for name, item in value.raw.items()}
    if isinstance(value.raw, tuple):
        return [plain(item) for item in value.raw]
    return convert(value, STRING).raw
