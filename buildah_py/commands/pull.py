"""`pybuild pull`: images with all their layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.errors import UsageError
from buildah_py.image import platform as platforms
from buildah_py.image import reference as references
from buildah_py.progress import events
from buildah_py.transfer.pull import Bases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from buildah_py.progress.events import Event
    from buildah_py.store import Store
    from buildah_py.transfer.provider import Registries


def pull(
    store: Store,
    registries: Registries,
    name: str,
    *,
    platform: str = "",
    all_tags: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[str]:
    """Get an image, or all tags of a repository, for a platform (this machine's); their ids, one after the other.

    Events meanwhile go to `tell`. Raises UsageError, RegistryError, NotFound, ImageError, ArchiveError.
    """

    def emit(event: Event) -> None:
        if isinstance(event, events.Note | events.Warning):
            tell(event.text)

    wanted = platforms.asked_for(platform) if platform else platforms.host()
    reference = references.parse(name)
    names = [name]
    if all_tags:
        if reference.tag or reference.digest:
            raise UsageError(f"--all-tags: {name} names one image", hint="name the repository alone")
        names = [reference._replace(tag=tag).full for tag in registries.registry().tags(reference)]
    bases = Bases(store, registries.registry, emit=emit)
    for one in names:
        found = bases.pull(one, wanted, store.need)
        store.make_durable()
        tell(f"{references.parse(one).with_default_tag().familiar}: {found.digest}")
        yield found.id
