"""Manifests and indexes, to and from a repository; and its tags."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from buildah_py.errors import ImageError, RegistryError
from buildah_py.http.response import printable
from buildah_py.http.retry import RetryableError
from buildah_py.image import digest as digests
from buildah_py.image import media_types
from buildah_py.image.descriptor import Descriptor
from buildah_py.registry.session import PUSH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildah_py.http.response import Response
    from buildah_py.registry.session import Session

LARGEST: Final = 4 << 20
"""Registries have to take manifests of this size; nothing larger is read (distribution-spec)."""

ACCEPTED: Final = (
    media_types.OCI_INDEX, media_types.OCI_MANIFEST, media_types.DOCKER_INDEX, media_types.DOCKER_MANIFEST,
)  # fmt: skip
_SCHEMA_1: Final = "application/vnd.docker.distribution.manifest.v1+"
_VAGUE: Final = frozenset({"", "application/json", "application/octet-stream", "text/plain"})
_MOST_PAGES: Final = 1000


class RawManifest(NamedTuple):
    """A manifest or an index as a registry gives it. `data` has the digest and the size that `descriptor` says."""

    descriptor: Descriptor
    data: bytes


def fetch(session: Session, name: str, accept: Sequence[str]) -> RawManifest:
    """Fetch the manifest of a tag or a digest, and verify it. Raises RegistryError."""
    response, data = _get(session, f"manifests/{name}", ", ".join(accept), "a manifest")
    kind = _kind(session, response.headers.get("Content-Type") or "", data, accept)
    expected = name if ":" in name else response.headers.get("Docker-Content-Digest") or ""
    found = _digest(session, data, expected)
    if expected and found != expected:
        raise session.wrong(f"gave a manifest whose digest is {found}, where it has to be {expected}")
    return RawManifest(Descriptor(kind, found, len(data)), data)


def head(session: Session, name: str, accept: Sequence[str]) -> Descriptor | None:
    """Ask what a tag or digest is, without fetching it; None where the registry does not say it all."""
    response = session.send("HEAD", f"manifests/{name}", headers={"Accept": ", ".join(accept)})
    if response.status != 200:
        if response.status in (405, 501):  # HEAD is not for this one
            response.finish()
            return None
        raise session.failure(response)
    response.finish()
    kind = _plain_type(response.headers.get("Content-Type") or "")
    digest = response.headers.get("Docker-Content-Digest") or (name if ":" in name else "")
    length = response.length
    if kind not in accept or not digest or length <= 0:
        return None
    try:
        digests.validate(digest)
    except ImageError as error:
        raise session.wrong(f"gives a malformed digest: {error.message}") from error
    if ":" in name and digest != name:
        raise session.wrong(f"was asked for {name} and says that it is {digest}")
    return Descriptor(kind, digest, length)


def push(session: Session, name: str, data: bytes, media_type: str) -> str:
    """Push a manifest under a tag or its digest; give its digest. Raises RegistryError."""
    if len(data) > LARGEST:
        raise RegistryError(f"{session.what}: the manifest has {len(data)} bytes; registries take {LARGEST}")
    digest = digests.sha256_of(data)
    response = session.send(
        "PUT",
        f"manifests/{name or digest}",
        actions=PUSH,
        headers={"Content-Type": media_type},
        body=data,
        silence=session.policy.commit,
    )
    if response.status not in (200, 201, 202):
        raise session.failure(response)
    response.finish()
    said = response.headers.get("Docker-Content-Digest") or digest
    if said.startswith("sha256:") and said != digest:
        raise session.wrong(f"took a manifest with the digest {digest} and says that it is {said}")
    return digest


def tags(session: Session) -> list[str]:
    """Give all tags of a repository, in the registry's order. Raises RegistryError."""
    found: dict[str, None] = {}
    path: str | None = "tags/list?n=1000"
    for _ in range(_MOST_PAGES):
        if path is None:
            break
        response, body = _get(session, path, "application/json", "a list of tags")
        try:
            data: Any = json.loads(body)
            listed = data["tags"] or []
            new = [str(tag) for tag in listed if tag not in found]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise session.wrong("gave something that is not a list of tags") from None
        found.update(dict.fromkeys(new))
        path = _next(session, response) if new else None
    return list(found)


def _get(session: Session, path: str, accept: str, what: str) -> tuple[Response, bytes]:
    """Get a whole answer of at most LARGEST bytes; `what` is what messages call it."""

    def attempt() -> tuple[Response, bytes]:
        response = session.once("GET", path, headers={"Accept": accept})
        if response.status != 200:
            raise session.failure(response)
        data = response.body(LARGEST + 1)
        if len(data) > LARGEST:
            raise session.wrong(f"gives {what} of more than {LARGEST} bytes; no more are read")
        if response.length not in (-1, len(data)):
            raise RetryableError(f"{response.host} ended {what} after {len(data)} of {response.length} bytes")
        return response, data

    return session.retries().run(attempt)


def _next(session: Session, response: Response) -> str | None:
    """Give where the next page is, by the answer's Link (RFC 5988)."""
    link = response.headers.get("Link") or ""
    target, _, rest = link.partition(">")
    if not target.strip().startswith("<") or "next" not in rest:
        return None
    return session.follow(response.url, target.strip()[1:])


def _digest(session: Session, data: bytes, expected: str) -> str:
    """Give the digest of `data`, by the algorithm of the expected one."""
    import hashlib

    if not expected:
        return digests.sha256_of(data)
    try:
        algorithm, _ = digests.split(expected)
    except ImageError as error:
        raise session.wrong(f"gives a malformed digest: {error.message}") from error
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def _plain_type(value: str) -> str:
    return value.partition(";")[0].strip().lower()


def _kind(session: Session, announced: str, data: bytes, accept: Sequence[str]) -> str:
    """Give the media type of what came. Raises RegistryError for one that is not among those that were asked for."""
    kind = _plain_type(announced)
    if kind.startswith(_SCHEMA_1):
        raise _old(session)
    if kind in accept:
        return kind
    raw: Any = None
    if kind in _VAGUE:
        try:
            raw = json.loads(data)
        except (ValueError, RecursionError):
            raw = None
    if not isinstance(raw, dict):
        raise session.wrong(
            f"gave no manifest but {printable(kind) or 'something'}",
            hint="is it a registry, and nothing between that wants a login or a fee?",
        )
    if raw.get("schemaVersion") == 1:
        raise _old(session)
    own = raw.get("mediaType")
    if not own:
        own = media_types.OCI_INDEX if "manifests" in raw else media_types.OCI_MANIFEST if "layers" in raw else None
    if own not in accept:
        raise session.wrong(f"gave {printable(str(own or kind))}, which pybuild cannot use here")
    return str(own)


def _old(session: Session) -> RegistryError:
    return session.wrong(
        "has it only as a manifest of schema 1",
        hint="schema 1 was withdrawn: push the image again with a tool of this decade",
    )
