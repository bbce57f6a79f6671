"""Compose files as bake files: each service with a `build` section is a target, and all of them are the default group.

The sources are docs.docker.com/reference/compose-file/build, and for what becomes of it
docs.docker.com/build/bake/compose-file.
"""

from __future__ import annotations

import os
import posixpath
import re
from typing import TYPE_CHECKING, Any, Final

from buildah_py.bake import entries
from buildah_py.bake.interpolation import interpolate
from buildah_py.bake.structured import DataMember, DataNode, Members, Number, Replaced, yaml_node
from buildah_py.bake.targets import ATTRIBUTES, Target, TargetGroup, distinct
from buildah_py.bake.values import ValueFault
from buildah_py.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildah_py.bake.syntax import Location
    from buildah_py.source_text import Source

    Read = Callable[[str, Location], Source]

_BUILD: Final = frozenset({
    "context", "dockerfile", "dockerfile_inline", "args", "target", "cache_from", "cache_to", "secrets", "ssh", "tags",
    "platforms", "additional_contexts", "labels", "network", "shm_size", "ulimits", "extra_hosts", "no_cache", "pull",
    "privileged", "entitlements", "isolation", "provenance", "sbom",
})  # fmt: skip
_MAPS: Final = frozenset({"args", "labels", "additional_contexts", "extra_hosts", "ssh"})
_XBAKE: Final = {
    "tags": "tags", "cache-from": "cache-from", "cache-to": "cache-to", "secret": "secret", "ssh": "ssh",
    "platforms": "platforms", "output": "output", "pull": "pull", "no-cache": "no-cache",
    "no-cache-filter": "no-cache-filter", "contexts": "contexts",
}  # fmt: skip
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)(?:i?b)?", re.IGNORECASE)
_DEEPEST: Final = 20


class ComposeFiles:
    """Compose files that are merged; `read` reads further ones by their paths, for `extends` and `include`."""

    def __init__(self, environ: Mapping[str, str], read: Read) -> None:
        self._environ = environ
        self._read = read
        self.unknown: list[tuple[Location, str]] = []

    def load(self, sources: Sequence[Source]) -> tuple[list[TargetGroup], list[Target]]:
        """Read files, of which later ones come over earlier ones. Raises BuildFileError."""
        merged: DataNode | None = None
        for source in sources:
            node = self._file(source, "", 0)
            merged = node if merged is None else _merge(merged, node, ())
        assert merged is not None
        merged = _settled(merged)
        secrets = _map(_get(merged, "secrets"))
        services = _map(_get(merged, "services"))
        targets: list[Target] = []
        for member in services.values():
            target = self._target(member, secrets, services)
            if target is not None:
                targets.append(target)
        if not services:
            return [], []
        names = tuple(sorted(target.name for target in targets))
        return [TargetGroup("default", names)], targets

    def _file(self, source: Source, directory: str, depth: int) -> DataNode:
        """Read a file with what it includes; paths in there begin at `directory`."""
        node = self._filled(yaml_node(source))
        if not isinstance(node.value, Members):
            node.place.fail("a Compose file is an object", "write services:")
        services: list[DataMember] = []
        found = _map(_get(node, "services"))
        for member in found.values():
            extended = self._extended(member.value, found, directory, depth)
            services.append(DataMember(member.key, _with_directory(extended, directory)))
        secrets = [
            DataMember(one.key, _with_secret_directory(one.value, directory))
            for one in _map(_get(node, "secrets")).values()
        ]
        own = DataNode(
            node.place,
            Members(
                (
                    DataMember(DataNode(node.place, "services"), DataNode(node.place, Members(tuple(services)))),
                    DataMember(DataNode(node.place, "secrets"), DataNode(node.place, Members(tuple(secrets)))),
                )
            ),
        )
        includes = _get(node, "include")
        if includes is None:
            return own
        merged: DataNode | None = None
        for item in includes.value if isinstance(includes.value, list) else [includes]:
            for path in self._paths(item):
                included = self._include(path, item, directory, depth)
                merged = included if merged is None else _merge(merged, included, ())
        return own if merged is None else _merge(merged, own, ())

    def _paths(self, item: DataNode) -> list[DataNode]:
        if isinstance(item.value, Members):
            path = _get(item, "path")
            if path is None:
                item.place.fail("an include needs a path")
            return path.value if isinstance(path.value, list) else [path]
        return [item]

    def _include(self, path: DataNode, item: DataNode, directory: str, depth: int) -> DataNode:
        if depth > _DEEPEST:
            path.place.fail("files include one another without end")
        where = posixpath.join(directory, _text(path, "a path"))
        source = self._read(where, path.place)
        base = _get(item, "project_directory") if isinstance(item.value, Members) else None
        inside = posixpath.join(directory, _text(base, "a path")) if base is not None else posixpath.dirname(where)
        return self._file(source, inside, depth + 1)

    def _extended(self, service: DataNode, services: Mapping[str, DataMember], directory: str, depth: int) -> DataNode:
        extends = _get(service, "extends") if isinstance(service.value, Members) else None
        if extends is None:
            return service
        if depth > _DEEPEST:
            extends.place.fail("services extend one another without end")
        file = None
        if isinstance(extends.value, Members):
            wanted, file = _get(extends, "service"), _get(extends, "file")
            if wanted is None:
                extends.place.fail("`extends` needs a service")
        else:
            wanted = extends
        name = _text(wanted, "a service")
        if file is not None:
            where = posixpath.join(directory, _text(file, "a path"))
            node = self._filled(yaml_node(self._read(where, file.place)))
            others = _map(_get(node, "services"))
            inside = posixpath.relpath(posixpath.dirname(where) or ".", directory or ".")
            inside = "" if inside == "." else inside
        else:
            others, inside = dict(services), ""
        if name not in others:
            wanted.place.fail(f"there is no service `{name}`", did_you_mean(name, others))
        base = self._extended(others[name].value, others, posixpath.join(directory, inside), depth + 1)
        return _merge(_with_directory(base, inside), _without(service, "extends"), ())

    def _filled(self, node: DataNode) -> DataNode:
        """Fill in variables of all values."""
        place, value = node
        if isinstance(value, str):
            try:
                return DataNode(place, interpolate(value, self._environ))
            except ValueFault as fault:
                raise place.error(fault.message, fault.hint) from None
        if isinstance(value, list):
            return DataNode(place, [self._filled(item) for item in value])
        if isinstance(value, Replaced):
            return DataNode(place, Replaced(None if value.node is None else self._filled(value.node)))
        if isinstance(value, Members):
            return DataNode(place, Members(tuple(DataMember(one.key, self._filled(one.value)) for one in value.items)))
        return node

    # targets

    def _target(
        self, member: DataMember, secrets: Mapping[str, DataMember], services: Mapping[str, DataMember]
    ) -> Target | None:
        service = member.value
        if service.value is None:
            return None
        build = _get(service, "build")
        if build is None:
            return None
        place = build.place
        values: dict[str, Any] = {}
        if isinstance(build.value, str):
            build = _members_of(place, {"context": build})
        if not isinstance(build.value, Members):
            place.fail("`build` is a directory, or an object")
        given = {one.key.value: one.value for one in build.value.items}
        for one in build.value.items:
            if one.key.value not in _BUILD and not one.key.value.startswith("x-"):
                one.key.place.fail(f"`{one.key.value}` is not a part of `build`", did_you_mean(one.key.value, _BUILD))
        reader = _Reader(given)
        for name, attribute in (("dockerfile", "dockerfile"), ("dockerfile_inline", "dockerfile-inline"),
                                ("target", "target"), ("network", "network")):  # fmt: skip
            if (text := reader.text(name)) is not None:
                values[attribute] = text
        if (context := reader.text("context")) is not None:
            values["context"] = _path(context)
        values["args"] = self._args(reader, service)
        values["labels"] = {key: one or "" for key, one in reader.map("labels").items()}
        values["extra-hosts"] = _hosts(given.get("extra_hosts"))
        values["contexts"] = self._contexts(given.get("additional_contexts"), services)
        image = _get(service, "image")
        values["tags"] = reader.texts("tags") or ([_text(image, "an image")] if image is not None else [])
        values["platforms"] = reader.texts("platforms")
        for name, attribute in (("cache_from", "cache-from"), ("cache_to", "cache-to")):
            values[attribute] = [one for text, at in reader.placed(name) for one in _read_entry("caches", text, at)]
        values["secret"] = self._secrets(given.get("secrets"), secrets)
        values["ssh"] = _agents(given.get("ssh"))
        for name, attribute in (("no_cache", "no-cache"), ("pull", "pull")):
            if reader.flag(name):
                values[attribute] = True
        if (size := given.get("shm_size")) is not None:
            values["shm-size"] = _size(size)
        values["ulimits"] = _ulimits(given.get("ulimits"))
        values["entitlements"] = [*reader.texts("entitlements")]
        if values.get("network") == "host":
            values["entitlements"].append("network.host")
        if reader.flag("privileged"):
            values["entitlements"].append("security.insecure")
        if reader.text("isolation") not in (None, "", "default"):
            self.unknown.append((given["isolation"].place, "`isolation` of builds"))
        values["attest"] = [
            entry for name in ("sbom", "provenance") if (entry := _attestation(name, given.get(name))) is not None
        ]
        if (extra := given.get("x-bake")) is not None:
            self._extra(extra, values, image is not None and "tags" not in given)
        left = {
            key: distinct(ATTRIBUTES[key], one) if isinstance(one, list) else one
            for key, one in values.items()
            if one not in (None, [], {})
        }
        return Target(_name(member.key.value), left, {}, member.key.place)

    def _args(self, reader: _Reader, service: DataNode) -> dict[str, str]:
        found: dict[str, str] = {}
        environment = _Reader({"environment": one} if (one := _get(service, "environment")) is not None else {})
        own = environment.map("environment")
        for key, value in reader.map("args").items():
            known = value if value is not None else own.get(key)
            known = known if known is not None else self._environ.get(key)
            if known is not None:
                found[key] = known
        return found

    def _contexts(self, node: DataNode | None, services: Mapping[str, DataMember]) -> dict[str, str]:
        found: dict[str, str] = {}
        for key, value, place in _pairs(node):
            text = value or ""
            if text.startswith("service:"):
                name = text.removeprefix("service:")
                if name not in services:
                    place.fail(f"there is no service `{name}`", did_you_mean(name, services))
                text = f"target:{_name(name)}"
            elif not re.match(r"[a-z][a-z+.-]*:", text):
                text = _path(text)
            found[key] = text
        return found

    def _secrets(self, node: DataNode | None, secrets: Mapping[str, DataMember]) -> list[entries.EntryFields]:
        found: list[entries.EntryFields] = []
        for item in _list(node):
            source = _get(item, "source") if isinstance(item.value, Members) else item
            if source is None:
                item.place.fail("a secret needs a `source`")
            name = _text(source, "a secret")
            if name not in secrets:
                item.place.fail(f"there is no secret `{name}`", did_you_mean(name, secrets) or "declare it in secrets:")
            about = secrets[name].value
            file, variable = _get(about, "file"), _get(about, "environment")
            if file is None and variable is None:
                about.place.fail(f"the secret `{name}` is neither a file nor a variable of the environment")
            if variable is not None:
                found.append({"id": name, "env": _text(variable, "a variable")})
            else:
                found.append({"id": name, "src": _path(_text(file, "a path"))})
        return found

    def _extra(self, node: DataNode, values: dict[str, Any], image_only: bool) -> None:
        """Read `x-bake`."""
        for key, item in _map(node).items():
            if key not in _XBAKE:
                hint = "" if key not in ATTRIBUTES else " there"
                self.unknown.append((item.key.place, f"`{key}` of x-bake{hint}"))
                continue
            kind = ATTRIBUTES[key].kind
            given = item.value
            if kind == "map":
                values[key] = {**values[key], **{name: one or "" for name, one, _ in _pairs(given)}}
                continue
            if kind == "flag":
                values[key] = _flag(given)
                continue
            items = _list(given) if isinstance(given.value, list) else [given]
            if kind == "texts":
                old = [] if key == "tags" and image_only else values.get(key) or []
                values[key] = [*old, *(_text(one, "a text") for one in items)]
                continue
            read = [entry for one in items for entry in _read_entry(kind, _plain(one), one.place)]
            values[key] = [*(values.get(key) or ()), *read]


class _Reader:
    """The members of a section, read as what they have to be."""

    def __init__(self, given: Mapping[str, DataNode]) -> None:
        self._given = given

    def text(self, name: str) -> str | None:
        node = self._given.get(name)
        return None if node is None or node.value is None else _text(node, f"`{name}`")

    def placed(self, name: str) -> list[tuple[str, Location]]:
        return [(_text(item, f"`{name}`"), item.place) for item in _list(self._given.get(name))]

    def texts(self, name: str) -> list[str]:
        return [text for text, _ in self.placed(name)]

    def flag(self, name: str) -> bool:
        node = self._given.get(name)
        return node is not None and _flag(node)

    def map(self, name: str) -> dict[str, str | None]:
        return {key: value for key, value, _ in _pairs(self._given.get(name))}


def _flag(node: DataNode) -> bool:
    if isinstance(node.value, bool):
        return node.value
    if str(node.value).lower() in ("true", "false"):
        return str(node.value).lower() == "true"
    return node.place.fail("this is neither true nor false")


def _text(node: DataNode | None, what: str) -> str:
    assert node is not None
    if isinstance(node.value, str):
        return node.value
    if isinstance(node.value, bool):
        return "true" if node.value else "false"
    if isinstance(node.value, Number):
        return node.value.text
    return node.place.fail(f"{what} is a text")


def _list(node: DataNode | None) -> list[DataNode]:
    if node is None or node.value is None:
        return []
    if not isinstance(node.value, list):
        node.place.fail("this is a list")
    items: list[DataNode] = node.value
    return items


def _pairs(node: DataNode | None) -> list[tuple[str, str | None, Location]]:
    """Read a map, or a list of `key=value`s."""
    if node is None or node.value is None:
        return []
    if isinstance(node.value, list):
        found = []
        for item in node.value:
            key, equals, value = _text(item, "an entry").partition("=")
            found.append((key, value if equals else None, item.place))
        return found
    if not isinstance(node.value, Members):
        node.place.fail("this is an object, or a list of `key=value`s")
    return [
        (one.key.value, None if one.value.value is None else _text(one.value, f"`{one.key.value}`"), one.value.place)
        for one in node.value.items
    ]


def _plain(node: DataNode) -> Any:
    if isinstance(node.value, Members):
        return {one.key.value: _plain(one.value) for one in node.value.items}
    return _text(node, "an entry")


def _read_entry(kind: str, given: Any, place: Location) -> list[entries.EntryFields]:
    try:
        return entries.READERS[kind](given) if given else []
    except ValueFault as fault:
        raise place.error(fault.message, fault.hint) from None


def _hosts(node: DataNode | None) -> dict[str, str]:
    if node is None or isinstance(node.value, Members):
        return {key: value or "" for key, value, _ in _pairs(node)}
    found: dict[str, str] = {}
    for item in _list(node):
        host, separator, address = (
            re.split("([=:])", _text(item, "a host"), maxsplit=1)
            if re.search("[=:]", _text(item, "a host"))
            else (_text(item, "a host"), "", "")
        )
        if not separator:
            item.place.fail("a host is `name:address`")
        found[host] = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    return found


def _agents(node: DataNode | None) -> list[entries.EntryFields]:
    found: list[entries.EntryFields] = []
    for key, value, _ in _pairs(node):
        found.append({"id": key, "paths": [value]} if value else {"id": key})
    return found


def _attestation(name: str, node: DataNode | None) -> entries.EntryFields | None:
    if node is None or node.value is None:
        return None
    try:
        return entries.attestation_of(name, _text(node, f"`{name}`"))
    except ValueFault as fault:
        raise node.place.error(fault.message, fault.hint) from None


def _ulimits(node: DataNode | None) -> list[str]:
    found: list[str] = []
    for key, item in _map(node).items():
        if isinstance(item.value.value, Members):
            soft, hard = _get(item.value, "soft"), _get(item.value, "hard")
            if soft is None or hard is None:
                item.value.place.fail(f"the limit `{key}` needs soft and hard")
            found.append(f"{key}={_text(soft, 'a limit')}:{_text(hard, 'a limit')}")
        else:
            found.append(f"{key}={_text(item.value, 'a limit')}")
    return found


def _size(node: DataNode) -> str:
    """Write a size as docker does: with four digits at most, and a unit of 1024s."""
    text = _text(node, "a size")
    found = _SIZE.fullmatch(text)
    if not found:
        node.place.fail(f"`{text}` is not a size", "write something like 128m")
    size = float(found[1]) * 1024 ** " kmgtp".index((found[2] or " ").lower())
    size = float(int(size))
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            return f"{size:.4g}{unit}"
        size /= 1024
    return f"{size:.4g}PiB"


def _name(service: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_-]", "_", service)


def _path(text: str) -> str:
    if re.match(r"[a-z][a-z0-9+.-]*://|git@|[a-z-]+:[^/]", text) and not text.startswith("."):
        return text
    return posixpath.normpath(os.path.expanduser(text)) if text else text


# nodes


def _get(node: DataNode | None, name: str) -> DataNode | None:
    if node is None or node.value is None:
        return None
    if not isinstance(node.value, Members):
        node.place.fail("this is an object")
    return next((one.value for one in node.value.items if one.key.value == name), None)


def _map(node: DataNode | None) -> dict[str, DataMember]:
    if node is None or node.value is None:
        return {}
    if not isinstance(node.value, Members):
        node.place.fail("this is an object")
    return {one.key.value: one for one in node.value.items}


def _without(node: DataNode, name: str) -> DataNode:
    items = tuple(one for one in node.value.items if one.key.value != name)
    return DataNode(node.place, Members(items))


def _members_of(place: Location, items: Mapping[str, DataNode]) -> DataNode:
    return DataNode(place, Members(tuple(DataMember(DataNode(place, name), value) for name, value in items.items())))


def _changed(node: DataNode, name: str, change: Callable[[DataNode], DataNode]) -> DataNode:
    """Change one member of an object, where there is one."""
    if not isinstance(node.value, Members):
        return node
    return DataNode(
        node.place,
        Members(
            tuple(DataMember(one.key, change(one.value)) if one.key.value == name else one for one in node.value.items)
        ),
    )


def _with_directory(service: DataNode, directory: str) -> DataNode:
    """Have the paths of a service's build begin at a directory."""
    if not directory:
        return service

    def joined(node: DataNode) -> DataNode:
        if not isinstance(node.value, str) or (node.value != _path(node.value) and "://" in node.value):
            return node
        is_url = re.match(r"[a-z][a-z0-9+.-]*://|git@|[a-z-]+:[^/]", node.value) and not node.value.startswith(".")
        return node if is_url else DataNode(node.place, posixpath.join(directory, node.value))

    def contexts(node: DataNode) -> DataNode:
        if not isinstance(node.value, Members):
            return node
        return DataNode(node.place, Members(tuple(DataMember(one.key, joined(one.value)) for one in node.value.items)))

    def build(node: DataNode) -> DataNode:
        if isinstance(node.value, str):
            return joined(node)
        if isinstance(node.value, Members) and _get(node, "context") is None:
            context = DataMember(DataNode(node.place, "context"), DataNode(node.place, "."))
            node = DataNode(node.place, Members((context, *node.value.items)))
        return _changed(_changed(node, "context", joined), "additional_contexts", contexts)

    return _changed(service, "build", build)


def _with_secret_directory(secret: DataNode, directory: str) -> DataNode:
    if not directory:
        return secret
    return _changed(secret, "file", lambda node: DataNode(node.place, posixpath.join(directory, _text(node, "a path"))))


def _merge(old: DataNode, new: DataNode, path: tuple[str, ...]) -> DataNode:
    """Put a file's values over another's: objects by their keys, lists one behind the other, all else in its place."""
    if isinstance(new.value, Replaced):
        return DataNode(new.place, None) if new.value.node is None else new.value.node
    key = path[-1] if path else ""
    if key == "build":
        old, new = (
            _members_of(one.place, {"context": one}) if isinstance(one.value, str) else one for one in (old, new)
        )
    if key in _MAPS:
        old, new = (_as_members(one, hosts=key == "extra_hosts") for one in (old, new))
    if isinstance(old.value, Members) and isinstance(new.value, Members):
        items = _map(old)
        for member in new.value.items:
            name = member.key.value
            value = _merge(items[name].value, member.value, (*path, name)) if name in items else member.value
            if isinstance(value.value, Replaced):
                value = value.value.node or DataNode(value.place, None)
            items[name] = DataMember(member.key, value)
        return DataNode(new.place, Members(tuple(items.values())))
    if isinstance(old.value, list) and isinstance(new.value, list) and key not in ("command", "entrypoint"):
        return DataNode(new.place, [*old.value, *new.value])
    return new


def _settled(node: DataNode) -> DataNode:
    """Leave out what `!reset` takes away, where nothing was merged."""
    value = node.value
    if isinstance(value, Replaced):
        return DataNode(node.place, None) if value.node is None else _settled(value.node)
    if isinstance(value, list):
        return DataNode(node.place, [_settled(item) for item in value])
    if isinstance(value, Members):
        return DataNode(node.place, Members(tuple(DataMember(one.key, _settled(one.value)) for one in value.items)))
    return node


def _as_members(node: DataNode, *, hosts: bool) -> DataNode:
    if not isinstance(node.value, list):
        return node
    if hosts:
        return _members_of(node.place, {key: DataNode(node.place, value) for key, value in _hosts(node).items()})
    return _members_of(node.place, {key: DataNode(place, value) for key, value, place in _pairs(node)})
