"""A cache in the action cache and the content-addressable storage of a server.

Blobs are those of the storage. A manifest is the output of an *action* that stands for the cache's name: one that
nobody executes, whose command and salt no build has. Its result is kept twice. One names all blobs of the cache as
outputs, so that a server which checks results for completeness holds on to all of them while the cache is in use; the
other names what the cache cannot be read without, and is asked for where the first is gone because a layer is.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.errors import CacheError, ReadOnlyCache
from buildah_py.http.retry import DEFAULT, NOBODY
from buildah_py.image import descriptor, digest, media_types
from buildah_py.sharing.artifact import CONFIG, MAX_MANIFEST, RECORDS
from buildah_py.sharing.backend import StoredNote, verified
from buildah_py.sharing.reapi import messages, server
from buildah_py.sharing.reapi.calls import Calls, check_library
from buildah_py.sharing.reapi.faults import NOT_FOUND, Refused
from buildah_py.sharing.reapi.messages import classes
from buildah_py.sharing.reapi.storage import LARGEST, Storage, digest_message

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from buildah_py.http.retry import Policy, Waiter
    from buildah_py.image.blob import Stream
    from buildah_py.image.descriptor import Descriptor
    from buildah_py.sharing.backend import Open
    from buildah_py.sharing.spec import CacheSpec

_MANIFEST: Final = "manifest.json"
_SALT: Final = b"pybuild cache 1"
_WHOLE: Final = "whole"
_HEAD: Final = "head"
_NOTE: Final = "note"


class _Action(NamedTuple):
    """An action that stands for a cache: the blobs that describe it, the action itself first."""

    blobs: tuple[tuple[Descriptor, bytes], ...]

    @property
    def digest(self) -> Descriptor:
        return self.blobs[0][0]


class ReapiCache:
    """The cache that a `type=reapi` names. Raises UsageError."""

    kind = "reapi"
    claim_ttl = 30.0
    claims_are_dear = False

    def __init__(
        self, spec: CacheSpec, environ: Mapping[str, str], waiter: Waiter = NOBODY, policy: Policy = DEFAULT
    ) -> None:
        check_library()
        self._server = server.read(spec, environ)
        instance = f"/{self._server.instance}" if self._server.instance else ""
        self.name = f"reapi {self._server.host}{instance} {self._server.names[0]}"
        self.location = self._server.location
        self._calls = Calls(self._server, self.name, environ, waiter, policy)
        self._storage = Storage(self._calls)

    def manifest(self) -> bytes | None:
        """Return the manifest of the first of the names that has one, and have its blobs count as used."""
        self._storage.abilities()
        for name in self._server.names:
            for part in (_WHOLE, _HEAD):
                data = self._manifest_of(_action(name, part))
                if data is None:
                    continue
                blobs = _named(data)
                gone = self._storage.missing(blobs)  # servers keep longest what was asked for last
                if not any(one.digest in gone for one in _vital(blobs)):
                    return data
        return None

    def open(self, blob: Descriptor) -> Stream:
        """Open a blob."""
        try:
            return self._storage.open(blob)
        except Refused as error:
            if error.code != NOT_FOUND:
                raise
            raise CacheError(f"{self.name}: the blob {blob.digest} is not there (any more)") from error

    def has(self, blob: Descriptor) -> bool:
        """Whether the storage has a blob; asked for a blob that is to be sent, so it has to be writable."""
        self._check_writable()
        return not self._storage.missing([blob])

    def put(self, blob: Descriptor, source: Open) -> None:
        """Send a blob."""
        self._check_writable()
        self._storage.put(blob, source)

    def put_manifest(self, data: bytes) -> None:
        """Send the manifest, and name it in results for each of the names."""
        self._check_writable()
        own, blobs = descriptor.of(media_types.OCI_MANIFEST, data), _named(data)
        for name in self._server.names:
            for part, files in ((_WHOLE, blobs), (_HEAD, _vital(blobs))):
                action = _action(name, part)
                self._storage.send([(own, data), *action.blobs])
                self._update(action, own, files)

    def unconditional(self) -> str:
        """Say that updates of the action cache have no conditions."""
        return "the Remote Execution API has no conditional writes"

    def read_note(self, name: str) -> StoredNote | None:
        """Return the output of the action that stands for a note; its version is its digest."""
        data = self._manifest_of(_action(name, _NOTE))
        return None if data is None else StoredNote(data, digest.sha256_of(data))

    def write_note(self, name: str, data: bytes, *, over: str | None, blobs: Sequence[Descriptor] = ()) -> str:
        """Send a note as the output of an action; what it names is an output as well, and stays as long."""
        assert over is None, "there are no conditions"
        self._check_writable()
        own, action = descriptor.of(media_types.OCI_MANIFEST, data), _action(name, _NOTE)
        self._storage.send([(own, data), *action.blobs])
        self._update(action, own, blobs)
        return own.digest

    # the action cache

    def _manifest_of(self, action: _Action) -> bytes | None:
        known = classes()
        request = known["GetActionResultRequest"](
            instance_name=self._server.instance, action_digest=digest_message(action.digest)
        )
        try:
            result = self._calls.ask(messages.GET_RESULT, request)
        except Refused as error:
            if error.code == NOT_FOUND:
                return None
            raise
        file = next((one for one in result.output_files if one.path == _MANIFEST), None)
        if file is None or result.exit_code:
            raise CacheError(f"{self.name}: the action's result is not that of a cache of pybuild")
        blob = descriptor.Descriptor(media_types.OCI_MANIFEST, f"sha256:{file.digest.hash}", file.digest.size_bytes)
        if not digest.is_digest(blob.digest) or not 0 < blob.size <= MAX_MANIFEST:
            raise CacheError(f"{self.name}: the action's result names no manifest of at most {MAX_MANIFEST} bytes")
        try:
            with verified(self._storage.open(blob), blob, self.name) as stream:
                return stream.read()
        except Refused as error:
            if error.code == NOT_FOUND:
                return None
            raise

    def _update(self, action: _Action, manifest: Descriptor, blobs: Sequence[Descriptor]) -> None:
        known = classes()
        files = [known["OutputFile"](path=_MANIFEST, digest=digest_message(manifest))]
        files += [
            known["OutputFile"](path=f"blobs/{at:05}", digest=digest_message(one)) for at, one in enumerate(blobs)
        ]
        request = known["UpdateActionResultRequest"](
            instance_name=self._server.instance,
            action_digest=digest_message(action.digest),
            action_result=known["ActionResult"](output_files=sorted(files, key=lambda one: str(one.path))),
        )
        self._calls.ask(messages.UPDATE_RESULT, request)

    def _check_writable(self) -> None:
        if not self._storage.abilities().writable:
            raise ReadOnlyCache(f"{self.name}: the server takes no updates of its action cache from here")


def _action(name: str, part: str) -> _Action:
    """Describe the action that stands for a cache. Servers want its parts in their storage."""
    known = classes()
    command = known["Command"](
        arguments=["pybuild-cache", "1", name, part], output_paths=sorted(("blobs", _MANIFEST))
    ).SerializeToString(deterministic=True)
    described = descriptor.of("", command)
    action = known["Action"](
        command_digest=digest_message(described), input_root_digest=digest_message(descriptor.of("", b"")), salt=_SALT
    ).SerializeToString(deterministic=True)
    return _Action(((descriptor.of("", action), action), (described, command)))


def _named(data: bytes) -> list[Descriptor]:
    """Give the blobs that a manifest names, each once, as far as this storage can have them."""
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError):  # it is kept as it is, and whoever reads it says what is wrong
        return []
    parts = [raw.get("config"), *(raw.get("layers") or ())] if isinstance(raw, dict) else []
    found = {}
    for part in parts:
        if isinstance(part, dict):
            name, size = str(part.get("digest")), part.get("size")
            known = digest.is_digest(name) and name.startswith("sha256:")
            if known and isinstance(size, int) and 0 <= size <= LARGEST:
                found[name] = descriptor.Descriptor(str(part.get("mediaType")), name, int(size))
    return list(found.values())


def _vital(blobs: Iterable[Descriptor]) -> list[Descriptor]:
    """Give the blobs without which a cache cannot be read."""
    return [one for one in blobs if one.media_type in (CONFIG, RECORDS)]
