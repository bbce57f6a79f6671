"""Which variables an instruction sees: build arguments, ARG and ENV, and the names that every build has.

Follows "Using arg variables" and "Environment replacement" of the Dockerfile reference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PROXY_NAMES = frozenset(
    name
    for stem in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for name in (stem, stem.lower())
)
CONTROL_PREFIX = "BUILDKIT_"
_UNASKED = PROXY_NAMES | {"SOURCE_DATE_EPOCH"}
NEVER_IN_ENVIRONMENT = ("BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE")
"""Build arguments for the builder alone, which no instruction sees."""
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def platform_arguments(build: str, target: str) -> dict[str, str]:
    """Give the arguments that describe the building and the target platform, each as os/arch[/variant]."""
    found = {}
    for prefix, platform in (("BUILD", build), ("TARGET", target)):
        system, architecture, variant = [*platform.split("/"), "", ""][:3]
        found[f"{prefix}PLATFORM"] = platform
        found[f"{prefix}OS"] = system
        found[f"{prefix}ARCH"] = architecture
        found[f"{prefix}VARIANT"] = variant
        found[f"{prefix}OSVERSION"] = ""
    return found


class Arguments:
    """The build arguments of the command line, and which of them the file asked for."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = dict(given)
        self._asked: set[str] = set()

    def get(self, name: str) -> str | None:
        """The given value, or None; notes that the file knows the name."""
        self._asked.add(name)
        return self._given.get(name)

    def proxies(self) -> tuple[tuple[str, str], ...]:
        """The proxy variables, which need no ARG."""
        return tuple(sorted((name, value) for name, value in self._given.items() if name in PROXY_NAMES))

    def unknown(self) -> list[str]:
        """The given names that nothing in the file declares."""
        return sorted(
            name
            for name in self._given
            if name not in self._asked and name not in _UNASKED and not name.startswith(CONTROL_PREFIX)
        )


def split_environment(entries: Iterable[str]) -> dict[str, str]:
    """Turn `K=V` strings, as an image config has them, into a dict; a later one wins."""
    pairs = (entry.partition("=") for entry in entries)
    return {name: value for name, _, value in pairs}
