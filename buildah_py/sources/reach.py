"""Means of a build to get at what is elsewhere: secrets, and whether others may lead it to this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from buildah_py.layers.limits import DEFAULT_LIMITS, ArchiveLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from buildah_py.sources.policy import SourcePolicy

DIGESTED = "scrypt:"
"""How the digest of a secret's value begins."""


class Reach(NamedTuple):
    """`secret` gives a secret's value by its id, None for one that was not given.

    `secret_digest` gives by the id what of it enters keys: "" where it was not given, "given", or a digest of its value
    where that was asked for. `agents` are the sockets of ssh agents by their ids.
    With `local_redirects`, servers elsewhere may redirect to this machine or its link, and repositories there have
    submodules here. Whatever is fetched ends early where `cancelled()`. `limits` bound what a source may bring: an
    archive, or what is fetched. `tell` is told of waits of a second and more.
    `policy` says which sources may be used, where there is one. `used` is told of each that was: URL and digest.
    """

    secret: Callable[[str], bytes | None] = lambda _: None
    secret_digest: Callable[[str], str] = lambda _: ""
    agents: Mapping[str, str] = {}
    local_redirects: bool = False
    cancelled: Callable[[], bool] = lambda: False
    limits: ArchiveLimits = DEFAULT_LIMITS
    tell: Callable[[str], object] = lambda _: None
    policy: SourcePolicy | None = None
    used: Callable[[str, str], object] = lambda _url, _digest: None

    def http(self, url: str, checksum: str = "") -> tuple[str, str]:
        """Return the URL to fetch where `url` is asked for, and the digest that it has to have. Raises SourceError."""
        return (url, checksum) if self.policy is None else self.policy.http(url, checksum)

    def git(self, url: str) -> str:
        """Return the URL of the repository to fetch where `url` is asked for. Raises SourceError."""
        return url if self.policy is None else self.policy.git(url)

    @property
    def agent(self) -> str:
        """The socket of the ssh agent that repositories are reached with, "" for none."""
        return self.agents.get("default", "")

    def lent(self, name: str, *, required: bool) -> str:
        """Return the part of a secret that enters a key: its value only where that was asked for, "" for nothing.

        One that need not be there can change a result by being there or not.
        """
        digest = self.secret_digest(name) or "not given"
        return "" if required and not digest.startswith(DIGESTED) else digest


NOWHERE = Reach()
