"""Names of images: how the store spells them, how people do, and which image one of them means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.errors import ImageError, NotFound, UsageError
from buildah_py.image import config as image_config
from buildah_py.image import reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from buildah_py.image.config import ImageConfig
    from buildah_py.store.images import StoredImage
    from buildah_py.store.store import Store

_HOW = "`pybuild pull` gets it from a registry; `pybuild images` lists what is there"


def full_name(name: str) -> str:
    """Spell a name as the store keeps it: every default filled in. Raises UsageError."""
    return names_digest(reference.parse(name).with_default_tag())


def names_digest(name: reference.Reference) -> str:
    """Spell a reference as the store keeps it: a digest says all, so that no tag stands beside it."""
    return name._replace(tag=None).full if name.digest else name.full


def familiar_name(name: str) -> str:
    """Spell a name of the store as people do."""
    return reference.parse(name).familiar


def find_image(store: Store, name: str) -> StoredImage:
    """Find an image by name, or by the beginning of its id. Raises NotFound."""
    try:
        found = store.images.by_name(full_name(name))
    except UsageError:
        if not (name.startswith("sha256:") or _may_be_id(name)):
            raise
        found = None
    if found is None and "@" in name:
        found = _by_digest(store, name)
    if found is None and _may_be_id(name):
        found = store.images.by_id(name)
    if found is None:
        raise NotFound(f"there is no image `{name}` in the store", hint=how_to_get(store, name) or _HOW)
    return found


def _by_digest(store: Store, name: str) -> StoredImage | None:
    """Return the image that a registry is known to have under a digest, that of this machine's platform first."""
    from buildah_py.image import platform as platforms

    wanted = reference.parse(name)
    found = store.images.by_repo_digest(wanted.name, wanted.digest or "")
    position = platforms.choose(platforms.host(), [image_config.from_bytes(one.config).platform for one in found])
    return found[position or 0] if found else None


def find_config(store: Store, name: str) -> ImageConfig:
    """Return the config of an image of the store. Raises NotFound."""
    image = find_image(store, name)
    return image_config.from_bytes(image.config, f"the config of {name}")


def readable(images: Iterable[StoredImage], warn: Callable[[str], object]) -> Iterator[tuple[StoredImage, ImageConfig]]:
    """Give images with their configs; one whose config cannot be read is no hindrance to others: `warn` is told."""
    for image in images:
        try:
            config = image_config.from_bytes(image.config, f"the config of {image.id}")
        except ImageError as error:
            warn(f"{error.message}; `pybuild rmi {image.id[7:19]}` removes the image")
        else:
            yield image, config


def _may_be_id(name: str) -> bool:
    text = name.removeprefix("sha256:")
    return len(text) >= 4 and all(char in "0123456789abcdef" for char in text)


def how_to_get(store: Store, name: str, *, similar: bool = True) -> str:
    """Say how the image can be made here, with `similar` what else may have been meant; "" where nothing is known."""
    from buildah_py.suggest import did_you_mean

    known = [familiar_name(full).removesuffix(":latest") for image in store.images.all() for full in image.names]
    if similar and (hint := did_you_mean(name, known)):
        return hint
    stem = name.partition(":")[0]
    return f"`pybuild bootstrap {name}` makes it without a registry" if stem in ("busybox", "debian") else ""
