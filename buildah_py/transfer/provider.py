"""The provider of a store's layers: registries, and whatever else the store names as the origin of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildah_py.store import Store, StoredBlob
    from buildah_py.transfer.fetch import Opener
    from buildah_py.transfer.registries import Registries


class OriginProvider:
    """Gets layers from their origins, as `LayerProvider` says.

    `openers` gives ways to open origins beside registries and layouts, by their kinds, when they are first needed.
    `tell` hears of what is fetched; `cancelled` ends it early.
    """

    def __init__(
        self,
        registries: Registries,
        *,
        openers: Callable[[], Mapping[str, Opener]] = dict,
        tell: Callable[[str], object] = lambda _: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self._registries = registries
        self._openers = openers
        self._tell = tell
        self._cancelled = cancelled
        self._announced: set[str] = set()

    def ensure(self, store: Store, diff_ids: Sequence[str]) -> None:
        """Have the files of layers in the store.

        Raises NotFound, ArchiveError, RegistryError where one of them cannot be had, Interrupted.
        """
        from buildah_py.transfer.fetch import Fetch

        Fetch(
            store,
            self._registries.registry,
            self._openers(),
            tell=self._tell,
            cancelled=self._cancelled,
            announced=self._announced,
        ).ensure(diff_ids)

    def blob(self, store: Store, diff_id: str) -> StoredBlob:
        """Have the blob of a layer in the store, without unpacking it. Raises what `ensure` does."""
        from buildah_py.transfer.fetch import Fetch

        return Fetch(store, self._registries.registry, self._openers(), cancelled=self._cancelled).blob(diff_id)

    def close(self) -> None:
        """End the connections."""
        self._registries.close()
