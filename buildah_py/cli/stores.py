"""The store as commands open it: what they wait for there they say, on the standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.cli.printing import complain

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildah_py.store import Store
    from buildah_py.transfer.provider import Registries


def open_store(registries: Registries | None = None, *, tell: Callable[[str], object] = complain) -> Store:
    """Open the store of this user, or the one that `$PYBUILD_ROOT` names. Raises StoreError.

    `tell` hears of layers that are fetched, and of waits of a second and more.
    """
    from buildah_py.api import state

    return state.open_store(registries=registries, tell=tell)
