"""`--build-context NAME=VALUE`: what further contexts are."""

from __future__ import annotations

from buildah_py.buildfile.named import ContextKind, NamedContext, context_name
from buildah_py.buildfile.remote import kind_of
from buildah_py.errors import UsageError
from buildah_py.image import platform as platforms
from buildah_py.sources.urls import redact

_PREFIXES: tuple[tuple[str, ContextKind], ...] = (
    ("docker-image://", "image"),
    ("oci-layout://", "layout"),
    ("target:", "target"),
)


def parse_named(text: str) -> NamedContext:
    """Read `NAME[::PLATFORM]=VALUE`; raises UsageError."""
    key, equals, value = text.partition("=")
    name, _, platform = key.partition("::") if not key.startswith("[") else (key, "", "")  # an IPv6 address
    if not equals or not name or not value:
        raise UsageError(
            f"--build-context {redact(text)} is not NAME=VALUE",
            hint="for example --build-context assets=../assets or base=docker-image://debian:12",
        )
    name = context_name(name)
    if platform:
        platform = str(platforms.parse(platform))
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
