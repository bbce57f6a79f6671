"""Rights that targets need beyond building from the working directory: they are for the command line to allow."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.bake.resolving import TARGET
from buildah_py.buildfile.remote import kind_of
from buildah_py.errors import UsageError
from buildah_py.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from buildah_py.bake.home import Home
    from buildah_py.bake.targets import Target

ENTITLEMENTS: Final = ("network.host", "security.insecure", "device")
SWITCH: Final = "BUILDX_BAKE_ENTITLEMENTS_FS"
_SPELLINGS: Final = {"fs": ("read", "write"), "fs.read": ("read",), "fs.write": ("write",)}
_WORDS: Final = (*ENTITLEMENTS, "ssh", *_SPELLINGS)


class Allowed(NamedTuple):
    """Rights that `--allow` gives: rights, and directories that may be read or written beside the working directory."""

    rights: frozenset[str]
    read: tuple[str, ...]
    write: tuple[str, ...]


class Need(NamedTuple):
    """One thing that a target needs: the `--allow` that gives it, and the attribute that asks for it."""

    allow: str
    attribute: str
    what: str


def parse_allowed(words: Iterable[str]) -> Allowed:
    """Read `--allow`s: a right, or fs=PATH, fs.read=PATH, fs.write=PATH with `*` for all. Raises UsageError."""
    rights: set[str] = set()
    places: dict[str, list[str]] = {"read": [], "write": []}
    for word in words:
        name, equals, value = word.partition("=")
        if name not in _WORDS or bool(equals) != (name in _SPELLINGS or (name == "device" and bool(equals))):
            hint = did_you_mean(name, _WORDS) or f"there are {', '.join(_WORDS)}"
            raise UsageError(f"--allow {word}: there is no such right", hint=hint)
        if name not in _SPELLINGS:
            rights.add(name)
        for way in _SPELLINGS.get(name, ()):
            places[way].append("*" if value == "*" else os.path.realpath(value))
    return Allowed(frozenset(rights), tuple(places["read"]), tuple(places["write"]))


def refuse(targets: Iterable[Target], home: Home, allowed: Allowed, environ: Mapping[str, str]) -> None:
    """Refuse what targets need and nobody has allowed: all of it at once. Raises UsageError."""
    own = os.path.realpath(home.directory or ".")
    wanted: dict[str, str] = {}
    for target in targets:
        for need in _needs(target, home):
            way, equals, path = need.allow.partition("=")
            if not equals:
                fine = need.allow in allowed.rights
            else:
                places = allowed.read if way == "fs.read" else allowed.write
                mine = [own] if not home.url else []
                real = os.path.realpath(path)
                fine = environ.get(SWITCH) == "0" or "*" in places
                fine = fine or any(os.path.commonpath([place, real]) == place for place in (*mine, *places))
            if not fine:
                place = target.at(need.attribute)
                where = f" ({place})" if place is not None else ""
                wanted.setdefault(need.allow, f"the target `{target.name}` {need.what}{where}")
    if wanted:
        raise UsageError(
            "\n  ".join(["what the bake file asks for has to be allowed:", *wanted.values()]),
            hint="if that is meant, add " + " ".join(f"--allow {one}" for one in wanted),
        )


def _needs(target: Target, home: Home) -> Iterator[Need]:
    for right in target.list("entitlements"):
        yield Need(right, "entitlements", f"asks for {right}")
    if target.text("network") == "host":
        yield Need("network.host", "network", "has the network of this machine")
    if target.list("ssh") and home.url:
        yield Need("ssh", "ssh", "uses an ssh agent, and its definition was fetched")
    for attribute, path in _read(target, home):
        if kind_of(path) == "path":
            yield Need(f"fs.read={path}", attribute, f"reads {path}")
    for attribute, path in _written(target):
        yield Need(f"fs.write={path}", attribute, f"writes {path}")


def _read(target: Target, home: Home) -> Iterator[tuple[str, str]]:
    context = _path(home, target.text("context"))
    yield "context", context
    if not target.text("dockerfile-inline"):
        dockerfile = target.text("dockerfile")
        if dockerfile.startswith("cwd://"):
            yield "dockerfile", home.path(dockerfile)
        elif kind_of(context) == "path":
            yield "dockerfile", os.path.join(context, dockerfile)
    for value in target.map("contexts").values():
        if value.startswith("oci-layout://"):
            yield "contexts", value.removeprefix("oci-layout://").partition("@")[0]
        elif "://" not in value.removeprefix("cwd://") and not value.startswith(TARGET):
            yield "contexts", _path(home, value)
    for entry in target.list("secret"):
        if "src" in entry:
            yield "secret", os.path.expanduser(entry["src"])
    for agent in target.list("ssh"):
        yield from (("ssh", path) for path in agent.get("paths", ()))
    for entry in target.list("cache-from"):
        if entry.get("type") == "local" and "src" in entry:
            yield "cache-from", entry["src"]


def _path(home: Home, text: str) -> str:
    return text if kind_of(text) != "path" or text.startswith("github.com/") else home.path(text)


def _written(target: Target) -> Iterator[tuple[str, str]]:
    for name in ("output", "cache-to"):
        for entry in target.list(name):
            if entry.get("dest", "-") != "-":
                yield name, entry["dest"]
