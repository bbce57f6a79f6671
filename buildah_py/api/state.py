"""Opening the store that the environment names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.linux.identity import outer_uid
from buildah_py.store import Store, state_root

if TYPE_CHECKING:
    from collections.abc import Mapping


def open_store(environ: Mapping[str, str] | None = None) -> Store:
    """Open the store of this user, or the one that `$PYBUILD_ROOT` names. Raises StoreError."""
    return Store(own_root(environ))


def own_root(environ: Mapping[str, str] | None = None) -> str:
    """Say where that store lies."""
    return state_root(os.environ if environ is None else environ, outer_uid())
