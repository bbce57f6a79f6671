"""Options for registries, of the command line and of the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.frozen import dataclass, field
from buildah_py.http.retry import DEFAULT, NOBODY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from buildah_py.http.retry import Policy, Waiter
    from buildah_py.http.tls import Files
    from buildah_py.registry.configuration import Configuration


@dataclass(frozen=True, slots=True)
class Sizes:
    """How blobs are uploaded, in bytes: larger ones than `whole` go in pieces of `piece`, or of `small` if need be."""

    whole: int = 256 << 20
    piece: int = 64 << 20
    small: int = 8 << 20


@dataclass(frozen=True, slots=True)
class Credentials:
    """A name and a password, or a token: `identity` is exchanged for others, `bearer` is sent as it is."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity: str = field(default="", repr=False)
    bearer: str = field(default="", repr=False)

    def basic(self) -> str:
        """Give the value of an Authorization header."""
        from base64 import b64encode

        return "Basic " + b64encode(f"{self.username}:{self.password}".encode()).decode()

    def secrets(self) -> tuple[str, ...]:
        """Give what must not be shown."""
        return tuple(secret for secret in (self.password, self.identity, self.bearer) if secret)


@dataclass(frozen=True, slots=True)
class RegistryOptions:
    """How registries are reached.

    `tls_verify`: None trusts no registry but those on loopback and those that the configuration calls insecure; True
    not even them, False all. `ca_files` are further CAs, `cert_dir` a directory instead of the certs.d ones, `authfile`
    a file of credentials instead of all others, `credentials` are instead of any file, for the registries
    `credentials_for` alone if any are said. `configuration` is a registries.conf instead of the system's; what is
    `given` holds above any of these. `files_for` are certificates for registries by their names, beside those of
    directories. `helpers` are those of `automatic.py` that are asked where no file knows a registry. With
    `immutable_is_fine` a tag that is there and may not be moved is no failure of a push. `waiter` hears of waits.
    """

    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    tls_verify: bool | None = None
    ca_files: tuple[str, ...] = ()
    cert_dir: str = ""
    authfile: str = ""
    credentials: Credentials | None = None
    credentials_for: frozenset[str] = frozenset()
    configuration: str = ""
    given: Configuration | None = None
    files_for: Mapping[str, Files] = field(default_factory=dict)
    helpers: tuple[str, ...] = ()
    immutable_is_fine: bool = False
    policy: Policy = DEFAULT
    sizes: Sizes = Sizes()
    waiter: Waiter = field(default=NOBODY, repr=False, compare=False)

    @classmethod
    def from_environment(
        cls,
        environ: Mapping[str, str],
        *,
        tls_verify: bool | None = None,
        ca_files: Sequence[str] = (),
        cert_dir: str = "",
        authfile: str = "",
        credentials: Credentials | None = None,
        configuration: str = "",
        policy: Policy | None = None,
        sizes: Sizes | None = None,
        waiter: Waiter = NOBODY,
    ) -> RegistryOptions:
        """Make options; whatever is not said is as `environ` and the files that it leads to say. Reads no file."""
        return cls(
            environ=dict(environ),
            tls_verify=tls_verify,
            ca_files=tuple(ca_files),
            cert_dir=cert_dir,
            authfile=authfile or environ.get("REGISTRY_AUTH_FILE", ""),
            credentials=credentials,
            configuration=configuration or environ.get("CONTAINERS_REGISTRIES_CONF", ""),
            policy=policy or DEFAULT,
            sizes=sizes or Sizes(),
            waiter=waiter,
        )
