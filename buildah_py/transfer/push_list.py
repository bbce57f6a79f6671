"""The index of a manifest list, and pushing it: first its images by their digests, then the index under its name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.errors import NotFound, RegistryError, UsageError
from buildah_py.image import config as image_config
from buildah_py.image import descriptor as descriptors
from buildah_py.image import manifest as manifests
from buildah_py.image import media_types
from buildah_py.image import reference as references
from buildah_py.image.index import DOCKER_REFERENCE_DIGEST, Index
from buildah_py.image.purl import docker_purl
from buildah_py.outputs import compress
from buildah_py.outputs.annotations import Annotations
from buildah_py.outputs.attestation import attach
from buildah_py.progress import events
from buildah_py.store.names import familiar_name
from buildah_py.transfer.export import ImageExport
from buildah_py.transfer.layer_blobs import Form, LayerBlobs
from buildah_py.transfer.lists import DOCKER, find_list, list_annotations, listed
from buildah_py.transfer.push_index import push_attached

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from buildah_py.image.descriptor import Descriptor
    from buildah_py.image.reference import Reference
    from buildah_py.outputs.attestation import Attached
    from buildah_py.progress.events import Event
    from buildah_py.store import Store
    from buildah_py.transfer.lists import Listed
    from buildah_py.transfer.provider import Registries

_OTHERS = ("oci", "oci-archive", "dir", "docker-archive", "docker-daemon", "containers-storage")


class ListForm(NamedTuple):
    """How a list and its images are written. `oci` says which media types; None: those that the images have."""

    oci: bool | None = None
    compression: str | None = None
    level: int | None = None
    force: bool = False


def push_list(
    store: Store,
    registries: Registries,
    name: str,
    destination: str = "",
    form: ListForm | None = None,
    emit: Callable[[Event], None] = lambda _: None,
) -> Descriptor:
    """Push a list with its images; what the index is called by there. Raises NotFound, RegistryError, UsageError.

    The tag is moved last, and what the registry has is not sent.
    """
    from buildah_py.store.images import RepoDigest
    from buildah_py.transfer.copy import Copying
    from buildah_py.transfer.push import push_image

    full = find_list(store, name)
    form = form or ListForm()
    if destination.partition(":")[0] in _OTHERS and ":" in destination:
        raise UsageError(
            f"{destination}: manifest lists are pushed to registries alone",
            hint=f"push it to one, and copy it from there: `skopeo copy --all {DOCKER}… {destination}`",
        )
    reference = references.parse(destination.removeprefix(DOCKER) or full).with_default_tag()
    if reference.digest:
        raise UsageError(f"{reference} is pinned to a digest, which only its content decides", hint="name a tag")
    there = listed(store, full)
    if not there:
        raise UsageError(
            f"the manifest list {familiar_name(full)} is empty", hint="add images to it with `pybuild manifest add`"
        )
    annotations = list_annotations(store, full)
    _check(form, there, annotations)
    registry = registries.registry()
    children = []
    copying = Copying(store, registry, reference)
    for one in there:
        if original := _original(store, one, form):
            sent = copying.copy(references.parse(one.source), *original)
            how = f"sent on from {one.source}" if sent else "there already"
            emit(events.Note(f"pushed {reference._replace(tag=None).familiar}@{original[0].digest}: {how}"))
            children.append(_child(original[0], one))
        else:
            top = push_image(_outgoing(store, one, form), [reference], registry, by_digest=True, emit=emit)
            children.append(_child(top, one))
    attached = _attached(there, children, reference)
    push_attached(attached, reference._replace(tag=None), registry)
    children += (one.descriptor for one in attached)
    _warn_of_lost(children, emit)
    made = _index(children, annotations, form)
    data = made.to_bytes()
    registry.push_manifest(reference, data, made.media_type)
    own = descriptors.of(made.media_type, data)
    for one in there:
        if not one.manifest:
            store.note_pushed(one.id, {}, RepoDigest(reference.name, own.digest, made.media_type))
    count = "1 manifest" if len(there) == 1 else f"{len(there)} manifests"
    emit(events.Note(f"pushed {reference.familiar}@{own.digest}: {count}"))
    return own


def inspect_list(store: Store, registries: Registries, name: str) -> dict[str, Any]:
    """Give the index of a list as JSON, or else what a registry has under the name. Raises NotFound, RegistryError.

    The digests in it are those that pushing it would give; layers are compressed for that, and kept.
    """
    if not name.startswith(DOCKER) and "@" not in name:
        try:
            return local_index(store, find_list(store, name)).to_dict()
        except NotFound as error:
            missing = error.message
    else:
        missing = ""
    reference = references.parse(name.removeprefix(DOCKER)).with_default_tag()
    try:
        raw = registries.registry().manifest(reference)
    except RegistryError as error:
        if not missing:
            raise
        raise NotFound(f"{missing}, and {error.message}", hint=error.hint) from error
    found: dict[str, Any] = json.loads(raw.data)
    return found


def local_index(store: Store, full: str, form: ListForm | None = None) -> Index:
    """Make the index of a list."""
    form = form or ListForm()
    children = []
    for one in listed(store, full):
        original = _original(store, one, form)
        children.append(_child(original[0] if original else _described(_outgoing(store, one, form)), one))
    attached = _attached(listed(store, full), children, references.parse(full))
    children += (one.descriptor for one in attached)
    return _index(children, list_annotations(store, full), form)


def _attached(there: Sequence[Listed], children: Sequence[Descriptor], name: Reference) -> list[Attached]:
    """Return what builds have attested of the images of a list, as its index has it."""
    return [
        attach(child, one.predicates, [docker_purl(name, child.platform)])
        for one, child in zip(there, children, strict=True)
        if one.predicates
    ]


def _original(store: Store, one: Listed, form: ListForm) -> tuple[Descriptor, bytes] | None:
    """Return the manifest that a registry gave, with its bytes, if that is how it is to be sent."""
    own = one.original
    if own is None or one.manifest:
        return None if own is None else (own, one.manifest)
    kind = {None: own.media_type, True: media_types.OCI_MANIFEST, False: media_types.DOCKER_MANIFEST}[form.oci]
    if kind != own.media_type or form.force:
        return None
    for known in store.images.repo_digests(one.id):
        if known.digest == own.digest and known.data:
            layers = manifests.from_bytes(known.data, media_type=known.media_type).layers
            foreign = any(media_types.is_nondistributable(layer.media_type) for layer in layers)
            return None if foreign else (own, known.data)
    return None


def _described(image: ImageExport) -> Descriptor:
    """Return the descriptor of an image's manifest; layers are compressed where the outcome is not known yet."""
    known = {diff_id: image.descriptor(diff_id) for diff_id in image.diff_ids}
    missing = [diff_id for diff_id, layer in known.items() if layer is None]
    for diff_id, blob in zip(missing, image.make(missing), strict=True):
        known[diff_id] = image.blobs.describe(blob)
    layers = [layer for diff_id in image.diff_ids if (layer := known[diff_id]) is not None]
    return image.assembled(layers).top


def _outgoing(store: Store, one: Listed, form: ListForm) -> ImageExport:
    found = store.images.by_id(one.id)
    if found is None:
        raise NotFound(f"the image {one.id} has been removed meanwhile")
    config = image_config.from_bytes(found.config, f"the config of {one.id}")
    if not store.layers.use(config.diff_ids):
        raise NotFound(f"layers of the image {one.id} are missing", hint="build or pull it again")
    layers = Form(form.compression or media_types.GZIP, form.level, form.force, form.oci is False)
    return ImageExport(
        store, config, LayerBlobs(store, layers), raw=found.config, annotations=Annotations(), oci=form.oci
    )


def _child(top: Descriptor, one: Listed) -> Descriptor:
    return top._replace(platform=one.platform, annotations=one.annotations)


def _index(children: Sequence[Descriptor], annotations: dict[str, str], form: ListForm) -> Index:
    noted = bool(annotations) or any(child.annotations for child in children)  # attestations have some
    all_docker = bool(children) and all(child.media_type == media_types.DOCKER_MANIFEST for child in children)
    docker = form.oci is False or (form.oci is None and all_docker and not noted)
    return Index(tuple(children), annotations, media_types.DOCKER_INDEX if docker else media_types.OCI_INDEX)


def _warn_of_lost(children: Sequence[Descriptor], emit: Callable[[Event], None]) -> None:
    """Tell of attestations whose image is not in the list as they know it."""
    there = {child.digest for child in children}
    for child in children:
        about = child.annotations.get(DOCKER_REFERENCE_DIGEST)
        if about and about not in there:
            emit(events.Warning(f"{child.digest} speaks of {about}, which is not in the list, or not in that form"))


def _check(form: ListForm, there: Sequence[Listed], annotations: dict[str, str]) -> None:
    """Refuse what cannot be written, before anything is sent."""
    compress.check(form.compression or media_types.GZIP, form.level)
    if form.oci is not False:
        return
    if any(one.predicates for one in there):
        raise UsageError("Docker's media types know no attestations", hint="leave out --format v2s2")
    if annotations or any(one.annotations for one in there):
        raise UsageError("Docker's manifest lists have no annotations", hint="leave out --format v2s2")
    if form.compression == media_types.ZSTD:
        raise UsageError("Docker's media types know no layers compressed with zstd", hint="leave out --format v2s2")
