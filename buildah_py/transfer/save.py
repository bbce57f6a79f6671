"""`pybuild save`: images of the store in one archive or layout, as others load them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Final

from buildah_py.errors import NotFound, UsageError
from buildah_py.image import canonical
from buildah_py.image import config as image_config
from buildah_py.outputs import target
from buildah_py.outputs.archive import TarLayout
from buildah_py.outputs.spec import Output
from buildah_py.store.names import find_image, full_name
from buildah_py.transfer.write import Exporter, check_outputs, check_times

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildah_py.registry import RegistryOptions
    from buildah_py.store import Store

FORMATS: Final = ("docker-archive", "oci-archive", "oci-dir")


def save(
    store: Store,
    names: Sequence[str],
    dest: str,
    registry: RegistryOptions,
    *,
    form: str = FORMATS[0],
    compression: str | None = None,
) -> None:
    """Write images to `dest` (`-`: standard output). Raises NotFound, UsageError, OutputError."""
    docker = form == "docker-archive"
    kind = "docker" if docker else "oci"
    if form == "oci-dir" and dest == target.STDOUT:
        raise UsageError("a layout is a directory", hint="name one with -o, or write an oci-archive")
    images = _by_image(store, names)
    if len(images) == 1 or form == "oci-dir":
        for name, tags in images.items():
            output = Output(type=kind, dest=dest, tar=form != "oci-dir", compression=compression)
            _write(store, name, tags, output, registry)
        return
    layout = os.path.join(store.stage(), "layout")
    listed = []
    for name, tags in images.items():
        _write(store, name, tags, Output(type=kind, dest=layout, tar=False, compression=compression), registry)
        if docker:
            with open(os.path.join(layout, "manifest.json"), "rb") as file:
                listed += json.load(file)
    with target.opened(dest) as out:
        archive = TarLayout(out, dest)
        blobs = os.path.join(layout, "blobs", "sha256")
        for name in sorted(os.listdir(blobs)):
            path = os.path.join(blobs, name)
            archive.add_file(f"blobs/sha256/{name}", path, os.stat(path).st_size)
        if docker:
            archive.add("manifest.json", canonical.to_bytes(listed))
        for name in ("oci-layout", "index.json"):
            with open(os.path.join(layout, name), "rb") as file:
                archive.add(name, file.read())
        archive.finish()


def _by_image(store: Store, names: Sequence[str]) -> dict[str, list[str]]:
    """Return the names that were asked for, by the ids of their images; an id alone stands for none."""
    found: dict[str, list[str]] = {}
    for name in names:
        image = find_image(store, name)
        tags = found.setdefault(image.id, [])
        try:
            full = full_name(name)
        except UsageError:
            continue
        if full in image.names and "@" not in full and full not in tags:
            tags.append(full)
    return found


def _write(store: Store, name: str, tags: Sequence[str], output: Output, registry: RegistryOptions) -> None:
    image = find_image(store, name)
    config = image_config.from_bytes(image.config, f"the config of {name}")
    if not store.layers.use(config.diff_ids):
        raise NotFound(f"layers of the image `{name}` are missing", hint="build, pull or import it again")
    check_outputs([output])
    check_times([output], None)
    with Exporter(store, config, tags, registry=lambda: registry, raw=image.config) as exporter:
        exporter.write(output)
