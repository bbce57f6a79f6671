"""An image as `docker inspect` shows it, for templates and for whoever knows that; and its manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from buildah_py.image import config as image_config
from buildah_py.store.names import familiar_name, find_image

if TYPE_CHECKING:
    from buildah_py.store import Store

_CONTAINER: dict[str, Any] = {
    "User": "", "ExposedPorts": None, "Env": None, "Entrypoint": None, "Cmd": None, "Volumes": None, "WorkingDir": "",
    "Labels": None, "StopSignal": "", "Healthcheck": None, "OnBuild": None, "Shell": None, "ArgsEscaped": False,
    "Hostname": "", "Domainname": "", "Image": "",
}  # fmt: skip


def describe_image(store: Store, name: str) -> dict[str, Any]:
    """Give an image as `docker inspect` does, with `OCIv1` and `History` as buildah and podman have them besides."""
    image = find_image(store, name)
    config = image_config.from_bytes(image.config, f"the config of {name}")
    raw = config.to_dict()
    layers = [store.layers.get(diff_id) for diff_id in config.diff_ids]
    container = {**_CONTAINER, **raw.get("config", {})}
    history = [
        {
            "Created": one.created,
            "CreatedBy": one.created_by,
            "Author": one.author,
            "Comment": one.comment,
            "EmptyLayer": one.empty_layer,
        }
        for one in config.history
    ]
    platform = config.platform
    common = {
        "Created": config.created,
        "Author": config.author,
        "Architecture": platform.architecture,
        "Variant": platform.variant,
        "Config": container,
        "History": history,
    }
    return {
        "Id": image.id,
        "RepoTags": [familiar_name(full) for full in image.names or store.images.platform_names(image.id)],
        "RepoDigests": sorted({f"{one.name}@{one.digest}" for one in store.images.repo_digests(image.id)}),
        "Parent": "",
        "Comment": config.history[-1].comment if config.history else "",
        "DockerVersion": "",
        "Os": platform.os,
        "OsVersion": platform.os_version,
        "Size": sum(layer.size for layer in layers if layer),
        "RootFS": {"Type": "layers", "Layers": list(config.diff_ids)},
        **common,
        "OCIv1": {"OS": platform.os, "RootFS": {"Type": "layers", "DiffIDs": list(config.diff_ids)}, **common},
    }
