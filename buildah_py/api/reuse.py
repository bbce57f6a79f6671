"""Options of the cache's use, and the names by which a build's records are found again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.cache.records import CachePolicy
from buildah_py.checksum import sha256_hex
from buildah_py.errors import UsageError
from buildah_py.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildah_py.buildfile.tree import BuildFile
    from buildah_py.contexts.main import MainContext


OBSERVE = ("auto", "on", "off")
"""Those for which that costs little; all; none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReuseOptions:
    """`no_cache` executes every step, `no_cache_filter` those of some stages, by names or numbers.

    A step older than `cache_ttl`, a duration such as `24h`, is executed again. `apart` is for a build that is to show
    what it leads to by itself: nothing of earlier ones counts, not even their layers, and later ones do not see it.
    `observe` says of which RUNs it is noted what they learn of files: one of OBSERVE.
    """

    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    cache_ttl: str = ""
    apart: bool = False
    observe: str = "auto"

    def policy(self, build_file: BuildFile) -> CachePolicy:
        """Say which records may be used. Raises UsageError."""
        ttl = _duration(self.cache_ttl) if self.cache_ttl else None
        return CachePolicy(self.no_cache, _labels(self.no_cache_filter, build_file), ttl, self.cache_ttl)


def _labels(wanted: Sequence[str], build_file: BuildFile) -> frozenset[str]:
    """Turn names and numbers of stages into what the plan calls them."""
    found: set[str] = set()
    stages = build_file.stages
    for name in wanted:
        labels = {
            stage.name or (f"stage-{stage.index}" if len(stages) > 1 else "")
            for stage in stages
            if stage.name == name.lower() or (name.isdecimal() and stage.index == int(name))
        }
        if not labels:
            known = ", ".join(stage.name or str(stage.index) for stage in stages)
            raise UsageError(
                f"--no-cache-filter {name}: {build_file.source.name} has no such stage", hint=f"its stages: {known}"
            )
        found |= labels
    return frozenset(found)


def _duration(text: str) -> int:
    from buildah_py.buildfile.durations import parse_duration

    try:
        ttl = parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--cache-ttl {text}: {error}") from error
    if ttl < 0:
        raise UsageError(f"--cache-ttl {text}: it is negative", hint="write something like 24h")
    return ttl


class BuildNames(NamedTuple):
    """Names of a build: on this machine alone (`own`), and on every one (`builds`)."""

    own: tuple[str, ...]
    builds: tuple[str, ...]


def build_names(main: MainContext, build_file: BuildFile, names: Sequence[str]) -> BuildNames:
    """Name a build by its build file's path; anywhere, by what that says and by what the image is called."""
    own = own_name(main)
    text = sha256_hex(build_file.source.text.encode("utf-8", "surrogateescape"))
    return BuildNames((own,), (f"text {text}", *(f"name {name.rpartition(':')[0]}" for name in names)))


def own_name(main: MainContext) -> str:
    """Name a build on this machine."""
    path = main.build_file.path
    if main.remote:
        return f"context {(main.lasting or '').partition('#')[0]} {main.lasting_file() or ''}"
    return f"file {os.path.realpath(path)}" if path else f"context {os.path.realpath(main.directory)}"
