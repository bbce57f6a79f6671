"""Platforms: `os/architecture[/variant]`, spelled as Go and OCI spell them, and which of them runs where."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SYSTEMS = frozenset(
    (
        "aix",
        "android",
        "darwin",
        "dragonfly",
        "freebsd",
        "illumos",
        "ios",
        "js",
        "linux",
        "netbsd",
        "openbsd",
        "plan9",
        "solaris",
        "wasip1",
        "windows",
        "zos",
    )
)
_ARCHITECTURES = frozenset(
    (
        "386",
        "amd64",
        "arm",
        "arm64",
        "loong64",
        "mips",
        "mips64",
        "mips64le",
        "mipsle",
        "ppc64",
        "ppc64le",
        "riscv64",
        "s390x",
        "wasm",
    )
)
_SYSTEM_NAMES = {"macos": "darwin"}
# Other names of an architecture: those of uname, Debian and GNU.
_ARCHITECTURE_NAMES = {
    "i386": ("386", ""),
    "i486": ("386", ""),
    "i586": ("386", ""),
    "i686": ("386", ""),
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv5tel": ("arm", "v5"),
    "armv6l": ("arm", "v6"),
    "armv7l": ("arm", "v7"),
    "armv8l": ("arm", "v8"),
    "loongarch64": ("loong64", ""),
    "ppc64el": ("ppc64le", ""),
}
# Architectures that Go or its registries have names for, and nobody builds images for.
_FURTHER = frozenset(
    (
        "amd64p32",
        "arm64be",
        "armbe",
        "mips64p32",
        "mips64p32le",
        "ppc",
        "riscv",
        "riscv32",
        "s390",
        "sparc",
        "sparc64",
        "unknown",
    )
)
# The variant that a name without one means is left out, or for arm written down.
_PLAIN_VARIANTS = {"amd64": "v1", "arm64": "v8"}
_PART = re.compile(r"[A-Za-z0-9_.-]+")
_SYSTEM = re.compile(r"([A-Za-z0-9_.-]+)(?:\(([A-Za-z0-9_.-]+)\))?")


class Platform(NamedTuple):
    """An operating system and a processor. `normalised` makes equal what means the same."""

    os: str = "linux"
    architecture: str = "amd64"
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    def normalised(self) -> Platform:
        """One spelling: Go's names, no variant where it is the usual one (amd64/v1, arm64/v8), v7 for plain arm."""
        system = self.os.lower()
        architecture, variant = self.architecture.lower(), self.variant.lower()
        architecture, implied = _ARCHITECTURE_NAMES.get(architecture, (architecture, ""))
        variant = variant or implied
        if variant.isdigit():
            variant = "v" + variant
        if architecture == "arm":
            variant = variant or "v7"
        elif variant == _PLAIN_VARIANTS.get(architecture):
            variant = ""
        return self._replace(os=_SYSTEM_NAMES.get(system, system), architecture=architecture, variant=variant)

    def __str__(self) -> str:
        version = f"({self.os_version})" if self.os_version else ""
        return "/".join(part for part in (self.os + version, self.architecture, self.variant) if part)


def host() -> Platform:
    """Return the platform of the running kernel."""
    import os

    uname = os.uname()
    return Platform(uname.sysname, uname.machine).normalised()


def parse(text: str, default: Platform | None = None) -> Platform:
    """Read `os/architecture[/variant]`, or one of them alone; what is not said is taken from `default` (the host).

    The result is normalised. Raises UsageError.
    """
    first, *others = text.strip().split("/")
    system = _SYSTEM.fullmatch(first)
    if system is None or len(others) > 2 or not all(_PART.fullmatch(part) for part in others):
        raise UsageError(
            f"`{text}` is not a platform", hint="platforms look like linux/amd64, linux/arm64 or linux/arm/v7"
        )
    if not others:
        return _parse_single(text, system[1], system[2] or "", default or host())
    return Platform(system[1], others[0], others[1] if len(others) == 2 else "", system[2] or "").normalised()


def asked_for(text: str) -> Platform:
    """Read what a person asks for, as `parse` does, and question what is most likely a slip of the pen.

    What is like nothing that is known may exist. Raises UsageError.
    """
    found = parse(text)
    system, architecture = found.os, found.architecture
    for kind, name, known in (
        ("operating system", system.lower(), _SYSTEMS | _SYSTEM_NAMES.keys()),
        ("architecture", architecture.lower(), _ARCHITECTURES | _ARCHITECTURE_NAMES.keys() | _FURTHER),
    ):
        if name and name not in known:
            from buildah_py.suggest import did_you_mean

            if hint := did_you_mean(name, sorted(known)):
                raise UsageError(f"`{text}` is not a platform: there is no {kind} `{name}`", hint=hint)
    return found


def _parse_single(text: str, name: str, version: str, default: Platform) -> Platform:
    lowered = name.lower()
    if _SYSTEM_NAMES.get(lowered, lowered) in _SYSTEMS:
        return default._replace(os=lowered, os_version=version).normalised()
    alone = Platform(default.os, lowered).normalised()
    if alone.architecture in _ARCHITECTURES and not version:
        return alone
    from buildah_py.suggest import did_you_mean

    hint = did_you_mean(lowered, sorted(_SYSTEMS | _ARCHITECTURES | _ARCHITECTURE_NAMES.keys()))
    raise UsageError(
        f"`{text}` is neither an operating system nor an architecture",
        hint=hint or "platforms look like linux/amd64, linux/arm64 or linux/arm/v7",
    )


def runnable(platform: Platform, *, strict: bool = False) -> tuple[Platform, ...]:
    """Return the platforms that run on a machine of this platform, the best first.

    A newer variant runs what was made for an older one; unless `strict`, amd64 also runs 386, and arm64 also arm.
    """
    top = platform.normalised()
    found = [top._replace(variant=variant) for variant in _older(top.architecture, top.variant)]
    if not strict and top.architecture == "amd64":
        found.append(top._replace(architecture="386", variant=""))
    if not strict and top.architecture == "arm64":
        found += (top._replace(architecture="arm", variant=variant) for variant in _older("arm", "v8"))
    return tuple(found)


def _older(architecture: str, variant: str) -> Sequence[str]:
    lowest = {"amd64": 1, "arm": 5, "arm64": 8}.get(architecture)
    number = re.fullmatch(r"v(\d{1,3})", variant or _PLAIN_VARIANTS.get(architecture, ""))
    if lowest is None or number is None or int(number[1]) < lowest:
        return [variant]
    usual = _PLAIN_VARIANTS.get(architecture)
    names = (f"v{step}" for step in range(int(number[1]), lowest - 1, -1))
    return ["" if name == usual else name for name in names]


def choose(wanted: Platform, offered: Iterable[Platform | None], *, strict: bool = False) -> int | None:
    """Return the position of the platform among `offered` that suits `wanted` best; None where none does.

    Of equals the first wins, as the image specification asks. An offer of None (a descriptor that names no platform) is
    taken only when nothing else suits and it stands alone. Where `wanted` names an OS version, one that begins so is
    preferred (`10.0.17763` takes `10.0.17763.5122`).
    """
    offers = [None if offer is None else offer.normalised() for offer in offered]
    best: tuple[int, bool, int] | None = None
    ranks = {(one.os, one.architecture, one.variant): rank for rank, one in enumerate(runnable(wanted, strict=strict))}
    for position, offer in enumerate(offers):
        rank = None if offer is None else ranks.get((offer.os, offer.architecture, offer.variant))
        if offer is None or rank is None:
            continue
        other_version = bool(wanted.os_version) and not offer.os_version.startswith(wanted.os_version)
        score = (rank, other_version, position)
        if best is None or score < best:
            best = score
    if best is not None:
        return best[2]
    return 0 if offers == [None] else None
