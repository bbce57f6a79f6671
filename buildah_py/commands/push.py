"""Pushing an image that the store has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.attest.signing import check_signed, sign_pushed
from buildah_py.errors import NotFound, UsageError
from buildah_py.frozen import dataclass
from buildah_py.image import config as image_config
from buildah_py.image import reference as references
from buildah_py.outputs.spec import Output
from buildah_py.progress import events
from buildah_py.transfer.write import Exporter, check_outputs, check_times
from buildah_py.transfer.write_index import IndexExporter, image_for, only_one, stored_images

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildah_py.attest.keys import SigningKey
    from buildah_py.image.descriptor import Descriptor
    from buildah_py.progress.events import Event
    from buildah_py.registry import RegistryOptions
    from buildah_py.store import Store

TRANSPORTS = ("docker", "oci", "oci-archive", "docker-archive", "docker-daemon")


@dataclass(frozen=True, slots=True, kw_only=True)
class PushRequest:
    """Request to push an image. `destination` is a name, or a transport's as skopeo has them; "" for the image's own.

    Of a name for several platforms `platform` chooses one, else all are pushed, and the index that joins them.
    `oci` says which media types, None those of the image where it came from a registry, else OCI's. What is pushed is
    signed with the key `sign`.
    """

    name: str
    destination: str = ""
    all_tags: bool = False
    compression: str | None = None
    level: int | None = None
    force_compression: bool = False
    oci: bool | None = None
    platform: str = ""
    sign: SigningKey | None = None


def push_stored(
    store: Store, request: PushRequest, registry: RegistryOptions, emit: Callable[[Event], None]
) -> Descriptor:
    """Push it; what the (last) image is called by. Raises NotFound, RegistryError, OutputError."""
    if not request.all_tags:
        return _push_one(store, request.name, request.destination, request, registry, emit)
    repository = references.parse(request.name)
    if repository.tag or repository.digest or request.destination:
        raise UsageError("--all-tags takes the name of a repository alone", hint="leave tag and destination out")
    found = None
    for image in store.images.all():
        for name in image.names:
            if references.parse(name).name == repository.name:
                found = _push_one(store, name, "", request, registry, emit)
    if found is None:
        raise NotFound(f"there is no image `{request.name}` in the store")
    return found


def name_in_registry(destination: str) -> str:
    """Return the name that a destination has in a registry; "" where it is not in a registry."""
    transport, colon, rest = destination.partition(":")
    if transport == "docker" and rest.startswith("//"):
        return rest.removeprefix("//")
    return "" if colon and transport in TRANSPORTS else destination


def _push_one(
    store: Store,
    name: str,
    destination: str,
    request: PushRequest,
    registry: RegistryOptions,
    emit: Callable[[Event], None],
) -> Descriptor:
    several = [] if request.platform else stored_images(store, name)
    image = image_for(store, name, request.platform)
    config = image_config.from_bytes(image.config, f"the config of {name}")
    if not store.layers.use(config.diff_ids):
        raise NotFound(f"layers of the image `{name}` are missing", hint="build, pull or import it again")
    if not destination and name.removeprefix("sha256:") in image.id:
        raise UsageError(f"`{name}` is an id", hint="say under which name to push it")
    output = _output(destination or name, next(iter(image.names), ""), request)
    if request.sign is not None:
        check_signed([output])
    check_outputs([output])
    check_times([output], None)
    names = image.names or store.images.platform_names(image.id)
    if several and output.type == "docker":
        emit(events.Warning(only_one(name, several, str(config.platform), "--platform names another")))
        several = []
    if several:
        with IndexExporter(store, several, names, registry=registry, emit=emit) as together:
            written = together.write(output)
            sign_pushed(output, written, names, together.registry, request.sign, emit)
        assert written is not None
        return written
    with Exporter(store, config, names, registry=lambda: registry, raw=image.config, emit=emit) as exporter:
        written = exporter.write(output)
        sign_pushed(output, written, names, exporter.registry, request.sign, emit)
    assert written is not None
    return written


def _output(destination: str, own: str, request: PushRequest) -> Output:
    transport, colon, rest = destination.partition(":")
    common = Output(
        type="image",
        compression=request.compression,
        level=request.level,
        force_compression=request.force_compression,
        oci_media_types=request.oci,
    )
    from buildah_py.frozen import replace

    if not colon or transport not in TRANSPORTS or (transport == "docker" and not rest.startswith("//")):
        return replace(common, push=True, names=(destination,))
    if transport == "docker":
        return replace(common, push=True, names=(rest.removeprefix("//"),))
    if transport == "docker-daemon":
        return replace(common, type="docker", names=(rest,))
    path, _, name = rest.partition(":")
    if not path:
        raise UsageError(f"{destination}: it does not say which file", hint=f"write {transport}:PATH[:NAME]")
    kind = "docker" if transport == "docker-archive" else "oci"
    if kind == "oci" and name and not {":", "/"} & set(name):  # as skopeo has it, a tag alone
        name = references.parse(own).with_tag(name).full if own else f"localhost/image:{name}"
    return replace(common, type=kind, dest=path, tar=transport != "oci", names=(name,) if name else ())
