"""Logging in: credentials are tried at the registry, then kept where docker and podman would find them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from buildah_py.errors import RegistryError, UsageError
from buildah_py.image.reference import DOCKER_HUB, Reference
from buildah_py.registry import authfile, helper
from buildah_py.registry import credentials as files
from buildah_py.registry.challenge import choose, parse
from buildah_py.registry.configuration import load
from buildah_py.registry.endpoint import Endpoint, endpoints
from buildah_py.registry.options import Credentials
from buildah_py.registry.session import Session, Shared

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildah_py.registry.options import RegistryOptions


class Kept(NamedTuple):
    """Where credentials are kept: a file, and the helper that it names ("" if they stand in the file itself)."""

    path: str
    helper: str


def registry_of(text: str) -> str:
    """Read the name of a registry as people give it: a host with a port, or docker's old URLs. Raises UsageError."""
    host = text.removeprefix("https://").removeprefix("http://").rstrip("/")
    for ending in ("/v1", "/v2"):
        host = host.removesuffix(ending)
    if not host or host in files.keys(DOCKER_HUB):
        return DOCKER_HUB
    from buildah_py.image import reference

    read = reference.parse(f"{host}/x")
    if read.name != f"{host}/x":
        raise UsageError(f"`{text}` is not the name of a registry", hint="registries are called host or host:port")
    return host


def check(registry: str, credentials: Credentials, options: RegistryOptions) -> Credentials:
    """Try credentials at a registry; give those to keep, which a registry may have exchanged for a token.

    Raises RegistryError where it does not take them.
    """
    probe = Reference(registry, "x")
    rules = load(options.environ, options.configuration)
    insecure = any(
        endpoint.insecure
        for endpoint in endpoints(probe, rules, tls_verify=options.tls_verify, pushing=True)
        if endpoint.registry == registry
    )
    shared = Shared(options)
    try:
        return _try(shared, Session(shared, Endpoint(registry, "", insecure), f"login to {registry}"), credentials)
    except RegistryError as error:
        if error.status not in (401, 403):
            raise
        raise RegistryError(error.message, hint="name or password are not right", status=error.status) from error
    finally:
        shared.client.close()


def _try(shared: Shared, session: Session, credentials: Credentials) -> Credentials:
    response = session.ping("")
    if response.status == 200:
        response.finish()
        return credentials  # it asks nobody who they are
    challenge = choose(parse(response.all("WWW-Authenticate")))
    if response.status != 401 or challenge is None:
        raise session.failure(response)
    response.finish()
    keep = credentials
    if challenge.scheme == "basic":
        answer = session.ping(credentials.basic())
    else:
        given = shared.tokens.fetch(challenge, (), credentials, session.asking(), offline=True)
        answer = session.ping(f"Bearer {given.token}")
        if given.refresh:
            keep = Credentials(credentials.username, identity=given.refresh)
    if answer.status != 200:
        raise session.failure(answer)
    answer.finish()
    return keep


def remember(registry: str, credentials: Credentials, options: RegistryOptions) -> Kept:
    """Keep credentials: in the chosen file, else in the file that knows the registry already, else in docker's.

    Where that file names a helper for the registry, the helper gets them. Raises UsageError.
    """
    path = _where(registry, options)
    data = authfile.read(path)
    named = files.helper_for(data, registry, path)
    key = files.keys(registry)[0] if _is_dockers(path, options) else registry
    entry: dict[str, str] = {}
    if named:
        user, secret = credentials.username, credentials.password
        if credentials.identity:
            user, secret = helper.BY_IDENTITY, credentials.identity
        helper.store(named, files.keys(registry)[0], user, secret, options.environ)
    else:
        from base64 import b64encode

        entry["auth"] = b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()
        if credentials.identity:
            entry["identitytoken"] = credentials.identity

    def edit(data: dict[str, Any]) -> None:
        auths = authfile.table(data, "auths", path)
        for old in _names(auths, registry):
            del auths[old]
        auths[key] = entry
        data["auths"] = auths

    authfile.change(path, edit)
    return Kept(path, named)


def forget(registry: str, options: RegistryOptions) -> list[Kept]:
    """Forget a registry's credentials wherever they are found; [] where there were none. Raises UsageError."""
    found = []
    for path in _existing(options):
        data = authfile.read(path)
        named = files.helper_for(data, registry, path)
        known = list(_names(authfile.table(data, "auths", path), registry))
        there = bool(named) and helper.get(named, files.keys(registry)[0], options.environ) is not None
        if there:
            helper.erase(named, files.keys(registry)[0], options.environ)
        if known:

            def edit(data: dict[str, Any], path: str = path) -> None:
                auths = authfile.table(data, "auths", path)
                for name in list(_names(auths, registry)):
                    del auths[name]

            authfile.change(path, edit)
        if there or known:
            found.append(Kept(path, named if there else ""))
    return found


def forget_all(options: RegistryOptions) -> list[str]:
    """Forget the credentials of all registries that any file names; give the registries."""
    registries: dict[str, None] = {}
    for path in _existing(options):
        data = authfile.read(path)
        for key in (*authfile.table(data, "auths", path), *authfile.table(data, "credHelpers", path)):
            name = files.bare(key)
            registries[DOCKER_HUB if name in files.keys(DOCKER_HUB) else name] = None
    return [registry for registry in registries if forget(registry, options)]


def _existing(options: RegistryOptions) -> list[str]:
    return [path for path in files.files(options) if os.path.exists(path)]


def _names(auths: dict[str, Any], registry: str) -> Iterator[str]:
    for key in list(auths):
        if key in files.keys(registry) or ("://" in key and files.bare(key) in files.keys(registry)):
            yield key


def _where(registry: str, options: RegistryOptions) -> str:
    if options.authfile:
        return options.authfile
    for path in _existing(options):
        if any(_names(authfile.table(authfile.read(path), "auths", path), registry)):
            return path
    path = files.docker_file(options.environ)
    if not path:
        raise UsageError("there is no HOME to keep credentials in", hint="name a file with --authfile")
    return path


def _is_dockers(path: str, options: RegistryOptions) -> bool:
    return os.path.basename(path) == "config.json" or path == files.docker_file(options.environ)
