"""From what files say to what is built: groups taken apart, targets with what they inherit and what overrides say."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from buildah_py.bake.overriding import Override, matches, override
from buildah_py.bake.targets import ATTRIBUTES, Target, TargetGroup, distinct
from buildah_py.errors import NotFound, PybuildError, UsageError
from buildah_py.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from buildah_py.bake.definition import Evaluated
    from buildah_py.bake.syntax import Location

DEFAULT: Final = "default"
TARGET: Final = "target:"
CWD: Final = "cwd://"
_DEEPEST: Final = 200
_NOT_PUSHED: Final = ("local", "tar", "oci", "cacheonly")
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://|git@|github\.com/|[a-z-]+:[^/]")


class Baked(NamedTuple):
    """Targets that are built, by name, and `groups` as they are shown; `asked` are those that were asked for by name.

    The others are there because contexts of others name them.
    """

    groups: Mapping[str, TargetGroup]
    targets: Mapping[str, Target]
    asked: tuple[str, ...]


def resolve(
    evaluated: Evaluated, names: Sequence[str], overrides: Sequence[Override], *, fetched: bool = False
) -> Baked:
    """Find all that names ask for; `fetched` says that paths which begin with cwd:// are others than those without.

    Raises NotFound, BuildFileError, UsageError.
    """
    return _Resolver(evaluated, overrides, fetched).baked(names)


class _Resolver:
    def __init__(self, evaluated: Evaluated, overrides: Sequence[Override], fetched: bool) -> None:
        self._fetched = fetched
        self._groups = evaluated.groups
        self._targets = evaluated.targets
        self._overrides = overrides
        self._done: dict[str, Target] = {}
        self._of_groups: dict[str, list[str]] = {}
        for one in overrides:
            if not any(matches(one.pattern, name) for name in self._targets):
                hint = did_you_mean(one.pattern, self._targets) or f"targets: {', '.join(sorted(self._targets))}"
                raise UsageError(f"--set {one.text}: there is no target `{one.pattern}`", hint=hint)

    def baked(self, names: Sequence[str]) -> Baked:
        names = self._expanded(names or (DEFAULT,))
        shown: list[str] = []
        asked: dict[str, None] = {}
        groups: dict[str, TargetGroup] = {}
        for name in names:
            group = self._groups.get(name)
            if name == DEFAULT and group is not None:
                shown += group.targets
            else:
                shown.append(name)
            asked.update(dict.fromkeys(self._members(name, (), groups, None)))
        own = groups.pop(DEFAULT, None)
        description = own.description if own is not None else ""
        groups[DEFAULT] = TargetGroup(DEFAULT, tuple(sorted(set(shown))), description)
        targets = {name: self._finished(name) for name in asked}
        self._link(targets)
        return Baked(dict(sorted(groups.items())), dict(sorted(targets.items())), tuple(asked))

    def _expanded(self, names: Sequence[str]) -> list[str]:
        """Take patterns for the targets that they match."""
        found: list[str] = []
        for name in names:
            if any(char in name for char in "*?[") and name not in self._targets:
                matching = sorted(one for one in self._targets if matches(name, one))
                if not matching:
                    raise NotFound(f"no target matches `{name}`", hint=f"targets: {', '.join(sorted(self._targets))}")
                found += matching
            else:
                found.append(name)
        return found

    def _members(
        self, name: str, path: tuple[str, ...], groups: dict[str, TargetGroup], place: Location | None
    ) -> list[str]:
        """Take a group apart."""
        group = self._groups.get(name)
        if group is None or (path and path[-1] == name):
            if name not in self._targets:
                self._unknown(name, place)
            return [name]
        if name in path:
            circle = " → ".join([*path[path.index(name) :], name])
            self._fail(place or group.place, f"the group `{name}` contains itself: {circle}")
        if name not in groups:
            groups[name] = group
            longer = self._longer(path, name, group.place)
            found = [one for member in group.targets for one in self._members(member, longer, groups, group.place)]
            self._of_groups[name] = list(dict.fromkeys(found))
        return self._of_groups[name]

    def _unknown(self, name: str, place: Location | None, what: str = "target") -> NoReturn:
        known = sorted({*self._targets, *self._groups})
        hint = did_you_mean(name, known) or f"there are: {', '.join(known)}"
        if place is not None:
            place.fail(f"there is no {what} `{name}`", hint)
        raise NotFound(f"there is no {what} `{name}`", hint=hint)

    def _fail(self, place: Location | None, message: str, hint: str = "") -> NoReturn:
        if place is not None:
            place.fail(message, hint)
        raise PybuildError(message, hint=hint)

    def _longer(self, path: tuple[str, ...], name: str, place: Location | None) -> tuple[str, ...]:
        if len(path) >= _DEEPEST:
            self._fail(place, f"more than {_DEEPEST} targets and groups lead to one another")
        return (*path, name)

    def _inherited(self, name: str, path: tuple[str, ...], place: Location | None) -> Target:
        """Give a target over all that it inherits."""
        if name in self._done:
            return self._done[name]
        if name not in self._targets:
            self._unknown(name, place)
        if name in path:
            circle = " → ".join([*path[path.index(name) :], name])
            self._fail(place, f"the target `{name}` inherits itself: {circle}")
        target = self._targets[name]
        found = Target(name)
        for parent in target.list("inherits"):
            found = found.merged(self._inherited(parent, self._longer(path, name, target.place), target.at("inherits")))
        found = override(found.merged(target)._replace(name=name, place=target.place), self._overrides)
        values: dict[str, Any] = {
            key: distinct(ATTRIBUTES[key], value) if isinstance(value, list) else value
            for key, value in found.values.items()
            if key != "inherits"
        }
        if "contexts" in values:
            values["contexts"] = {key: value for key, value in values["contexts"].items() if value}
        self._done[name] = found._replace(values=values)
        return self._done[name]

    def _finished(self, name: str) -> Target:
        target = self._inherited(name, (), None)
        values = {key: value for key, value in target.values.items() if not key.endswith("!")}
        context = target.text("context") or "."
        for key, value in (("context", context), ("dockerfile", target.text("dockerfile"))):
            if value == "-":
                self._fail(target.at(key), f"the {key} of `{name}` is the standard input, which several could not read")
        values["context"] = _cleaned(context if self._fetched else context.removeprefix(CWD) or ".")
        values["dockerfile"] = target.text("dockerfile") or "Dockerfile"
        values["output"] = _outputs(target)
        return target._replace(values=values)

    def _link(self, targets: dict[str, Target]) -> None:
        """Add the targets that are contexts of others. Raises BuildFileError for circles."""
        waiting = list(targets)
        while waiting:
            name = waiting.pop()
            target = targets[name]
            for value in target.map("contexts").values():
                if not value.startswith(TARGET):
                    continue
                other = value.removeprefix(TARGET)
                if other not in self._targets:
                    self._unknown(other, target.at("contexts"))
                if other not in targets:
                    linked = self._finished(other)
                    targets[other] = linked.with_values(output=[{"type": "cacheonly"}])
                    waiting.append(other)
        fine: set[str] = set()
        for name in list(targets):
            self._check_circle(name, (), targets, fine)

    def _check_circle(self, name: str, path: tuple[str, ...], targets: Mapping[str, Target], fine: set[str]) -> None:
        if name in fine:
            return
        if name in path:
            circle = " → ".join([*path[path.index(name) :], name])
            self._fail(targets[path[-1]].at("contexts"), f"the target `{name}` is built from itself: {circle}")
        for value in targets[name].map("contexts").values():
            if value.startswith(TARGET):
                self._check_circle(
                    value.removeprefix(TARGET), self._longer(path, name, targets[name].place), targets, fine
                )
        fine.add(name)


def _cleaned(context: str) -> str:
    return context if _URL.match(context) else posixpath.normpath(context)


def _outputs(target: Target) -> list[dict[str, str]]:
    """Give the outputs of a target with what `--push` and `--load` add, where that goes together."""
    found = [dict(one) for one in target.list("output")]
    types = [one["type"] for one in found]
    if target.values.get("load!"):
        to_engine = any(one["type"] == "docker" and not one.get("dest") for one in found)
        if not to_engine and not any(kind in ("local", "tar", "cacheonly") for kind in types):
            found.append({"type": "docker"})
    if target.values.get("push!"):
        for one in found:
            if one["type"] == "image":
                one["push"] = "true"
        if not any(kind in (*_NOT_PUSHED, "image", "registry") for kind in types):
            found.append({"type": "image", "push": "true"})
    return found


def build_order(targets: Mapping[str, Target]) -> list[str]:
    """Order targets so that each stands behind those that its contexts name."""
    found: dict[str, None] = {}

    def add(name: str) -> None:
        if name in found:
            return
        for value in targets[name].map("contexts").values():
            if value.startswith(TARGET):
                add(value.removeprefix(TARGET))
        found[name] = None

    for name in targets:
        add(name)
    return list(found)
