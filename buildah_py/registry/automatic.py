"""Credentials that no file names: those of a CI job's environment, and of clouds, by the name of the registry.

The names are those of kaniko's --credential-helpers. `env` and `gitlab` read variables; the others are programs, which
are asked where they are installed, and find a pod's service account, a role or a workload identity by themselves.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py import debug
from buildah_py.errors import UsageError
from buildah_py.registry import helper
from buildah_py.registry.options import Credentials

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildah_py.registry.options import RegistryOptions

ENV: Final = "env"
GITLAB: Final = "gitlab"


class Cloud(NamedTuple):
    """Registries of a cloud, by patterns of their names, and the programs that know credentials for them."""

    hosts: tuple[str, ...]
    programs: tuple[str, ...]


CLOUDS: Final = {
    "google": Cloud(("gcr.io", "*.gcr.io", "*.pkg.dev"), ("gcr", "gcloud")),
    "ecr": Cloud(
        ("*.dkr.ecr.*.amazonaws.com", "*.dkr.ecr.*.amazonaws.com.cn", "*.dkr-ecr.*.on.aws", "public.ecr.aws"),
        ("ecr-login",),
    ),
    "acr": Cloud(("*.azurecr.io", "*.azurecr.cn", "*.azurecr.us"), ("acr-env",)),
}
NAMES: Final = (ENV, *CLOUDS, GITLAB)


def find(registry: str, options: RegistryOptions) -> Credentials | None:
    """Return the credentials for a registry that the first of the options' helpers has, None where none does.

    A program that fails is told of, and nobody is logged in: what is public can be had all the same.
    """
    environ = options.environ
    for name in options.helpers:
        if name == ENV:
            found = _of_environment(registry, environ)
        elif name == GITLAB:
            found = _of_gitlab(registry, environ)
        else:
            found = _of_cloud(CLOUDS[name], registry, options)
        if found is not None:
            debug.log("credentials for %s: %s", registry, name)
            return found
    return None


def _of_environment(registry: str, environ: Mapping[str, str]) -> Credentials | None:
    """Read DOCKER_<host>_USR and _PSW, of the host or a domain that it is in; `.`, `-` and `:` are `_`.

    A top-level domain names nobody.
    """
    labels = registry.split(".")
    for first in range(max(1, len(labels) - 1)):
        name = ".".join(labels[first:]).translate(str.maketrans(".-:", "___"))
        user, password = environ.get(f"DOCKER_{name}_USR"), environ.get(f"DOCKER_{name}_PSW")
        if user and password:
            return Credentials(user, password)
    return None


def _of_gitlab(registry: str, environ: Mapping[str, str]) -> Credentials | None:
    """Read what GitLab gives a job for its own registry."""
    user, password = environ.get("CI_REGISTRY_USER"), environ.get("CI_REGISTRY_PASSWORD")
    if registry == environ.get("CI_REGISTRY") and user and password:
        return Credentials(user, password)
    return None


def _of_cloud(cloud: Cloud, registry: str, options: RegistryOptions) -> Credentials | None:
    if not any(fnmatchcase(registry, pattern) for pattern in cloud.hosts):
        return None
    program = next((one for one in cloud.programs if helper.is_installed(one, options.environ)), "")
    if not program:
        debug.log("no program of %s is installed for %s", ", ".join(cloud.programs), registry)
        return None
    try:
        return helper.get(program, registry, options.environ)
    except UsageError as error:
        options.waiter.tell(f"{error.message}; {registry} is asked without credentials")
        return None
