"""Command lines that may be answered from what the same one led to before."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.linux.identity import MARKER, outer_uid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PLAIN = frozenset((
    "--add-host", "--allow", "--build-arg", "--build-context", "--cap-add", "--cap-drop", "--cgroup-parent",
    "--context-modes", "--cpu-shares", "--cpus", "--cpuset-cpus", "--dns", "--dns-option", "--dns-search", "--env",
    "--extensions", "--file", "--hostname", "--ignorefile", "--isolation", "--jobs", "--label", "--memory",
    "--memory-swap", "--network", "--observe", "--pids-limit", "--platform", "--progress", "--quiet", "--shm-size",
    "--tag", "--target", "--ulimit", "-c", "-f", "-m", "-q", "-t",
))  # fmt: skip
"""Options that have no file read and no file written but the build file and contexts."""


class CommandLine(NamedTuple):
    """A command line, by its identity; `began` is when it was given, in nanoseconds since 1970.

    `mode` is how its progress is shown; `files` are those that its options and the configuration had it look at.
    """

    identity: str
    began: int
    mode: str = ""
    files: tuple[str, ...] = ()


def is_plain(words: Sequence[str]) -> bool:
    """Tell whether all options are among those whose effects are known here; a value that looks like one is not."""
    return all(
        (word.partition("=")[0] if word.startswith("--") else word[:2]) in _PLAIN
        for word in words
        if word.startswith("-") and word != "-"
    )


def command(words: Sequence[str], environ: Mapping[str, str]) -> CommandLine:
    """Know a command by all that who calls it says: words, directory, variables, user."""
    from buildah_py.repeat.saved import identity

    # What the program adds itself, when it starts again in a user namespace, is not the caller's.
    said = {name: value for name, value in environ.items() if name != MARKER}
    return CommandLine(identity(words, os.getcwd(), said, outer_uid()), time.time_ns())
