"""Bills of materials of images: the list that was attached to it, or one that is made now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from buildah_py.attest.options import CYCLONEDX, SbomOptions
from buildah_py.errors import ImageError, NotFound
from buildah_py.image import canonical, media_types
from buildah_py.image import config as image_config
from buildah_py.image import index as indexes
from buildah_py.image import manifest as manifests
from buildah_py.image import platform as platforms
from buildah_py.image import reference as references
from buildah_py.outputs.attestation import ATTESTATION, PREDICATE_TYPE, Predicate, clean
from buildah_py.store.names import familiar_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from buildah_py.image.config import ImageConfig
    from buildah_py.image.descriptor import Descriptor
    from buildah_py.image.reference import Reference
    from buildah_py.registry import Registry
    from buildah_py.store import Store
    from buildah_py.transfer.provider import Registries

DOCKER: Final = "docker://"
_MOST: Final = 256 << 20
_FILES: Final = {"spdx": "sbom.spdx.json", "cyclonedx": "sbom.cdx.json"}


def bill_of_materials(
    options: SbomOptions,
    store: Store,
    config: ImageConfig,
    name: str,
    warn: Callable[[str], object],
    check: Callable[[], object] = lambda: None,
) -> Predicate:
    """List what is in an image, whose layers are fetched for that; `warn` is told what was not read."""
    from buildah_py.attest import sbom
    from buildah_py.attest.scan import scan

    store.need(config.diff_ids)
    found = scan(store.view(config.diff_ids), check)
    for text in found.unread:
        warn(f"SBOM: {text}")
    about = sbom.Described(name, config.digest(), config.created)
    if options.format == "cyclonedx":
        kind, body = sbom.CYCLONEDX, sbom.cyclonedx(about, found)
    else:
        kind, body = sbom.SPDX, sbom.spdx(about, found)
    return Predicate(kind, clean(body), options.filename or _FILES[options.format])


def sbom_of(
    store: Store,
    registries: Registries,
    name: str,
    warn: Callable[[str], object],
    *,
    form: str = "",
    platform: str = "",
    fresh: bool = False,
) -> Mapping[str, Any]:
    """Return the list of an image of the store, or of what a registry has as `docker://NAME`, for a platform.

    `form` is one of FORMATS, "" for any, and SPDX where it is made now; with `fresh` an attached one does not count.
    Raises NotFound, RegistryError, ImageError.
    """
    from buildah_py.attest.sbom import CYCLONEDX as CYCLONEDX_TYPE
    from buildah_py.attest.sbom import SPDX as SPDX_TYPE

    types = [CYCLONEDX_TYPE] if form == CYCLONEDX else [SPDX_TYPE] if form else [SPDX_TYPE, CYCLONEDX_TYPE]
    if name.startswith(DOCKER):
        return attached_in_registry(registries.registry(), name.removeprefix(DOCKER), types, platform)
    from buildah_py.transfer.write_index import image_for, stored_images

    image = image_for(store, name, platform)
    if not fresh:
        for one in stored_images(store, name):
            if one.config.digest() == image.id:
                for predicate in one.predicates:
                    if predicate.type in types:
                        return predicate.body
    config = image_config.from_bytes(image.config, f"the config of {name}")
    called = familiar_name(image.names[0]) if image.names else ""
    options = SbomOptions(format=form or SbomOptions().format)
    return bill_of_materials(options, store, config, called, warn).body


def attached_in_registry(registry: Registry, name: str, types: list[str], platform: str = "") -> dict[str, Any]:
    """Return the predicate of one of the types that a registry has for an image. Raises NotFound."""
    reference = references.parse(name).with_default_tag()
    what = f"the image `{reference.familiar}`"
    raw = registry.manifest(reference)
    wanted = platforms.asked_for(platform) if platform else platforms.host()
    found: Descriptor | None = None
    if raw.descriptor.media_type in media_types.INDEXES:
        index = indexes.from_bytes(raw.data, media_type=raw.descriptor.media_type, what=what)
        image = index.choose(wanted, what)
        for one in index.manifests:
            about = one.annotations.get(indexes.DOCKER_REFERENCE_DIGEST)
            if one.annotations.get(indexes.DOCKER_REFERENCE_TYPE) == ATTESTATION and about == image.digest:
                found = _statement(registry, reference, one, types)
    if found is None:
        raise NotFound(
            f"{what} has no such attestation in its registry",
            hint=f"`pybuild pull {reference.familiar}`, then `pybuild sbom {reference.familiar}`, makes a list",
        )
    if found.size > _MOST:
        raise NotFound(f"{what}: the attestation is larger than {_MOST >> 20} MiB, and is not read")
    with registry.open_blob(reference, found) as stream:
        data = b"".join(iter(lambda: stream.read(1 << 20), b""))
    try:
        said = canonical.loads(data)
    except ValueError as error:
        raise ImageError(f"the attestation of {what} is not JSON: {error}") from error
    if not isinstance(said, dict) or not isinstance(said.get("predicate"), dict):
        raise ImageError(f"the attestation of {what} is not a statement")
    predicate: dict[str, Any] = said["predicate"]
    return predicate


def _statement(registry: Registry, reference: Reference, about: Descriptor, types: list[str]) -> Descriptor | None:
    raw = registry.manifest(reference._replace(tag=None, digest=about.digest))
    manifest = manifests.from_bytes(
        raw.data, media_type=raw.descriptor.media_type, what=f"an attestation of {reference}"
    )
    for kind in types:
        for layer in manifest.layers:
            if layer.annotations.get(PREDICATE_TYPE) == kind:
                return layer
    return None
