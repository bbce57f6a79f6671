"""Logging in to registries, and out again."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from buildah_py.errors import NotFound

if TYPE_CHECKING:
    from buildah_py.registry import Credentials, RegistryOptions


class LoggedIn(NamedTuple):
    """`registry` as it is called from now on; `where` its credentials are kept."""

    registry: str
    where: str


def log_in(registry: str, credentials: Credentials, options: RegistryOptions) -> LoggedIn:
    """Try credentials at a registry ("" for Docker Hub) and keep them. Raises RegistryError, UsageError."""
    from buildah_py.registry import login

    name = login.registry_of(registry)
    kept = login.remember(name, login.check(name, credentials, options), options)
    return LoggedIn(name, f"docker-credential-{kept.helper}" if kept.helper else kept.path)


def log_out(registry: str, options: RegistryOptions) -> str | None:
    """Forget a registry's credentials; give its name, None where there were none."""
    from buildah_py.registry import login

    name = login.registry_of(registry)
    return name if login.forget(name, options) else None


def log_out_everywhere(options: RegistryOptions) -> list[str]:
    """Forget the credentials of all registries; give their names."""
    from buildah_py.registry import login

    return login.forget_all(options)


def user_of(registry: str, options: RegistryOptions) -> str:
    """Give the name under which one is logged in to a registry. Raises NotFound."""
    from buildah_py.registry import credentials, login

    name = login.registry_of(registry)
    found = credentials.find(name, "", options)
    if found is None:
        raise NotFound(f"not logged in to {name}", hint=f"`pybuild login {name}`")
    return found.username or "<token>"
