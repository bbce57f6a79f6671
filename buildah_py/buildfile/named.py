"""Named contexts: names in FROM, --from and from= that the command line gives another meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from buildah_py.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

ContextKind = Literal["directory", "git", "http", "image", "layout", "target"]


class NamedContext(NamedTuple):
    """A named context: `location` is a path, a URL, an image reference, `PATH[:TAG][@DIGEST]` or a stage's name.

    `name` is as `context_name` gives it, `platform` (`os/arch[/variant]`) what it was given for, empty for all.
    """

    name: str
    kind: ContextKind
    location: str
    platform: str = ""

    @property
    def key(self) -> str:
        """Name and platform, which tell it from all others of a build."""
        return f"{self.name}::{self.platform}" if self.platform else self.name


def context_name(name: str) -> str:
    """Normalise the name of an image, stage or context: `docker.io/library/busybox:latest` is `busybox`."""
    from buildah_py.image import reference

    try:
        return reference.parse(name).familiar.removesuffix(f":{reference.DEFAULT_TAG}")
    except UsageError:
        return name.lower()


def find_named(contexts: Mapping[str, NamedContext], name: str, platform: str) -> NamedContext | None:
    """Find what the command line gives in place of `name`; `contexts` are by their keys."""
    known = context_name(name)
    return contexts.get(f"{known}::{platform}") or contexts.get(known)
