"""Images of the store: a line for each, or all that is known of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from buildah_py.errors import UsageError
from buildah_py.image import config as image_config
from buildah_py.image import reference
from buildah_py.store.names import familiar_name, find_image, full_name, readable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildah_py.image.config import ImageConfig
    from buildah_py.store import Store


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
    platform: str = ""


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
            found.append(ListedImage(repository, tag, image.id, config.created, size, digest, str(config.platform)))
    return found


def _test(text: str) -> Callable[[str, ImageConfig], bool]:
    """Return the test that `--filter` makes of a name and a config."""
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
        "names": [familiar_name(full) for full in image.names or store.images.platform_names(image.id)],
        "repo_digests": sorted(f"{one.name}@{one.digest}" for one in store.images.repo_digests(image.id)),
        "size": sum(layer.size for layer in layers if layer),
        "layers": [
            {"diff_id": layer.diff_id, "digest": layer.layer_digest, "size": layer.size, "entries": layer.entries}
            for layer in layers
            if layer
        ],
        **config.to_dict(),
    }
