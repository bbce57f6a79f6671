"""`--build-context NAME=VALUE`: what further contexts are."""

from __future__ import annotations

from typing import Literal, NamedTuple

from buildah_py.errors import UsageError
from buildah_py.sources.urls import kind_of, redact

Kind = Literal["directory", "git", "http", "image", "layout", "target"]

_PREFIXES: tuple[tuple[str, Kind], ...] = (
    ("docker-image://", "image"),
    ("oci-layout://", "layout"),
    ("target:", "target"),
)


class NamedContext(NamedTuple):
    """A named context: `location` is a path, a URL, an image reference, `PATH[:TAG|@DIGEST]` or a stage's name.

    `platform` (`os/arch[/variant]`) is what the name was given for, empty for all.
    """

    name: str
    kind: Kind
    location: str
    platform: str = ""


def parse_named(text: str) -> NamedContext:
    """Read `NAME[::PLATFORM]=VALUE`; raises UsageError."""
    key, equals, value = text.partition("=")
    name, _, platform = key.partition("::")
    if not equals or not name or not value:
        raise UsageError(
            f"--build-context {redact(text)} is not NAME=VALUE",
            hint="for example --build-context assets=../assets or base=docker-image://debian:12",
        )
    name = name.lower()
    for prefix, kind in _PREFIXES:
        if value.startswith(prefix):
            location = value.removeprefix(prefix)
            if not location:
                raise UsageError(f"--build-context {text}: nothing follows {prefix}")
            return NamedContext(name, kind, location, platform)
    found = kind_of(value)
    if found == "path":
        if "://" in value:
            raise UsageError(
                f"--build-context {redact(text)}: contexts of that kind are not known",
                hint="known are directories, docker-image://, oci-layout://, target:, http(s) and git URLs",
            )
        return NamedContext(name, "directory", value, platform)
    return NamedContext(name, found, value, platform)
