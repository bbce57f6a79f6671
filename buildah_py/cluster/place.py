"""The shared place of a cluster bake: layers and files of contexts as blobs by digest, for this machine and workers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from buildah_py import attributes
from buildah_py.errors import CacheError, UsageError
from buildah_py.image import media_types
from buildah_py.sharing import spec
from buildah_py.sharing.backend import verified
from buildah_py.store import Origin
from buildah_py.transfer.layer_blobs import Form, LayerBlobs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from buildah_py.image.descriptor import Descriptor
    from buildah_py.sharing.backend import Backend
    from buildah_py.sharing.backends import Backends
    from buildah_py.sharing.remote import SharedCaches
    from buildah_py.sharing.spec import CacheSpec
    from buildah_py.store import Store

_SECRET: Final = ("access_key_id", "secret_access_key", "session_token", "token", "ghtoken")
"""Attributes that stay on this machine: workers log in with what their own environment says."""
_HINT: Final = (
    "name one in the targets, or for all of them with --set '*.cache-to=type=registry,ref=…,mode=max' "
    "(or type=s3, or type=local on a directory that all machines share)"
)


def choose_place(specs: Iterable[str]) -> CacheSpec:
    """Return the first place of `--cache-to`s that can carry layers between machines. Raises UsageError for none."""
    for text in specs:
        found = spec.parse_to(text)
        if found.type not in (spec.INLINE, spec.GHA):
            return found
    raise UsageError("--cluster needs a shared cache, by which layers get from worker to worker", hint=_HINT)


def public_text(place: CacheSpec, backend: Backend) -> str:
    """Write a place down as `--cache-to` has it, without anything that is secret or of this machine's environment."""
    where = {name: value for name, value in place.where.items() if name not in _SECRET}
    if "dest" in where:
        where["dest"] = os.path.abspath(where["dest"])
    parts = [f"type={place.type}", *(f"{name}={value}" for name, value in where.items())]
    if place.type in spec.SERVICES:
        parts = attributes.split(backend.location, place.option, example="", quoted="")
    if place.compression is not None:
        parts.append(f"compression={place.compression}")
    if place.level is not None:
        parts.append(f"compression-level={place.level}")
    return ",".join(f'"{part}"' if "," in part else part for part in parts)


class SharedPlace:
    """Keeper of blobs at a place that `--cache-to` names. Raises CacheError where it cannot be reached or refuses."""

    def __init__(self, place: CacheSpec, backends: Backends | SharedCaches) -> None:
        self.backend: Backend = backends.open(place)
        self._form = Form(place.compression or media_types.GZIP, place.level)

    def origin(self, blob: Descriptor) -> Origin:
        """Say where a blob of it can be had."""
        return Origin(self.backend.kind, self.backend.location, blob.digest, blob.media_type, blob.size)

    def publish(self, store: Store, diff_id: str) -> Descriptor:
        """Have a layer of `store` there; its blob."""
        blobs = LayerBlobs(store, self._form)
        made = blobs.known(diff_id)
        if made is None:
            (made,) = blobs.make([blobs.source(diff_id)])
        blob, path = blobs.describe(made), made.path
        self.put(blob, path)
        return blob

    def put(self, blob: Descriptor, path: str) -> None:
        """Keep a file there, unless it is there already."""
        if not self.backend.has(blob):
            self.backend.put(blob, lambda: open(path, "rb"))  # noqa: SIM115 - who is given it closes it

    def fetch(self, blob: Descriptor, path: str) -> None:
        """Write a blob to a new file, checked."""
        with verified(self.backend.open(blob), blob, self.backend.name) as stream, open(path, "xb") as file:
            while data := stream.read(1 << 20):
                file.write(data)

    def see(self, blob: Descriptor) -> None:
        """Raise CacheError where a blob that has to be there cannot be read."""
        with verified(self.backend.open(blob), blob, self.backend.name) as stream:
            if len(stream.read()) != blob.size:
                raise CacheError(f"{self.backend.name}: the blob {blob.digest} is cut short")
