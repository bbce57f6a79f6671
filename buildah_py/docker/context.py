"""Contexts of docker's command line: which engine it speaks to."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from buildah_py.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT: Final = "default"
_SOCKET: Final = "/var/run/docker.sock"


def docker_directory(environ: Mapping[str, str]) -> str:
    """Return docker's directory of configuration."""
    return environ.get("DOCKER_CONFIG") or os.path.join(environ.get("HOME") or "/", ".docker")


def engine_address(environ: Mapping[str, str], context: str = "") -> str:
    """Return where docker's command line looks for its engine, "" where nothing is there.

    That is the address of `context`, DOCKER_HOST, the address of the context that is chosen, or the usual socket if it
    exists. Raises UsageError for a context that is not known.
    """
    if not context:
        if host := environ.get("DOCKER_HOST"):
            return host
        context = environ.get("DOCKER_CONTEXT") or chosen(environ)
    if context and context != DEFAULT:
        return _address(environ, context)
    return f"unix://{_SOCKET}" if os.path.exists(_SOCKET) else ""


def contexts(environ: Mapping[str, str]) -> list[str]:
    """Return the names of all contexts but the default one. Raises UsageError for one that cannot be read."""
    place = os.path.join(docker_directory(environ), "contexts", "meta")
    try:
        found = os.listdir(place)
    except (FileNotFoundError, NotADirectoryError):
        return []
    paths = (os.path.join(place, name, "meta.json") for name in found)
    return sorted(str(_read(path).get("Name", "")) for path in paths if os.path.isfile(path))


def chosen(environ: Mapping[str, str]) -> str:
    """Return the context that docker's configuration names, "" where it names none. Raises UsageError."""
    path = os.path.join(docker_directory(environ), "config.json")
    return str(_read(path).get("currentContext") or "") if os.path.isfile(path) else ""


def place_of(environ: Mapping[str, str], name: str) -> str:
    """Name the file that describes a context."""
    directory = sha256(name.encode()).hexdigest()
    return os.path.join(docker_directory(environ), "contexts", "meta", directory, "meta.json")


def _address(environ: Mapping[str, str], name: str) -> str:
    path = place_of(environ, name)
    if not os.path.isfile(path):
        raise UsageError(f"there is no docker context {name}", hint="`docker context ls` lists them")
    try:
        return str(_read(path)["Endpoints"]["docker"]["Host"])
    except (KeyError, TypeError) as error:
        raise UsageError(f"the docker context {name} names no engine: {path}") from error


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"{path} is not a JSON object")
    return found
