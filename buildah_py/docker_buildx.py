"""The program `docker-buildx`: what docker's command line, and Compose, call for builds.

They call `docker-buildx [OPTION OF DOCKER…] buildx COMMAND…`, or the command alone; `pybuild buildx` does it, in the
ways of cli/docker_plugin.py.
"""

from __future__ import annotations

import os
import sys
from typing import Final

from buildah_py import cli
from buildah_py.cli.docker_plugin import MARK

_WITH_VALUE: Final = {
    "--config": "DOCKER_CONFIG",
    "--context": "DOCKER_CONTEXT",
    "-c": "DOCKER_CONTEXT",
    "--host": "DOCKER_HOST",
    "-H": "DOCKER_HOST",
    "--log-level": "",
    "-l": "",
    "--tlscacert": "",
    "--tlscert": "",
    "--tlskey": "",
}
_SWITCHES: Final = ("--tls", "--tlsverify")


def program() -> int:
    """Be the program."""
    os.environ[MARK] = "1"
    arguments = sys.argv[1:]
    if arguments[:1] == ["docker-cli-plugin-metadata"]:
        import json

        from buildah_py.cli.printing import say_exactly
        from buildah_py.docker.plugin import metadata

        say_exactly(json.dumps(metadata()))
        return 0
    before, rest = _without_options(arguments)
    if rest[:1] in (["__complete"], ["__completeNoDesc"]):
        _complete(rest[2:])
        return 0
    if rest[:1] == ["help"]:
        rest = [*rest[1:], "--help"]
    if rest[:1] == ["buildx"]:
        del rest[0]
    sys.argv[1:] = [*before, "buildx", *rest]
    return cli.program()


def _without_options(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Do what docker's own options say; those that are pybuild's too, and what stands behind them all."""
    rest = list(arguments)
    before: list[str] = []
    given = set[str]()
    while rest and rest[0].startswith("-"):
        name, equals, value = rest[0].partition("=")
        if name in ("-D", "--debug"):
            before.append(rest.pop(0))
        elif name in _SWITCHES:
            del rest[0]
            if value.lower() not in ("false", "0"):
                os.environ["DOCKER_TLS_VERIFY"] = "1"
        elif name in _WITH_VALUE and (equals or len(rest) > 1):
            del rest[0]
            value = value if equals else rest.pop(0)
            given.add(_WITH_VALUE[name])
            if _WITH_VALUE[name]:
                os.environ[_WITH_VALUE[name]] = value
        else:
            break
    if "DOCKER_CONTEXT" in given and "DOCKER_HOST" not in given:
        os.environ.pop("DOCKER_HOST", None)  # as docker has it: an option counts more than a variable
    return before, rest


def _complete(words: list[str]) -> None:
    """Print what a command line that a shell completes may go on with, as docker's library for commands has it."""
    from buildah_py.cli.buildx_table import REFUSED, TABLE
    from buildah_py.cli.printing import say_exactly

    typed = words[-1] if words else ""
    group = f"{' '.join(words[:-1])} ".lstrip()
    names = {one.name.removeprefix(group).split()[0] for one in TABLE if one.name.startswith(group)
             and one.decision != REFUSED}  # fmt: skip
    files = 0 if not names else 4
    say_exactly("\n".join([*sorted(name for name in names if name.startswith(typed)), f":{files}"]))
