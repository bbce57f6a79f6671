"""Annotations and where in an image they stand: in its manifest, in an index, or in a descriptor of one of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.errors import PybuildError, UsageError
from buildah_py.frozen import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from buildah_py.image.platform import Platform

LEVELS: Final = ("manifest", "index", "manifest-descriptor", "index-descriptor")
_TYPED: Final = re.compile(r"([a-z][a-z,-]*)(?:\[([^\]]*)\])?:(.*)", re.DOTALL)


class Annotation(NamedTuple):
    """`annotation-LEVEL[PLATFORM].KEY=VALUE`: the level is `manifest` unless named, the platform mostly `""`."""

    level: str
    platform: str
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Annotations:
    """The annotations of one image, by what they stand in."""

    manifest: Mapping[str, str] = field(default_factory=dict)
    index: Mapping[str, str] = field(default_factory=dict)
    manifest_descriptor: Mapping[str, str] = field(default_factory=dict)
    index_descriptor: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.manifest or self.index or self.manifest_descriptor or self.index_descriptor)


def parse(text: str) -> list[Annotation]:
    """Read one `--annotation`: `[LEVEL[,LEVEL][[PLATFORM]]:]KEY=VALUE`. Raises UsageError."""
    match = _TYPED.fullmatch(text.partition("=")[0])
    levels, platform, key = ["manifest"], "", text.partition("=")[0]
    if match is not None:
        levels, platform, key = match[1].split(","), match[2] or "", match[3]
    unknown = next((level for level in levels if level not in LEVELS), None)
    if unknown is not None:
        raise UsageError(f"--annotation {text}: there is no level `{unknown}`", hint=f"there are {', '.join(LEVELS)}")
    if not key or "=" not in text:
        raise UsageError(f"--annotation {text}: write it as [LEVEL:]KEY=VALUE")
    if platform:
        _check_platform(f"--annotation {text}", platform)
    return [Annotation(level, platform, key, text.partition("=")[2]) for level in levels]


def choose(annotations: Iterable[Annotation], platform: Platform) -> Annotations:
    """Those for an image of `platform`; of equal keys the last counts."""
    from buildah_py.image import platform as platforms

    found: dict[str, dict[str, str]] = {level: {} for level in LEVELS}
    wanted = platform.normalised()
    for one in annotations:
        if not one.platform or platforms.parse(one.platform).normalised() == wanted:
            found[one.level][one.key] = one.value
    return Annotations(*(found[level] for level in LEVELS))


def _check_platform(what: str, platform: str) -> None:
    from buildah_py.image import platform as platforms

    try:
        platforms.parse(platform)
    except PybuildError as error:
        raise UsageError(f"{what}: {error.message}", hint=error.hint) from error
