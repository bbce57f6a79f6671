"""Signatures of images in registries, as cosign keeps them: an image of the tag `sha256-HEX.sig` beside the signed one.

Each layer is what was signed (Red Hat's simple signing, in containers-signature.5), and an annotation has the
signature. See cosign's specs/SIGNATURE_SPEC.md. skopeo and podman read the same, with `use-sigstore-attachments`.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from buildah_py.errors import ImageError, NotFound, RegistryError
from buildah_py.image import canonical, media_types
from buildah_py.image import descriptor as descriptors
from buildah_py.image import index as indexes
from buildah_py.image import manifest as manifests
from buildah_py.image.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildah_py.attest.keys import PublicKey, SigningKey
    from buildah_py.image.descriptor import Descriptor
    from buildah_py.image.reference import Reference
    from buildah_py.registry import Registry
    from buildah_py.registry.manifests import RawManifest

_SIMPLE_SIGNING: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
_SIGNATURE: Final = "dev.cosignproject.cosign/signature"
_TYPE: Final = "cosign container image signature"
_LARGEST: Final = 1 << 20
_MOST: Final = 100
_NOT_FOUND: Final = 404


class Verified(NamedTuple):
    """An image that a key has signed: its repository and digest, and the names that it was signed as."""

    reference: Reference
    identities: tuple[str, ...]


def payload(name: str, digest: str) -> bytes:
    """Return what is signed of the image of that digest in a repository."""
    critical = {
        "identity": {"docker-reference": name},
        "image": {"docker-manifest-digest": digest},
        "type": _TYPE,
    }
    return canonical.to_bytes({"critical": critical, "optional": None})


def sign_with_all(registry: Registry, repository: Reference, top: Descriptor, key: SigningKey) -> int:
    """Sign what was pushed, and all that stands in it if it is an index; how many were not signed by that key before.

    Tools that verify look at the index, or at the image that they choose of it. Raises RegistryError, ImageError.
    """
    digests = [top.digest]
    if top.media_type in media_types.INDEXES:
        raw = registry.pushed_manifest(repository._replace(tag=None, digest=top.digest))
        index = indexes.from_bytes(raw.data, media_type=raw.descriptor.media_type, what=f"the index {repository}")
        digests += (one.digest for one in index.manifests)
    return sum(sign(registry, repository, digest, key) for digest in dict.fromkeys(digests))


def sign(registry: Registry, repository: Reference, digest: str, key: SigningKey) -> bool:
    """Sign the image of that digest in a repository; signatures of others stay. False where the key had signed it.

    Raises RegistryError, ImageError.
    """
    place, data = _place(repository, digest), payload(repository.name, digest)
    found = _find(registry.pushed_manifest, place)  # what a mirror has not got yet would be lost
    before = found.layers if found is not None else ()
    described = descriptors.of(_SIMPLE_SIGNING, data)
    for layer in before:
        if layer.digest == described.digest and key.public.is_signed(data, _signature(layer)):
            return False
    signature = base64.b64encode(key.sign(data)).decode("ascii")
    layers = (*before, described._replace(annotations={_SIGNATURE: signature}))
    config = canonical.to_bytes(
        {
            "architecture": "",
            "config": {},
            "created": "0001-01-01T00:00:00Z",
            "os": "",
            "rootfs": {"type": "layers", "diff_ids": [one.digest for one in layers]},
        }
    )
    own = descriptors.of(media_types.OCI_CONFIG, config)
    for descriptor, content in ((described, data), (own, config)):
        registry.push_blob(place, descriptor, lambda content=content: _memory(content))  # type: ignore[misc]
    manifest = found or Manifest(own, ())
    made = manifest._replace(config=own, layers=layers)
    registry.push_manifest(place, made.to_bytes(), made.media_type)
    return True


def verify(registry: Registry, reference: Reference, key: PublicKey) -> Verified:
    """Return what a name means in its registry, where the key has signed that. Raises NotFound, RegistryError.

    As with cosign, the name that an image was signed as is not asked for: an image may have been copied elsewhere.
    """
    digest = reference.digest or registry.resolve(reference.with_default_tag()).digest
    pinned = reference._replace(tag=None, digest=digest)
    place = _place(reference, digest)
    found = _find(registry.manifest, place)
    if found is None:
        raise NotFound(
            f"{pinned.familiar} is not signed", hint="`pybuild push --sign KEY`, or `cosign sign --key KEY`, signs it"
        )
    identities, faults = [], []
    for number, layer in enumerate(found.layers[:_MOST], 1):
        try:
            identities.append(_identity(registry, place, layer, digest, key))
        except ImageError as error:
            faults.append(f"signature {number}: {error.message}")
    if not identities:
        raise NotFound(
            f"{pinned.familiar} is not signed by this key", hint="; ".join(faults) or "there are no signatures"
        )
    return Verified(pinned, tuple(dict.fromkeys(identities)))


def _identity(registry: Registry, place: Reference, layer: Descriptor, digest: str, key: PublicKey) -> str:
    """Return the name that a signature is for. Raises ImageError where it is none of that image by that key."""
    if layer.media_type != _SIMPLE_SIGNING:
        raise ImageError(f"it is of another form ({layer.media_type})")
    if layer.size > _LARGEST:
        raise ImageError(f"it is larger than {_LARGEST >> 20} MiB")
    with registry.open_blob(place, layer) as stream:
        data = b"".join(iter(lambda: stream.read(1 << 16), b""))
    if not key.is_signed(data, _signature(layer)):
        raise ImageError("it was made with another key, or of something else")
    said = _critical(data)
    if said.get("type") != _TYPE:
        raise ImageError("it is the signature of no image")
    signed = _table(said, "image").get("docker-manifest-digest")
    if signed != digest:
        raise ImageError(f"it is of another image: {signed}")
    return str(_table(said, "identity").get("docker-reference", ""))


def _critical(data: bytes) -> dict[str, Any]:
    return _table(canonical.from_bytes(data, "what was signed"), "critical")


def _table(raw: dict[str, Any], name: str) -> dict[str, Any]:
    found = raw.get(name)
    if not isinstance(found, dict):
        raise ImageError(f"what was signed has no `{name}`")
    return found


def _signature(layer: Descriptor) -> bytes:
    """Return the bytes of a signature; nothing where they cannot be read, which is a signature of nothing."""
    try:
        return base64.b64decode(layer.annotations.get(_SIGNATURE, ""), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _place(repository: Reference, digest: str) -> Reference:
    return repository._replace(tag=f"{digest.replace(':', '-')}.sig", digest=None)


def _find(fetch: Callable[[Reference], RawManifest], place: Reference) -> Manifest | None:
    """Return the image that holds signatures; None where there is none."""
    try:
        raw = fetch(place)
    except RegistryError as error:
        if error.status == _NOT_FOUND:
            return None
        raise
    return manifests.from_bytes(raw.data, media_type=raw.descriptor.media_type, what=f"the signatures at {place}")


def _memory(data: bytes) -> Any:
    from io import BytesIO

    return BytesIO(data)
