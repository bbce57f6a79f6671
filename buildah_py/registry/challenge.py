"""Demands of a registry in WWW-Authenticate (RFC 9110, section 11; Docker's token specification)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from buildah_py.frozen import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER: Final = re.compile(rf'\s*({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_SCHEME: Final = re.compile(rf"\s*({_WORD})(?=\s|,|$)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One scheme, in lower case, and its parameters."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse(values: Iterable[str]) -> list[Challenge]:
    """Read the headers' values; what is not of the grammar ends the value that it stands in."""
    found: list[Challenge] = []
    for value in values:
        position = 0
        while position < len(value):
            if value[position] in ", \t":
                position += 1
                continue
            scheme = _SCHEME.match(value, position)
            if scheme is None:
                break
            position = scheme.end()
            parameters: dict[str, str] = {}
            while True:
                start = re.compile(r"[\s,]*").match(value, position)
                parameter = _PARAMETER.match(value, start.end() if start else position)
                if parameter is None:
                    break
                quoted = parameter[2]
                text = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else parameter[3]
                parameters[parameter[1].lower()] = text
                position = parameter.end()
            found.append(Challenge(scheme[1].lower(), parameters))
    return found


def choose(challenges: Iterable[Challenge]) -> Challenge | None:
    """Give the challenge to meet: bearer before basic; None where there is neither."""
    by_scheme = {challenge.scheme: challenge for challenge in challenges}
    return by_scheme.get("bearer") or by_scheme.get("basic")
