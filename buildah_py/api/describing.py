"""An image as `docker inspect` shows it, for templates and for whoever knows that; and its manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from buildah_py.api.images import familiar_name, find_image
from buildah_py.errors import NotFound
from buildah_py.image import config as image_config

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
        "RepoTags": [familiar_name(full) for full in image.names],
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


def manifest_bytes(store: Store, name: str) -> bytes:
    """The manifest that an image came with from a registry, or that it would be written with.

    Raises NotFound where that is not known yet, for a manifest names compressed layers.
    """
    from buildah_py.api.layer_blobs import Form, LayerBlobs
    from buildah_py.api.outgoing import Outgoing
    from buildah_py.outputs.annotations import Annotations

    image = find_image(store, name)
    for known in store.images.repo_digests(image.id):
        if known.data:
            return known.data
    config = image_config.from_bytes(image.config, f"the config of {name}")
    outgoing = Outgoing(store, config, LayerBlobs(store, Form()), raw=image.config, annotations=Annotations())
    layers = [outgoing.descriptor(diff_id) for diff_id in config.diff_ids]
    if None in layers:
        raise NotFound(
            f"the image `{name}` has no manifest yet: its layers have not been compressed",
            hint="push it, or write it somewhere with --output",
        )
    return outgoing.assembled([one for one in layers if one is not None]).manifest_bytes
