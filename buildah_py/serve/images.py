"""Images of the store as Docker's Engine API describes them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from buildah_py.serve.body import read_object
from buildah_py.serve.faults import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from buildah_py.store import Store

_NO_NAME: Final = "<none>"
_SECOND: Final = 1_000_000_000


def filters_of(text: str) -> list[tuple[str, str]]:
    """Read the parameter `filters`: values by name, in a list or as keys of an object. Raises RequestError."""
    found = []
    for name, values in read_object(text, "filters").items():
        if isinstance(values, dict):
            values = [value for value, wanted in values.items() if wanted]
        if not isinstance(values, list):
            raise RequestError(400, f"filters: the values of {name} are not a list")
        found += [(name, str(value)) for value in values]
    return found


def list_images(store: Store, filters: list[tuple[str, str]], warn: Callable[[str], object]) -> list[dict[str, Any]]:
    """List images, the newest first."""
    from buildah_py.image import config as image_config
    from buildah_py.image import timestamp
    from buildah_py.query.images import list_images as list_names
    from buildah_py.store.names import find_image

    words = []
    for name, value in filters:
        if name not in ("dangling", "label", "reference"):
            raise RequestError(400, f"invalid filter '{name}': there are dangling, label and reference")
        value = {"1": "true", "0": "false"}.get(value, value) if name == "dangling" else value
        words.append(f"{name}={value}")
    found: dict[str, dict[str, Any]] = {}
    for one in list_names(store, None, words, warn=warn):
        image = found.get(one.id)
        if image is None:
            stored = find_image(store, one.id)
            config = image_config.from_bytes(stored.config, f"the config of {one.id}")
            image = found[one.id] = {
                "Id": one.id,
                "ParentId": "",
                "RepoTags": [],
                "RepoDigests": sorted({f"{at.name}@{at.digest}" for at in store.images.repo_digests(one.id)}),
                "Created": timestamp.from_text(one.created) // _SECOND if one.created else 0,
                "Size": one.size,
                "VirtualSize": one.size,
                "SharedSize": -1,
                "Containers": -1,
                "Labels": dict(config.labels),
            }
        if _NO_NAME not in (one.repository, one.tag):
            image["RepoTags"].append(f"{one.repository}:{one.tag}")
    return list(found.values())


def describe(store: Store, name: str) -> dict[str, Any]:
    """Describe an image."""
    from buildah_py.query.describe import describe_image

    found = {key: value for key, value in describe_image(store, name).items() if key not in ("OCIv1", "History")}
    return {
        **found,
        "VirtualSize": found["Size"],
        "GraphDriver": {"Data": None, "Name": "overlay2"},
        "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"},
    }


def history(store: Store, name: str) -> list[dict[str, Any]]:
    """Tell how an image came about, the newest step first."""
    from buildah_py.image import timestamp
    from buildah_py.query.image import history as lines_of
    from buildah_py.query.image import open_image
    from buildah_py.store.names import familiar_name, find_image

    image = open_image(store, name)
    names = [familiar_name(full) for full in find_image(store, name).names]
    lines = lines_of(store, image.config)[::-1]
    return [
        {
            "Id": image.id if not place else "<missing>",
            "Created": timestamp.from_text(line.created) // _SECOND if line.created else 0,
            "CreatedBy": line.created_by,
            "Tags": names or None if not place else None,
            "Size": line.size,
            "Comment": line.comment,
        }
        for place, line in enumerate(lines)
    ]


def remove(store: Store, name: str, *, force: bool) -> list[dict[str, str]]:
    """Remove a name, or an image; what was done."""
    from buildah_py.commands.images import remove_image

    lines = (line.partition(" ") for line in remove_image(store, name, force=force))
    return [{"Untagged" if word == "untagged" else "Deleted": what} for word, _, what in lines]


def usage(store: Store, warn: Callable[[str], object]) -> dict[str, Any]:
    """Tell what takes how much of the disk."""
    from buildah_py.query.usage import report_usage

    report = report_usage(store, warn)
    return {
        "LayersSize": report.parts.layers,
        "Images": list_images(store, [], warn),
        "Containers": [],
        "Volumes": [],
        "BuildCache": [],
        "BuilderSize": report.cache,
    }


def prune_words(query: Mapping[str, list[str]], *, cache: bool) -> list[str]:
    """Give the command line that prunes images, or the cache. Raises RequestError."""
    found = ["prune", "--cache" if cache else "--images", "--force", "--format=json"]
    for name, value in filters_of(query.get("filters", [""])[-1]):
        if name == "dangling":
            found += ["--all"] if value in ("false", "0") else []
        elif name == "until" or name in ("label", "label!"):
            found.append(f"--filter={name}={value}")
        else:
            raise RequestError(400, f"invalid filter '{name}': there are dangling, until, label and label!")
    if query.get("all", [""])[-1].lower() in ("1", "true"):
        found.append("--all")
    for name, option in (
        ("keep-storage", "reserved-space"), ("reserved-space", "reserved-space"),
        ("max-used-space", "max-used-space"), ("min-free-space", "min-free-space"),
    ):  # fmt: skip
        if value := query.get(name, [""])[-1]:
            if not value.isdecimal():
                raise RequestError(400, f"{name}={value} is not a number of bytes")
            found.append(f"--{option}={value}")
    return found


def pruned(printed: bytes, *, cache: bool) -> dict[str, Any]:
    """Say as Docker does what `pybuild prune` has removed."""
    done = json.loads(printed)
    if cache:
        return {"CachesDeleted": [], "SpaceReclaimed": done["freed"]}
    gone = [{"Deleted" if one.startswith("sha256:") else "Untagged": one} for one in done["images"]]
    return {"ImagesDeleted": gone, "SpaceReclaimed": done["freed"]}
