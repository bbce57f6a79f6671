"""Images that builds and containers begin with: from the store where it has them, else from a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.errors import NotFound, UsageError
from buildah_py.image import platform as platforms
from buildah_py.image.reference import LAYOUT
from buildah_py.store.names import find_config, full_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildah_py.image.config import ImageConfig
    from buildah_py.progress.events import Event
    from buildah_py.sources.policy import SourcePolicy
    from buildah_py.store import Store
    from buildah_py.transfer.provider import Registries

POLICIES = ("missing", "always", "never", "newer")


class BaseImages:
    """Where images come from in one build: the store, and `registries` as `policy` says.

    `sources` is the source policy, where there is one.
    """

    def __init__(
        self,
        store: Store,
        registries: Registries,
        *,
        policy: str = "missing",
        emit: Callable[[Event], None] = lambda _: None,
        sources: SourcePolicy | None = None,
    ) -> None:
        self._store = store
        self._registries = registries
        self._policy = policy
        self._emit = emit
        self._sources = sources

    def resolve(self, name: str, platform: str) -> ImageConfig:
        """Return the config of an image for a platform. Raises NotFound, UsageError, RegistryError, ImageError.

        SourceError for an image that a source policy denies.
        """
        name = self.allowed(name)
        if self._policy == "missing" and not name.startswith(LAYOUT):
            # As often as not the image is there, and nothing else need be imported.
            try:
                config = find_config(self._store, name)
            except NotFound:
                pass
            else:
                if platforms.choose(platforms.parse(platform), [config.platform]) is not None:
                    return config
        from buildah_py.transfer.pull import Bases

        bases = Bases(self._store, self._registries.registry, policy=self._policy, emit=self._emit)
        return bases.resolve(name, platform)

    def allowed(self, name: str) -> str:
        """Return the image that the source policy has used where `name` is asked for. Raises SourceError."""
        if self._sources is None:
            return name
        try:
            asked = name if name.startswith(LAYOUT) else full_name(name)
        except UsageError:  # an id
            asked = name
        found = self._sources.image(asked)
        return name if found == asked else found


def check_policy(policy: str) -> str:
    """Return what --pull says. Raises UsageError."""
    known = {"true": "always", "false": "missing", "ifmissing": "missing", "ifnewer": "newer"}
    policy = known.get(policy.lower(), policy.lower())
    if policy not in POLICIES:
        raise UsageError(f"--pull={policy} is not a policy", hint=f"there are {', '.join(POLICIES)}")
    return policy
