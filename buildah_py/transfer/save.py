"""`pybuild save`: images of the store in one archive or layout, as others load them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.errors import NotFound, UsageError
from buildah_py.image import canonical
from buildah_py.image import config as image_config
from buildah_py.outputs import target
from buildah_py.outputs.archive import TarLayout
from buildah_py.outputs.spec import Output
from buildah_py.store.names import find_image, full_name
from buildah_py.transfer.write import Exporter, check_outputs, check_times
from buildah_py.transfer.write_index import IndexExporter, image_for, only_one, stored_images

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
    platform: str = "",
    warn: Callable[[str], object] = lambda _: None,
) -> None:
    """Write images to `dest` (`-`: standard output). Raises NotFound, UsageError, OutputError.

    Of a name for several platforms all are written, or the one for `platform`; a docker-archive holds one.
    """
    docker = form == "docker-archive"
    kind = "docker" if docker else "oci"
    if form == "oci-dir" and dest == target.STDOUT:
        raise UsageError("a layout is a directory", hint="name one with -o, or write an oci-archive")
    images = _by_image(store, names, platform, docker=docker, warn=warn)
    if len(images) == 1 or form == "oci-dir":
        for saved, tags in images.items():
            output = Output(type=kind, dest=dest, tar=form != "oci-dir", compression=compression)
            _write(store, saved, tags, output, registry)
        return
    layout = os.path.join(store.stage(), "layout")
    listed = []
    for saved, tags in images.items():
        _write(store, saved, tags, Output(type=kind, dest=layout, tar=False, compression=compression), registry)
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


class _Saved(NamedTuple):
    """An image by its id; with a name for all that a build has put under it together."""

    id: str
    together: str = ""


def _by_image(
    store: Store, names: Sequence[str], platform: str, *, docker: bool, warn: Callable[[str], object]
) -> dict[_Saved, list[str]]:
    """Return the names that were asked for, by their images; an id alone stands for none."""
    found: dict[_Saved, list[str]] = {}
    for name in names:
        image = image_for(store, name, platform)
        several = [] if platform else stored_images(store, name)
        if several and docker:
            own = str(image_config.from_bytes(image.config, f"the config of {name}").platform)
            warn(only_one(name, several, own, "--format oci-archive holds all"))
        saved = _Saved(image.id, full_name(name) if several and not docker else "")
        tags = found.setdefault(saved, [])
        try:
            full = full_name(name)
        except UsageError:
            continue
        called = (*image.names, *store.images.platform_names(image.id))
        if full in called and "@" not in full and full not in tags:
            tags.append(full)
    return found


def _write(store: Store, saved: _Saved, tags: Sequence[str], output: Output, registry: RegistryOptions) -> None:
    check_outputs([output])
    check_times([output], None)
    if saved.together:
        with IndexExporter(store, stored_images(store, saved.together), tags, registry=registry) as together:
            together.write(output)
        return
    image = find_image(store, saved.id)
    name = tags[0] if tags else saved.id
    config = image_config.from_bytes(image.config, f"the config of {name}")
    if not store.layers.use(config.diff_ids):
        raise NotFound(f"layers of the image `{name}` are missing", hint="build, pull or import it again")
    with Exporter(store, config, tags, registry=lambda: registry, raw=image.config) as exporter:
        exporter.write(output)
