"""Names of builders, as buildx keeps them: there is one builder, and scripts that make another get a name for it."""

from __future__ import annotations

import json
import os
import re
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.docker.context import contexts, docker_directory
from buildah_py.errors import NotFound, OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT: Final = "default"
DOCKER: Final = "docker"
DRIVERS: Final = (DOCKER, "docker-container")
_NAME: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9._-]{0,127}")
_CURRENT: Final = ".current"
_SUFFIX: Final = ".json"


class Builder(NamedTuple):
    """A name for this machine as a builder.

    By `driver` scripts say where images go that are not sent anywhere: with `docker` to docker's engine. `used` is when
    it was made (seconds since 1970), 0 where nobody made it. With `is_context` it is a context of docker's, to whose
    engine images go.
    """

    name: str
    driver: str = DOCKER
    used: float = 0.0
    endpoint: str = ""
    is_context: bool = False


def builders(environ: Mapping[str, str]) -> list[Builder]:
    """List all names, the default one first; docker's contexts are builders too, as buildx has it."""
    place = _directory(environ)
    names = sorted(name.removesuffix(_SUFFIX) for name in _listed(place) if name.endswith(_SUFFIX))
    made = [one for name in names if (one := _read(place, name)) is not None]
    there = {one.name for one in made}
    of_docker = [Builder(name, endpoint=name, is_context=True) for name in contexts(environ) if name not in there]
    return [Builder(DEFAULT), *of_docker, *made]


def find_builder(environ: Mapping[str, str], name: str = "") -> Builder:
    """Return the builder of a name, or the one that is chosen: by BUILDX_BUILDER, or by `use`. Raises NotFound.

    Names that buildx itself was given are known too: they mean this machine as well.
    """
    wanted = name or environ.get("BUILDX_BUILDER") or _current(environ)
    for one in builders(environ):
        if one.name == wanted:
            return one
    known = os.path.join(_buildx(environ), "instances", wanted)
    if _NAME.fullmatch(wanted) and os.path.isfile(known):
        return Builder(wanted, _driver_of(known))
    raise NotFound(f'no builder "{wanted}" found', hint="`docker buildx ls` lists them, `create` makes one")


def create_builder(environ: Mapping[str, str], name: str, driver: str, *, endpoint: str = "", use: bool) -> Builder:
    """Make a name, or change one; a new one where none is given. Raises UsageError, OutputError."""
    name = name or _new_name(environ)
    if not _NAME.fullmatch(name) or name == DEFAULT:
        raise UsageError(f"{name} cannot be the name of a builder", hint="a letter, then letters, digits, . _ and -")
    made = Builder(name, driver, time.time(), endpoint)
    _write(environ, name + _SUFFIX, json.dumps(made._asdict()))
    if use:
        use_builder(environ, name)
    return made


def use_builder(environ: Mapping[str, str], name: str) -> None:
    """Choose a builder for what names none. Raises NotFound, OutputError."""
    _write(environ, _CURRENT, find_builder(environ, name).name)


def remove_builder(environ: Mapping[str, str], name: str) -> None:
    """Forget a name. Raises NotFound, UsageError."""
    found = find_builder(environ, name)
    if found.name == DEFAULT or found.is_context:
        raise UsageError(f"the builder {found.name} is a context of docker's, and stays")
    place = _directory(environ)
    path = os.path.join(place, found.name + _SUFFIX)
    if not os.path.exists(path):
        hint = "`pybuild uninstall docker-plugin`, and remove it there"
        raise UsageError(f"{found.name} is a builder of buildx itself", hint=hint)
    os.unlink(path)
    if _current(environ) == found.name:
        os.unlink(os.path.join(place, _CURRENT))


def _buildx(environ: Mapping[str, str]) -> str:
    return environ.get("BUILDX_CONFIG") or os.path.join(docker_directory(environ), "buildx")


def _directory(environ: Mapping[str, str]) -> str:
    """Name the directory of our names: beside those of buildx, which would start containers for them."""
    return os.path.join(_buildx(environ), "pybuild")


def _listed(place: str) -> list[str]:
    try:
        return os.listdir(place)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _read(place: str, name: str) -> Builder | None:
    try:
        with open(os.path.join(place, name + _SUFFIX), encoding="utf-8") as file:
            raw = json.load(file)
        return Builder(name, str(raw["driver"]), float(raw["used"]), str(raw["endpoint"]))
    except FileNotFoundError:  # it was removed meanwhile
        return None
    except (ValueError, KeyError, TypeError) as error:
        path = os.path.join(place, name + _SUFFIX)
        raise UsageError(f"{path} is not what pybuild wrote: {error}", hint="remove it") from error


def places_of(environ: Mapping[str, str], name: str) -> list[str]:
    """Name the files that say which builder is chosen, and what that of a name is like; not all are there."""
    place = _directory(environ)
    known = os.path.join(_buildx(environ), "instances", name)
    return [os.path.join(place, _CURRENT), os.path.join(place, name + _SUFFIX), known]


def _current(environ: Mapping[str, str]) -> str:
    try:
        with open(os.path.join(_directory(environ), _CURRENT), encoding="utf-8") as file:
            return file.read().strip() or DEFAULT
    except (FileNotFoundError, NotADirectoryError):
        return DEFAULT


def _driver_of(path: str) -> str:
    """Return the driver of a builder of buildx's own."""
    try:
        with open(path, encoding="utf-8") as file:
            return str(json.load(file)["Driver"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is not a builder of buildx's: {error}") from error


def _new_name(environ: Mapping[str, str]) -> str:
    known = {one.name for one in builders(environ)}
    return next(name for number in range(1, len(known) + 2) if (name := f"pybuild{number}") not in known)


def _write(environ: Mapping[str, str], name: str, text: str) -> None:
    place = _directory(environ)
    path = os.path.join(place, name)
    try:
        os.makedirs(place, mode=0o700, exist_ok=True)
        with open(f"{path}.{os.getpid()}", "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(file.name, path)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror}", hint="BUILDX_CONFIG names another directory"
        ) from error
