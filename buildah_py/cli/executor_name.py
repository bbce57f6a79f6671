"""The name of kaniko's program, which this one may be called by, and what goes with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_OURS: Final = ("version", "login", "completion")
"""Commands of its program that are pybuild's as well."""


def words_of(arguments: Sequence[str]) -> list[str]:
    """Give the command line of pybuild for what stands behind `executor`. Raises UsageError."""
    first = arguments[0] if arguments else ""
    if first in _OURS:
        return list(arguments)
    if first == "push":
        from buildah_py.errors import UsageError

        raise UsageError("`executor push` is not supported", hint="`pybuild load FILE`, then `pybuild push IMAGE NAME`")
    return ["executor", *(["--help"] if first == "help" else arguments)]


def status_of(status: int) -> int:
    """Return the status that kaniko would end with: 1 for whatever failed, but for what ended by a signal."""
    from buildah_py.cli.docker_plugin import status_of as one_or_signal

    return one_or_signal(status)
