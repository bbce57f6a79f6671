"""Which servers a reference leads to: Docker Hub's real host, what registries.conf says, loopback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.errors import RegistryError
from buildah_py.http.addresses import is_loopback
from buildah_py.image.reference import DOCKER_HUB

if TYPE_CHECKING:
    from collections.abc import Iterable

    from buildah_py.image.reference import Reference
    from buildah_py.registry.configuration import Configuration

DOCKER_HUB_HOST: Final = "registry-1.docker.io"


class Endpoint(NamedTuple):
    """A repository on a server.

    `registry` is the host with its port as users write it and credentials are kept under it, `repository` the path
    there. `insecure` says that neither TLS nor a certificate is asked for, `is_other` that credentials which were given
    for one registry are not for this one.
    """

    registry: str
    repository: str
    insecure: bool = False
    is_mirror: bool = False
    is_other: bool = False

    @property
    def host(self) -> str:
        """The host, with its port, to connect to."""
        return DOCKER_HUB_HOST if self.registry == DOCKER_HUB else self.registry


def endpoints(
    reference: Reference, configuration: Configuration, *, tls_verify: bool | None = None, pushing: bool = False
) -> list[Endpoint]:
    """Give the endpoints for a reference in the order in which they are to be tried: mirrors first, none for a push.

    Raises RegistryError where the configuration blocks the registry.
    """
    found: list[Endpoint] = []
    rule = configuration.rule(reference)
    if rule is not None:
        if rule.blocked:
            raise RegistryError(
                f"{reference}: registry {rule.prefix} is blocked", hint=f"{rule.origin} says `blocked = true` for it"
            )
        if not pushing:
            found += [
                _located(reference, rule.prefix, mirror.location, mirror.insecure)._replace(is_mirror=True)
                for mirror in rule.mirrors
                if mirror.serves(by_digest=reference.digest is not None)
            ]
        if found and rule.mirrors_only:
            found[-1] = found[-1]._replace(is_mirror=False)  # there is no other place to ask
        else:
            found.append(_located(reference, rule.prefix, rule.location, rule.insecure))
    else:
        found.append(Endpoint(reference.registry, reference.repository))
    return list(_with_security(found, configuration, tls_verify, pushing=pushing))


def _with_security(
    found: Iterable[Endpoint], configuration: Configuration, tls_verify: bool | None, *, pushing: bool
) -> Iterable[Endpoint]:
    for endpoint in found:
        insecure = not tls_verify
        if tls_verify is None:
            said = configuration.is_insecure(endpoint.registry, pushing=pushing)
            insecure = endpoint.insecure or said or is_loopback(endpoint.host)
        yield endpoint._replace(insecure=insecure)


def _located(reference: Reference, prefix: str, location: str, insecure: bool) -> Endpoint:
    """Put a location in the place of the prefix of a reference's name."""
    name = reference.name
    if location and not prefix.startswith("*."):
        name = location + name[len(prefix) :]
    elif location:
        name = location + "/" + reference.repository
    registry, _, repository = name.partition("/")
    return Endpoint(registry, repository, insecure)
