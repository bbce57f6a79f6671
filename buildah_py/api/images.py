"""Images in the store: finding, listing, showing and removing them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from buildah_py.errors import ImageError, NotFound, UsageError
from buildah_py.image import config as image_config
from buildah_py.image import reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from buildah_py.image.config import ImageConfig
    from buildah_py.store import Store, StoredImage


class ListedImage(NamedTuple):
    """A line of `pybuild images`; an image without a name has `<none>` for both parts of it. `size` in bytes.

    `digest` is what the registry of that name calls the image, as far as that is known.
    """

    repository: str
    tag: str
    id: str
    created: str
    size: int
    digest: str = ""


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
        if not name.startswith("sha256:"):
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
    """The image that a registry is known to have under a digest, for this machine's platform first."""
    from buildah_py.image import platform as platforms

    wanted = reference.parse(name)
    found = store.images.by_repo_digest(wanted.name, wanted.digest or "")
    position = platforms.choose(platforms.host(), [image_config.from_bytes(one.config).platform for one in found])
    return found[position or 0] if found else None


def find_config(store: Store, name: str) -> ImageConfig:
    """The config of an image of the store. Raises NotFound."""
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


def list_images(
    store: Store, name: str | None = None, filters: Sequence[str] = (), *, warn: Callable[[str], object]
) -> list[ListedImage]:
    """List every name of every image that passes all filters, the newest image first. Raises UsageError."""
    wanted = full_name(name) if name else None
    tests = [_test(text) for text in filters]
    found = []
    for image, config in readable(store.images.all(), warn):
        size = sum(layer.size for layer in map(store.layers.get, config.diff_ids) if layer)
        known = {one.name: one.digest for one in store.images.repo_digests(image.id) if not one.is_index}
        for full in image.names or store.images.platform_names(image.id) or ("",):
            if (wanted and full != wanted) or not all(test(full, config) for test in tests):
                continue
            repository, tag = _split_name(full)
            digest = known.get(reference.parse(full).name, "") if full else ""
            found.append(ListedImage(repository, tag, image.id, config.created, size, digest))
    return found


def _test(text: str) -> Callable[[str, ImageConfig], bool]:
    """What `--filter` says of a name and a config."""
    from fnmatch import fnmatchcase

    key, _, value = text.partition("=")
    if key == "dangling" and value in ("true", "false"):
        return lambda full, _: (not full) == (value == "true")
    if key == "label" and value:
        label, equals, content = value.partition("=")
        return lambda _, config: label in config.labels and (not equals or config.labels[label] == content)
    if key == "reference" and value:

        def matches(full: str, _: ImageConfig) -> bool:
            name = familiar_name(full) if full else ""
            return fnmatchcase(name, value) or fnmatchcase(name.rpartition(":")[0], value)

        return matches
    raise UsageError(
        f"--filter {text} means nothing", hint="there are dangling=true|false, label=KEY[=VALUE], reference=PATTERN"
    )


def _split_name(full: str) -> tuple[str, str]:
    if not full:
        return "<none>", "<none>"
    name, at, _ = familiar_name(full).partition("@")
    if at:
        return name, "<none>"
    repository, _, tag = name.rpartition(":")
    return repository, tag


def inspect_image(store: Store, name: str) -> dict[str, Any]:
    """Give an image's id, names, layers and config, as they are written as JSON. Raises NotFound."""
    image = find_image(store, name)
    config = image_config.from_bytes(image.config)
    layers = [store.layers.get(diff_id) for diff_id in config.diff_ids]
    return {
        "id": image.id,
        "names": [familiar_name(full) for full in image.names],
        "repo_digests": sorted(f"{one.name}@{one.digest}" for one in store.images.repo_digests(image.id)),
        "size": sum(layer.size for layer in layers if layer),
        "layers": [
            {"diff_id": layer.diff_id, "digest": layer.layer_digest, "size": layer.size, "entries": layer.entries}
            for layer in layers
            if layer
        ],
        **config.to_dict(),
    }


def tag_image(store: Store, name: str, names: Sequence[str]) -> None:
    """Give an image further names; a name that another image had moves here. Raises NotFound, UsageError."""
    full = [full_name(one) for one in names]
    for one, text in zip(full, names, strict=True):
        if "@" in one:
            raise UsageError(f"`{text}` has a digest, which only the image's content decides", hint="name a tag")
    image = find_image(store, name)
    store.images.put(image.id, image.config, (), full)


def remove_image(store: Store, name: str, *, force: bool = False) -> list[str]:
    """Remove a name, and the image with its last one; an id with all its names if `force`.

    What was done, a line each.
    """
    image = find_image(store, name)
    try:
        full = full_name(name)
    except UsageError:
        full = ""
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


def _may_be_id(name: str) -> bool:
    text = name.removeprefix("sha256:")
    return len(text) >= 4 and all(char in "0123456789abcdef" for char in text)


def how_to_get(store: Store, name: str) -> str:
    """Say what else may have been meant, or how the image can be made here; "" where nothing is known."""
    from difflib import get_close_matches

    known = [familiar_name(full).removesuffix(":latest") for image in store.images.all() for full in image.names]
    if close := get_close_matches(name, known, 1):
        return f"did you mean `{close[0]}`?"
    stem = name.partition(":")[0]
    return f"`pybuild bootstrap {name}` makes it without a registry" if stem in ("busybox", "debian") else ""


_HOW = "`pybuild pull` gets it from a registry; `pybuild images` lists what is there"
