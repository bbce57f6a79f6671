"""The variables that every build has, and those that need no ARG or are for the builder alone.

Follows "Using arg variables" of the Dockerfile reference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.image import platform as platforms

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

PROXY_NAMES = frozenset(
    name
    for stem in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for name in (stem, stem.lower())
)
NEVER_IN_ENVIRONMENT = ("BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE")
"""Build arguments for the builder alone, which no instruction sees."""
_CONTROL_PREFIX = "BUILDKIT_"
EPOCH = "SOURCE_DATE_EPOCH"
EPOCH_OF_CONTEXT = "context"
_UNASKED = PROXY_NAMES | {EPOCH}


def predefined(build: str, target: str, target_stage: str) -> dict[str, str]:
    """Give the arguments that describe the building and the target platform, and the stage to build."""
    found = {}
    for prefix, text in (("BUILD", build), ("TARGET", target)):
        platform = platforms.parse(text)
        found[f"{prefix}PLATFORM"] = str(platform)
        found[f"{prefix}OS"] = platform.os
        found[f"{prefix}OSVERSION"] = platform.os_version or ""
        found[f"{prefix}ARCH"] = platform.architecture
        found[f"{prefix}VARIANT"] = platform.variant or ""
    return found | {"TARGETSTAGE": target_stage}


def is_epoch(text: str) -> bool:
    """Whether SOURCE_DATE_EPOCH may have that value: seconds since 1970, `context`, or nothing."""
    return text in ("", EPOCH_OF_CONTEXT) or (text.isdecimal() and text.isascii() and len(text) <= 11)


def proxies(given: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Pick out the proxy variables, which need no ARG."""
    return tuple(sorted((name, value) for name, value in given.items() if name in PROXY_NAMES))


def undeclared(given: Iterable[str], declared: Container[str]) -> list[str]:
    """Pick out the build arguments that nothing in the file declares."""
    return sorted(
        name for name in given if name not in declared and name not in _UNASKED and not name.startswith(_CONTROL_PREFIX)
    )
