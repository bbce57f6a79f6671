"""Whom a registry sees: credentials from the files and helpers of docker and podman."""

from __future__ import annotations

import os
from base64 import b64decode
from binascii import Error as NotBase64
from typing import TYPE_CHECKING, Any, Final

from buildah_py.errors import UsageError
from buildah_py.image.reference import DOCKER_HUB
from buildah_py.registry import authfile, helper
from buildah_py.registry.options import Credentials

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from buildah_py.registry.options import RegistryOptions

DOCKER_HUB_KEY: Final = "https://index.docker.io/v1/"
"""Name of Docker Hub in docker's file, and to helpers."""


def parse(text: str) -> Credentials:
    """Read `NAME:PASSWORD`, as --creds takes it. Raises UsageError."""
    username, colon, password = text.partition(":")
    if not colon or not username:
        raise UsageError("credentials have to be written as NAME:PASSWORD")
    return Credentials(username, password)


def find(registry: str, repository: str, options: RegistryOptions) -> Credentials | None:
    """Give the credentials for a repository of a registry, None where there are none.

    The first file that knows the registry decides; in a file a helper that is named for the registry comes first, then
    the helper for all, then what stands in the file, longest path first. Where no file does, the automatic helpers that
    the options name are asked. Raises UsageError for files and helpers that cannot be used.
    """
    if options.credentials is not None:
        return options.credentials
    for path in files(options):
        data = authfile.read(path)
        found = _from_file(data, path, registry, repository, options.environ)
        if found is not None:
            return found
    if options.helpers:
        from buildah_py.registry import automatic

        return automatic.find(registry, options)
    return None


def files(options: RegistryOptions) -> list[str]:
    """Give the files that may hold credentials, in order: podman's before docker's, or the chosen one alone."""
    if options.authfile:
        if not os.path.exists(options.authfile):
            raise UsageError(
                f"{options.authfile} does not exist",
                hint="--authfile or REGISTRY_AUTH_FILE name it; `pybuild login` makes it",
            )
        return [options.authfile]
    return [path for path in (*podman_files(options.environ), docker_file(options.environ)) if path]


def podman_files(environ: Mapping[str, str]) -> list[str]:
    """Give where podman keeps credentials: for as long as the machine runs, and for longer."""
    runtime = environ.get("XDG_RUNTIME_DIR") or f"/run/containers/{os.getuid()}"
    short = os.path.join(runtime, "containers/auth.json") if environ.get("XDG_RUNTIME_DIR") else f"{runtime}/auth.json"
    found = [short] if os.access(short, os.R_OK) else []
    home = environ.get("XDG_CONFIG_HOME") or (os.path.join(environ["HOME"], ".config") if environ.get("HOME") else "")
    return [*found, os.path.join(home, "containers/auth.json")] if home else found


def docker_file(environ: Mapping[str, str]) -> str:
    """Give where docker keeps credentials: `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`."""
    folder = environ.get("DOCKER_CONFIG") or (os.path.join(environ["HOME"], ".docker") if environ.get("HOME") else "")
    return os.path.join(folder, "config.json") if folder else ""


def keys(registry: str) -> tuple[str, ...]:
    """Give what a registry is called in files and to helpers, the usual spelling first."""
    if registry == DOCKER_HUB:
        return (DOCKER_HUB_KEY, "docker.io", "index.docker.io", "registry-1.docker.io")
    return (registry,)


def bare(key: str) -> str:
    """Give the host of a key that is written as a URL, as old versions of docker wrote it."""
    return key.removeprefix("https://").removeprefix("http://").partition("/")[0]


def _from_file(
    data: Mapping[str, Any], path: str, registry: str, repository: str, environ: Mapping[str, str]
) -> Credentials | None:
    named = helper_for(data, registry, path)
    if named and not helper.is_installed(named, environ):  # what stands in the file beside it counts then
        entry = _from_auths(data, path, registry, repository)
        if entry is not None:
            return entry
    if named:
        for key in keys(registry)[:2]:
            given = helper.get(named, key, environ)
            if given is not None:
                return given
    return _from_auths(data, path, registry, repository)


def _from_auths(data: Mapping[str, Any], path: str, registry: str, repository: str) -> Credentials | None:
    auths = authfile.table(data, "auths", path)
    entries = (_entry(auths[key], f"{path}: the entry {key}") for key in _candidates(registry, repository, auths))
    return next((entry for entry in entries if entry is not None), None)


def helper_for(data: Mapping[str, Any], registry: str, path: str) -> str:
    """Give the name of the helper that a file names for a registry, "" where there is none."""
    helpers = authfile.table(data, "credHelpers", path)
    for key in keys(registry):
        if helpers.get(key):
            return str(helpers[key])
    return str(data.get("credsStore") or "")


def _candidates(registry: str, repository: str, auths: Mapping[str, Any]) -> Iterator[str]:
    """Give the keys of a file that speak of a repository, the most particular first."""
    for key in keys(registry):
        if "://" not in key:
            parts = f"{key}/{repository}".split("/") if repository else [key]
            for count in range(len(parts), 0, -1):
                name = "/".join(parts[:count])
                if name in auths:
                    yield name
        elif key in auths:
            yield key
    for key in auths:
        if "://" in key and bare(key) in keys(registry):
            yield key


def _entry(raw: Any, what: str) -> Credentials | None:
    if not isinstance(raw, dict):
        raise UsageError(f"{what} is not an object")
    if raw.get("registrytoken"):
        return Credentials(bearer=str(raw["registrytoken"]))
    identity = str(raw.get("identitytoken") or "")
    if raw.get("auth"):
        try:
            text = b64decode(str(raw["auth"]), validate=False).decode()
        except (NotBase64, UnicodeDecodeError):
            raise UsageError(f"{what} is not base64", hint="`pybuild login` writes it anew") from None
        username, colon, password = text.partition(":")
        if not colon:
            raise UsageError(f"{what} holds no NAME:PASSWORD", hint="`pybuild login` writes it anew")
        return Credentials(username, password.rstrip("\0"), identity)
    if raw.get("username") or identity:
        return Credentials(str(raw.get("username") or ""), str(raw.get("password") or ""), identity)
    return None
