"""The images that builds and containers begin with: from the store where it has them, else from a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.api.images import find_config
from buildah_py.errors import NotFound, UsageError
from buildah_py.image import platform as platforms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildah_py.api.fetching import Fetcher, Opener
    from buildah_py.api.state import Registries
    from buildah_py.image.config import ImageConfig
    from buildah_py.progress.events import Event
    from buildah_py.store import Store, StoredBlob

LAYOUT = "oci-layout://"
"""What the name of an image in an OCI layout begins with."""

POLICIES = ("missing", "always", "never", "newer")


class Images:
    """Where images come from in one build: the store, and `registries` as `policy` says.

    It is also what gets layers into the store when something needs them: `openers` gives further ways to open what the
    store calls an origin, by its kind, and `cancelled` ends the fetching early.
    """

    def __init__(
        self,
        store: Store,
        registries: Registries,
        *,
        policy: str = "missing",
        emit: Callable[[Event], None] = lambda _: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._registries = registries
        self._policy = policy
        self._emit = emit
        self.cancelled = cancelled
        self.openers: Callable[[], Mapping[str, Opener]] = dict
        self._announced: set[str] = set()
        store.fetch, store.fetch_blob = self.fetch, self.fetch_blob

    def resolve(self, name: str, platform: str) -> ImageConfig:
        """The config of an image for a platform. Raises NotFound, UsageError, RegistryError, ImageError."""
        if self._policy == "missing" and not name.startswith(LAYOUT):
            # As often as not the image is there, and nothing else need be imported.
            try:
                config = find_config(self._store, name)
            except NotFound:
                pass
            else:
                if platforms.choose(platforms.parse(platform), [config.platform]) is not None:
                    return config
        from buildah_py.api.pulling import Bases

        bases = Bases(self._store, self._registries.registry, policy=self._policy, emit=self._emit)
        return bases.resolve(name, platform)

    def fetch(self, diff_ids: Sequence[str]) -> None:
        """Get absent layers."""
        self._fetcher().ensure(diff_ids)

    def fetch_blob(self, diff_id: str) -> StoredBlob:
        """Get a layer's bytes as they are elsewhere, without unpacking them."""
        return self._fetcher().blob(diff_id)

    def _fetcher(self) -> Fetcher:
        from buildah_py.api.fetching import Fetcher

        fetcher = Fetcher(
            self._store,
            self._registries.registry,
            emit=self._emit,
            cancelled=self.cancelled,
            announced=self._announced,
        )
        fetcher.openers.update(self.openers())
        return fetcher


def check_policy(policy: str) -> str:
    """Return what --pull says. Raises UsageError."""
    known = {"true": "always", "false": "missing", "ifmissing": "missing", "ifnewer": "newer"}
    policy = known.get(policy.lower(), policy.lower())
    if policy not in POLICIES:
        raise UsageError(f"--pull={policy} is no policy", hint=f"there are {', '.join(POLICIES)}")
    return policy
