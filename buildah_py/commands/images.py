"""Give images of the store further names, and remove them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.errors import UsageError
from buildah_py.store.names import familiar_name, find_image, full_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildah_py.store import Store


def tag_image(store: Store, name: str, names: Sequence[str]) -> None:
    """Give an image further names; a name that another image had moves here. Raises NotFound, UsageError."""
    full = [full_name(one) for one in names]
    for one, text in zip(full, names, strict=True):
        if "@" in one:
            raise UsageError(f"`{text}` has a digest, which only the image's content decides", hint="name a tag")
    image = find_image(store, name)
    built = store.images.build_of(image.id)
    if built is not None:
        from buildah_py.api.recorded import call_too

        built = call_too(built, _full(name), full)
    with store.manifest_lists.editing():
        store.images.put(image.id, image.config, (), full, built)
        if store.manifest_lists.is_built(_full(name)):
            for one in full:
                if one != _full(name):
                    store.manifest_lists.copy(_full(name), one)


def remove_image(store: Store, name: str, *, force: bool = False) -> list[str]:
    """Remove a name, and the image with its last one; an id with all its names if `force`.

    Returns what was done, a line each.
    """
    image = find_image(store, name)
    full = _full(name)
    if full in image.names:
        store.images.remove_name(full)
        gone = store.images.raw(image.id) is None
        return [f"untagged {familiar_name(full)}", *([f"deleted {image.id}"] if gone else [])]
    if lists := store.manifest_lists.holding(image.id):
        raise UsageError(
            f"{name} is in the manifest list {familiar_name(lists[0])}",
            hint="take it out with `pybuild manifest remove`, or the list away with `pybuild manifest rm`",
        )
    if len(image.names) > 1 and not force:
        names = ", ".join(map(familiar_name, image.names))
        raise UsageError(f"{name} has several names: {names}", hint="remove the names, or all of them with --force")
    return [*(f"untagged {familiar_name(one)}" for one in store.images.remove(image.id)), f"deleted {image.id}"]


def _full(name: str) -> str:
    """Return a full name; "" for what is an id."""
    try:
        return full_name(name)
    except UsageError:
        return ""
