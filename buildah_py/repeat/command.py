"""Command lines that may be answered from what the same one led to before."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.linux.identity import MARKER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PLAIN = frozenset((
    "--add-host", "--allow", "--build-arg", "--build-context", "--cap-add", "--cap-drop", "--cgroup-parent",
    "--context-modes", "--cpu-shares", "--cpus", "--cpuset-cpus", "--dns", "--dns-option", "--dns-search", "--env",
    "--extensions", "--file", "--hostname", "--ignorefile", "--isolation", "--jobs", "--label", "--load", "--memory",
    "--memory-swap", "--network", "--observe", "--pids-limit", "--platform", "--progress", "--quiet", "--shm-size",
    "--tag", "--target", "--ulimit", "-c", "-f", "-m", "-q", "-t",
))  # fmt: skip
"""Options that have nothing read but build file and contexts, and nothing written but the image, to an engine too."""

ASKED = "PYBUILD_COMMAND"
"""The environment variable that tells a program which has entered a user namespace the identity of its command line."""
_OF_ONE_CALL = (ASKED, "DOCKER_CLI_PLUGIN_SOCKET")
_OF_RIGHTS = (
    "Uid:",
    "Gid:",
    "Groups:",
    "CapInh:",
    "CapPrm:",
    "CapEff:",
    "CapBnd:",
    "CapAmb:",
    "NoNewPrivs:",
    "Seccomp",
)
"""Lines of /proc/self/status: proc_pid_status(5)."""


class CommandLine(NamedTuple):
    """A command line, by its identity; `began` is when it was given, in nanoseconds since 1970.

    `mode` is how its progress is shown; `files` are those that its options and the configuration had it look at. With
    `by_engine`, an image that was loaded into an engine is shown by the id that it has there.
    """

    identity: str
    began: int
    mode: str = ""
    files: tuple[str, ...] = ()
    by_engine: bool = False


def is_plain(words: Sequence[str]) -> bool:
    """Tell whether all options are among those whose effects are known here; a value that looks like one is not."""
    return all(
        (word.partition("=")[0] if word.startswith("--") else word[:2]) in _PLAIN
        for word in words
        if word.startswith("-") and word != "-"
    )


def command(words: Sequence[str], environ: Mapping[str, str]) -> CommandLine | None:
    """Know a command by all that who calls it says, and by what it may do: words, directory, variables, user, rights.

    The program that has started again in a user namespace is told what it is known by; None where it is not.
    """
    if MARKER in environ:
        told = environ.get(ASKED)
        return CommandLine(told, time.time_ns()) if told else None
    from buildah_py.repeat.saved import identity

    said = {name: value for name, value in environ.items() if name not in _OF_ONE_CALL}
    return CommandLine(identity(words, os.getcwd(), said, _rights()), time.time_ns())


def _rights() -> tuple[str, ...]:
    """Give all that says what this process may do: it decides what a RUN may do, and so which results count."""
    with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
        found = [line for line in file if line.startswith(_OF_RIGHTS)]
    for kind in ("uid", "gid"):
        with open(f"/proc/self/{kind}_map", encoding="ascii") as file:
            found.append(file.read())
    return tuple(found)
