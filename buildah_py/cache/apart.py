"""The cache of a build that neither takes anything from earlier ones nor leaves anything to later ones."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from buildah_py.cache.keys import step_key
from buildah_py.cache.records import Cache, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from buildah_py.cache.ingredients import Ingredients
    from buildah_py.cache.records import Made
    from buildah_py.store import Store


class IsolatedCache(Cache):
    """Records that last as long as this object."""

    apart = True

    def __init__(self, store: Store) -> None:
        """Begin with nothing known."""
        super().__init__(store)
        self._made: dict[str, Record] = {}

    def lookup(self, key: str) -> Record | None:
        """Return the record of `key`, if this build has made it."""
        return self._made.get(key)

    def observed(self, plain_key: str) -> Iterator[tuple[str, bytes]]:  # noqa: ARG002
        """Give none."""
        return iter(())

    def save(
        self,
        ingredients: Ingredients,
        made: Made,
        seconds: float,
        *,
        lists: Mapping[str, Callable[[], bytes]] | None = None,  # noqa: ARG002 - for explaining misses to later builds
        created: int | None = None,
        source: str = "",
        signer: str = "",
        learned: tuple[str, bytes] | None = None,  # noqa: ARG002 - for later builds
        here: bool | None = None,  # noqa: ARG002
    ) -> Record:
        """Say what a step led to. Its layer must be in the store."""
        assert ingredients.parent is not None
        layer = self._store.layers.get(made.diff_id)
        assert layer is not None
        inputs = {name: digest for name, digest in ingredients.inputs.items() if digest is not None}
        assert len(inputs) == len(ingredients.inputs)
        key = step_key(ingredients.parent, ingredients.canonical, inputs, version=ingredients.version)
        record = Record(
            key=key,
            parent=ingredients.parent,
            canonical=ingredients.canonical,
            inputs=inputs,
            content=made.content,
            diff_id=made.diff_id,
            created=layer.created if created is None else created,
            seconds=seconds,
            stamps=made.stamps,
            made=time.time_ns(),
            version=ingredients.version,
            source=source,
            signer=signer,
        )
        self._made[key] = record
        return record
