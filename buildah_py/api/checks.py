"""Mistakes in a build file: what `pybuild check` and every build look for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.buildfile.checks import find
from buildah_py.buildfile.rules import RULES
from buildah_py.buildfile.stage import Base

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from buildah_py.buildfile.checks import CheckWarning
    from buildah_py.buildfile.ignore import IgnorePatterns
    from buildah_py.buildfile.named import NamedContext
    from buildah_py.buildfile.tree import BuildFile
    from buildah_py.image.config import ImageConfig


def check_build(
    build_file: BuildFile,
    ignore: IgnorePatterns | None,
    *,
    build_args: Mapping[str, str],
    target: str,
    platform: str,
    contexts: Mapping[str, NamedContext],
    env: Mapping[str, str],
    bases: Mapping[tuple[str, str], ImageConfig],
) -> list[CheckWarning]:
    """Find what a build warns of: all but the notes.

    `ignore` is what hides files of the main context; `bases` are the configs of its base images by their names and the
    platforms that were asked for.
    """

    def base(name: str, platform: str) -> Base | None:
        config = bases.get((name, platform))
        if config is None:
            return None
        platform = str(config.platform._replace(os_version=""))
        return Base(config.environment(), platform, config.working_dir, config.onbuild)

    findings = find(
        build_file,
        build_args=build_args,
        target=target or None,
        platform=platform,
        contexts=contexts,
        env=env,
        bases=base,
        ignored=ignored_by(ignore),
    )
    return [warning for warning in findings.warnings if warning.level == "warning" or RULES[warning.rule].told]


def ignored_by(patterns: IgnorePatterns | None) -> Callable[[str], bool] | None:
    """Tell whether the ignore file leaves a source out, and all that is in it; None without an ignore file."""
    if patterns is None:
        return None
    from buildah_py.copy.wildcard import has_wildcard

    negated = any(pattern.negated for pattern in patterns.patterns)
    everything = not negated and any(pattern.text in ("*", "**", "**/*") for pattern in patterns.patterns)

    def ignored(source: str) -> bool:
        if source in (".", "/"):
            return everything
        if negated and has_wildcard(source):
            return False  # what it matches may be brought back
        path = source.lstrip("/")
        return patterns.matches(path) and not patterns.may_contain_included(path)

    return ignored
