"""The settings of docker's config.json that a build and a container follow: proxies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from buildah_py.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROXIES: Final = {
    "httpProxy": "HTTP_PROXY",
    "httpsProxy": "HTTPS_PROXY",
    "ftpProxy": "FTP_PROXY",
    "noProxy": "NO_PROXY",
    "allProxy": "ALL_PROXY",
}


def proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that docker gives RUN steps and containers: those of $DOCKER_HOST, or else the default's.

    Raises UsageError for a file that cannot be understood.
    """
    from buildah_py.registry import authfile
    from buildah_py.registry.credentials import docker_file

    path = docker_file(environ)
    if not path:
        return {}
    given = authfile.table(authfile.read(path), "proxies", path)
    chosen = given.get(environ.get("DOCKER_HOST", ""), given.get("default")) or {}
    if not isinstance(chosen, dict):
        raise UsageError(f"{path}: proxies are to be an object for each host, or `default`")
    found = {}
    for key, name in _PROXIES.items():
        if isinstance(value := chosen.get(key), str) and value:
            found[name] = found[name.lower()] = value
    return found
