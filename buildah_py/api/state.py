"""Opening the store that the environment names."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from buildah_py.linux.identity import outer_uid
from buildah_py.sources.reach import NOWHERE
from buildah_py.store import Store, state_root
from buildah_py.transfer.provider import OriginProvider, Registries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from buildah_py.contexts.main import MainContext
    from buildah_py.sources.reach import Reach
    from buildah_py.store import LayerProvider
    from buildah_py.transfer.fetch import Opener


def open_store(
    environ: Mapping[str, str] | None = None,
    registries: Registries | None = None,
    *,
    provider: LayerProvider | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    tell: Callable[[str], object] = lambda _: None,
) -> Store:
    """Open the store of this user, or the one that `$PYBUILD_ROOT` names. Raises StoreError.

    Layers that are elsewhere come from `provider`, or else from their origins, with `registries` or as the environment
    says. `cancelled` and `tell` are those of Store; `tell` hears of what is fetched too.
    """
    if provider is None:
        provider = OriginProvider(
            registries or Registries(environ), openers=lambda: _openers(environ), tell=tell, cancelled=cancelled
        )
    return Store(own_root(environ), provider, cancelled=cancelled, tell=tell)


def _openers(environ: Mapping[str, str] | None) -> Mapping[str, Opener]:
    """Return the ways to open layers that lie in shared caches."""
    from buildah_py.sharing.backends import Backends

    return Backends(os.environ if environ is None else environ).openers()


def own_root(environ: Mapping[str, str] | None = None) -> str:
    """Say where that store lies."""
    return state_root(os.environ if environ is None else environ, outer_uid())


@contextmanager
def opened(
    context: str | None,
    file: str | None,
    environ: Mapping[str, str],
    *,
    reach: Reach = NOWHERE,
    needs_file: bool = True,
    text: str | None = None,
) -> Iterator[MainContext]:
    """Find the main context for no longer than it is looked at; the state directory is used only for a remote one.

    `text` is the build file's, where that is known.
    """
    from functools import cache

    from buildah_py.contexts.main import open_main

    with ExitStack() as stack:
        store = cache(lambda: stack.enter_context(open_store(environ, tell=reach.tell)))
        yield open_main(context, file, store, reach=reach, needs_file=needs_file, text=text)
