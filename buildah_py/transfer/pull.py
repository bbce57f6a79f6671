"""Images from registries: what a name means there, and whether what the store has will do."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from buildah_py import meter
from buildah_py.errors import ImageError, NotFound, PybuildError, RegistryError
from buildah_py.image import config as image_config
from buildah_py.image import platform as platforms
from buildah_py.image import reference as references
from buildah_py.image.reference import LAYOUT
from buildah_py.progress import events
from buildah_py.store.names import how_to_get, names_digest
from buildah_py.transfer.ingest import ingest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildah_py.image.config import ImageConfig
    from buildah_py.image.descriptor import Descriptor
    from buildah_py.image.platform import Platform
    from buildah_py.image.reference import Reference
    from buildah_py.progress.events import Event
    from buildah_py.registry import Registry
    from buildah_py.store import Store, StoredImage


_UNKNOWN = 404


class RegistryPlace:
    """A repository of a registry, as a place that images come from."""

    kind = "registry"

    def __init__(self, registry: Registry, reference: Reference) -> None:
        self._registry = registry
        self._reference = reference
        self.location = reference.name

    def manifest(self, descriptor: Descriptor) -> bytes:
        """Give a manifest or an index."""
        return self._registry.manifest(self._reference._replace(tag=None, digest=descriptor.digest)).data

    def small(self, descriptor: Descriptor) -> bytes:
        """Give a blob that is not a layer. Raises ImageError where it is larger than such blobs are."""
        from buildah_py.image.canonical import MAX_BYTES

        if descriptor.size > MAX_BYTES:
            raise ImageError(f"the config of {self._reference} is {descriptor.size} bytes long: more than is allowed")
        with self._registry.open_blob(self._reference, descriptor) as stream:
            return stream.read()


class Pulled(NamedTuple):
    """An image of the store; `digest` is what the registry calls it, "" where none was asked."""

    id: str
    config: ImageConfig
    digest: str = ""


class Bases:
    """Finds images by name: in the store, or in the registry that the name names, as `policy` says.

    `registry` gives the client when it is first needed. With `missing`, and an image in the store, it never is.
    """

    def __init__(
        self,
        store: Store,
        registry: Callable[[], Registry],
        *,
        policy: str = "missing",
        emit: Callable[[Event], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._registry = registry
        self._policy = policy
        self._emit = emit

    def resolve(self, name: str, platform: str) -> ImageConfig:
        """Return the config of an image for a platform. Raises NotFound, UsageError, RegistryError, ImageError."""
        return self.find(name, platform).config

    def find(self, name: str, platform: str) -> Pulled:
        """Find an image by name, by the beginning of its id, or as `oci-layout://PATH[:TAG][@DIGEST]`."""
        wanted = platforms.parse(platform)
        if name.startswith(LAYOUT):
            return self._from_layout(name.removeprefix(LAYOUT), wanted)
        local, other = self._local(name, wanted)
        if local is not None and (self._policy in ("missing", "never") or _is_id(self._store, local, name)):
            return local
        reference = references.parse(name).with_default_tag()
        if self._policy == "never":
            raise _not_here(self._store, name, wanted, other, "--pull=never asks no registry")
        if local is not None and reference.digest:
            return local  # what a digest names never changes
        try:
            return self._pull(reference, wanted, local)
        except RegistryError as error:
            if local is None:
                raise _not_had(self._store, name, wanted, other, error) from error
            if self._policy == "always":
                raise
            self._emit(events.Warning(f"{error.message}; the image in the store is used"))
            return local

    def pull(self, name: str, platform: Platform, fetch: Callable[[Sequence[str]], None]) -> Pulled:
        """Take what a registry has under a name into the store, whatever the store has.

        `fetch` gets the layers, and the image gets its name when they are there.
        """
        return self._ingest(references.parse(name).with_default_tag(), platform, take_name=True, fetch=fetch)

    def _from_layout(self, location: str, wanted: Platform) -> Pulled:
        from buildah_py.transfer.layouts import LayoutPlace, split_layout

        path, tag, digest = split_layout(location)
        place = LayoutPlace(path)
        root = place.choose(tag, digest)
        what = f"the image in the layout {location}"
        admitted = ingest(self._store, place, root, place.manifest(root), wanted, what, keep=False)
        return Pulled(admitted.id, admitted.config, root.digest)

    def _local(self, name: str, wanted: Platform) -> tuple[Pulled | None, Platform | None]:
        """Return the image of the store that suits; else the platform of the one that has the name."""
        found, suits = find_local(self._store, name, wanted)
        if found is None:
            return None, None
        config = image_config.from_bytes(found.config, f"the config of {name}")
        return (Pulled(found.id, config), None) if suits else (None, config.platform)

    def _pull(self, reference: Reference, wanted: Platform, local: Pulled | None) -> Pulled:
        if local is not None:
            with _asking(reference):
                now = self._registry().resolve(reference).digest
            known = {one.digest for one in self._store.images.repo_digests(local.id) if one.name == reference.name}
            if now in known:
                return local._replace(digest=now)
        is_own = platforms.choose(wanted, [platforms.host()]) is not None
        return self._ingest(reference, wanted, take_name=is_own)

    def _ingest(
        self,
        reference: Reference,
        wanted: Platform,
        *,
        take_name: bool = False,
        fetch: Callable[[Sequence[str]], None] | None = None,
    ) -> Pulled:
        registry = self._registry()
        own = names_digest(reference)
        shown = reference.familiar
        with _asking(reference):
            raw = registry.manifest(reference)
            admitted = ingest(
                self._store,
                RegistryPlace(registry, reference),
                raw.descriptor,
                raw.data,
                wanted,
                f"the image `{shown}`",
                names=[own] if take_name and fetch is None else (),
                repository=reference.name,
            )
        if fetch is not None:
            with self._store.images.kept_if_whole(admitted.id):
                fetch(admitted.config.diff_ids)
            self._store.images.put(admitted.id, admitted.config.to_bytes(), (), [own] if take_name else ())
        if not take_name or platforms.choose(wanted, [admitted.config.platform]) is None:
            self._store.images.set_platform_name(own, str(wanted.normalised()), admitted.id)
        return Pulled(admitted.id, admitted.config, raw.descriptor.digest)


def _asking(reference: Reference) -> meter.Meter:
    return meter.start(f"asking for {reference.familiar}", waits=True)


def find_local(store: Store, name: str, wanted: Platform) -> tuple[StoredImage | None, bool]:
    """Return the image of the store that has the name for a platform; else the one that has it for another, and False.

    An image that a registry once gave for the platform suits, whatever its config says: it has nothing better.
    """
    from buildah_py.store.names import find_image

    try:
        found = find_image(store, name)
    except NotFound:
        found = None
    if found is not None and platforms.choose(wanted, [_platform(found)]) is not None:
        return found, True
    try:
        reference = references.parse(name).with_default_tag()
    except PybuildError:
        return found, False
    given = store.images.by_platform_name(names_digest(reference), str(wanted.normalised()))
    if given is not None:
        return given, True
    known = store.images.by_repo_digest(reference.name, reference.digest) if reference.digest else []
    for one in known:
        if platforms.choose(wanted, [_platform(one)]) is not None:
            return one, True
    return found, False


def _platform(image: StoredImage) -> Platform:
    return image_config.from_bytes(image.config).platform


def _is_id(store: Store, local: Pulled, name: str) -> bool:
    """Whether an image was found by its id, which no registry knows."""
    image = store.images.raw(local.id)
    try:
        full = names_digest(references.parse(name).with_default_tag())
    except PybuildError:
        return True
    return image is not None and full not in image.names and local.id.removeprefix("sha256:").startswith(name)


def _not_had(store: Store, name: str, wanted: Platform, other: Platform | None, error: RegistryError) -> NotFound:
    """Say why a registry did not give an image, and that the store has none; what helps depends on the cause.

    A name can only be wrong where the registry was there and has no such image.
    """
    kept = f"the one in the store is for {other}, not for {wanted}" if other else "the store has no image of that name"
    if error.status == _UNKNOWN:
        return NotFound(
            f"there is no image `{name}`: {error.message}; {kept}", hint=how_to_get(store, name) or error.hint
        )
    hint = how_to_get(store, name, similar=False) if other is None else ""
    told = (" " if error.hint.endswith("?") else "; ").join(filter(None, (error.hint, hint)))
    return NotFound(f"the image `{name}` cannot be had: {error.message}; {kept}", hint=told)


def _not_here(store: Store, name: str, wanted: Platform, other: Platform | None, why: str) -> NotFound:
    if other is not None:
        return NotFound(f"the image `{name}` in the store is for {other}, not for {wanted}: {why}")
    return NotFound(f"there is no image `{name}` in the store: {why}", hint=how_to_get(store, name))
