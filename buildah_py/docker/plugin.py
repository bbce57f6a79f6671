"""The plug-in of docker's command line: the program `docker-buildx` in its folder, put there and taken away again.

What was there before is kept beside it, under a name that docker does not take for a plug-in, and comes back.
"""

from __future__ import annotations

import json
import os
import shlex
import stat
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.docker.context import docker_directory
from buildah_py.errors import NotFound, OutputError
from buildah_py.linux.interpreter import command
from buildah_py.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

BUILDX: Final = "0.36.1"
"""The version of buildx whose command line is answered."""
VERSION: Final = f"v{BUILDX}+pybuild.{__version__}"
"""Version that programs are told which ask for buildx's: that one's, and in the words of semver whose build it is."""
NAME: Final = "docker-buildx"
SYSTEM: Final = "/usr/local/lib/docker/cli-plugins"
_KEPT: Final = ".pybuild-kept."
_SIGN: Final = "# pybuild as docker's plug-in buildx"


class Installed(NamedTuple):
    """A plug-in that was put somewhere, or taken away: its `path`, and what was there before, "" for nothing."""

    path: str
    before: str = ""


def plugin_directory(environ: Mapping[str, str], *, system: bool) -> str:
    """Name the folder in which docker's command line looks: this user's, or the machine's."""
    return SYSTEM if system else os.path.join(docker_directory(environ), "cli-plugins")


def metadata() -> dict[str, str]:
    """Return what the command line asks each plug-in for first (`docker-cli-plugin-metadata`)."""
    return {
        "SchemaVersion": "0.1.0",
        "Vendor": "pybuild",
        "Version": VERSION,
        "ShortDescription": "Docker Buildx, answered by pybuild",
    }


def script(environ: Mapping[str, str]) -> str:
    """Return the program: a shell answers what is asked at every call of docker, and only a build starts Python.

    A state directory and a configuration that are named by the environment are named in it.
    """
    program = shlex.join(command("buildah_py.docker_buildx", "program()", packages=True))
    named = [name for name in ("PYBUILD_ROOT", "PYBUILD_CONFIG") if environ.get(name)]
    given = "".join(f": ${{{name}={shlex.quote(environ[name])}}}; export {name}\n" for name in named)
    return (
        f"#!/bin/sh\n{_SIGN}: `pybuild install docker-plugin` wrote it, `pybuild uninstall docker-plugin` removes it.\n"
        f'if [ "$1" = docker-cli-plugin-metadata ]; then\n'
        f"    echo {shlex.quote(json.dumps(metadata()))}\n    exit 0\nfi\n"
        f'{given}exec {program} "$@"\n'
    )


def install(environ: Mapping[str, str], *, system: bool) -> Installed:
    """Put the program there; it again, where it is there already. Raises OutputError."""
    directory = plugin_directory(environ, system=system)
    path, kept = os.path.join(directory, NAME), os.path.join(directory, _KEPT + NAME)
    try:
        os.makedirs(directory, exist_ok=True)
        new = f"{path}.{os.getpid()}"
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o700)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(script(environ))
            os.fchmod(descriptor, 0o755)
        before = ""
        if os.path.lexists(path) and not is_ours(path):
            os.rename(path, kept)
            before = kept
        os.rename(new, path)
    except OSError as error:
        hint = "" if system else "DOCKER_CONFIG names another directory of docker's"
        raise OutputError(
            f"{path} cannot be written: {error.strerror}", hint="as root, or with --user" if system else hint
        ) from error
    return Installed(path, before)


def uninstall(environ: Mapping[str, str], *, system: bool) -> Installed:
    """Take the program away, and put back what was there. Raises NotFound, OutputError."""
    directory = plugin_directory(environ, system=system)
    path, kept = os.path.join(directory, NAME), os.path.join(directory, _KEPT + NAME)
    if not os.path.lexists(path) or not is_ours(path):
        what = "is another program" if os.path.lexists(path) else "is not there"
        other = "--user" if system else "--system"
        raise NotFound(f"{path} {what}", hint=f"`pybuild uninstall docker-plugin {other}` looks in the other folder")
    try:
        if os.path.lexists(kept):
            os.rename(kept, path)
            return Installed(path, path)
        os.unlink(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be taken away: {error.strerror}") from error
    return Installed(path)


def is_ours(path: str) -> bool:
    """Whether a file is a program that `install` wrote; what nobody can read is another's."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    with os.fdopen(descriptor, "rb") as file:
        return stat.S_ISREG(os.fstat(descriptor).st_mode) and _SIGN.encode() in file.read(200)
