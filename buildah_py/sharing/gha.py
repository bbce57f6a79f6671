"""A cache in the Actions cache service, version 2: a small API for entries by key, their bytes behind signed URLs.

An entry is written once and never changed. Blobs are entries by digest; each export adds a manifest under a new key,
and the service gives the newest one whose key begins with the scope's. The protocol is that of the public definition
`github.actions.results.api.v1.CacheService` in its JSON form; uploads are Azure block blobs.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from urllib.parse import quote, urlsplit

from buildah_py.errors import CacheAway, CacheError, UsageError
from buildah_py.http.retry import NOBODY
from buildah_py.http.service import QUICK, Service
from buildah_py.image import digest
from buildah_py.sharing.artifact import MAX_MANIFEST
from buildah_py.sharing.backend import ABSENT, MAX_NOTE, StoredNote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from buildah_py.http.download import Download
    from buildah_py.http.retry import Waiter
    from buildah_py.image.descriptor import Descriptor
    from buildah_py.sharing.backend import Open
    from buildah_py.sharing.spec import CacheSpec

_SERVICE: Final = "twirp/github.actions.results.api.v1.CacheService"
_VERSION: Final = hashlib.sha256(b"pybuild cache 1").hexdigest()
_SINGLE: Final = 1 << 27
_PART: Final = 1 << 26


def is_offered(place: CacheSpec, environ: Mapping[str, str]) -> bool:
    """Whether anything says where the Actions cache is: outside of a workflow nothing does."""
    said, variables = ("url_v2", "token"), ("ACTIONS_RESULTS_URL", "ACTIONS_RUNTIME_TOKEN")
    return any(map(place.where.get, said)) or any(map(environ.get, variables))


class ActionsCache:
    """The cache of a scope, by default of the ref that the workflow runs for. Raises UsageError."""

    kind = "gha"
    claim_ttl = 240.0
    claims_are_dear = True

    def __init__(self, place: CacheSpec, environ: Mapping[str, str], waiter: Waiter = NOBODY) -> None:
        said = place.where
        self._url = (said.get("url_v2") or environ.get("ACTIONS_RESULTS_URL", "")).rstrip("/")
        self._token = said.get("token") or environ.get("ACTIONS_RUNTIME_TOKEN", "")
        if not self._url or not self._token:
            raise UsageError(
                f"{place.option}: type=gha needs ACTIONS_RESULTS_URL and ACTIONS_RUNTIME_TOKEN",
                hint="a step of a workflow that uses an action sees them; hand them on to the step that runs pybuild",
            )
        if urlsplit(self._url).scheme not in ("http", "https"):
            raise UsageError(f"{place.option}: {self._url} is not a URL")
        self._scope = said.get("scope", "pybuild")
        self.name = f"gha {self._scope}"
        self.location = f"type=gha,scope={self._scope}"
        self._service = Service(self.name, environ, CacheError, waiter, away=CacheAway)
        self._quick = Service(self.name, environ, CacheError, waiter, away=CacheAway, policy=QUICK)

    def manifest(self) -> bytes | None:
        """Return the newest manifest of the scope."""
        url = self._find(f"{self._manifests()}none", self._manifests())
        if url is None:
            return None
        answer = self._service.request("GET", url, {}, limit=MAX_MANIFEST + 1)
        if answer.status != 200:
            raise self._service.refused(answer, "GET", url)
        return answer.data

    def open(self, blob: Descriptor) -> Download:
        """Open a blob."""
        url = self._find(self._blob(blob.digest))
        if url is None:
            raise CacheError(f"{self.name}: the blob {blob.digest} is not there (any more)")
        return self._service.download(url, blob.size)

    def has(self, blob: Descriptor) -> bool:
        """Whether an entry of that digest is there."""
        return self._find(self._blob(blob.digest)) is not None

    def put(self, blob: Descriptor, source: Open) -> None:
        """Send a blob."""
        with source() as file:
            self._save(self._blob(blob.digest), file, blob.size)

    def put_manifest(self, data: bytes) -> None:
        """Send a manifest under a key of its own: the newest one counts."""
        import io
        import time

        key = f"{self._manifests()}{time.time_ns():020d}-{digest.sha256_of(data)[7:23]}"
        self._save(key, io.BytesIO(data), len(data))

    def unconditional(self) -> str:
        """Say "": an entry is created by one alone."""
        return ""

    def read_note(self, name: str) -> StoredNote | None:
        """Return the newest entry of a note, whose versions are numbered."""
        asked = {"key": f"{_note(name)}none", "restore_keys": [_note(name)], "version": _VERSION}
        answer = self._call("GetCacheEntryDownloadURL", asked, missing={}, service=self._quick)
        url, key = answer.get("signed_download_url"), str(answer.get("matched_key", ""))
        if not answer.get("ok") or not isinstance(url, str) or not url:
            return None
        found = self._quick.request("GET", url, {}, limit=MAX_NOTE)
        if found.status != 200:
            raise self._service.refused(found, "GET", url)
        return StoredNote(found.data, key.removeprefix(_note(name)))

    def write_note(self, name: str, data: bytes, *, over: str | None, blobs: Sequence[Descriptor] = ()) -> str:  # noqa: ARG002 - entries go when nobody reads them
        """Create the entry of the next number."""
        import io

        if over is None:
            before = self.read_note(name)
            over = before.version if before else ABSENT
        if over and not over.isdecimal():
            raise CacheError(f"{self.name}: the note {name} has an entry that is not numbered")
        version = f"{int(over or 0) + 1:06d}"
        key = f"{_note(name)}{version}"
        return version if self._save(key, io.BytesIO(data), len(data), self._quick) else ABSENT

    def _save(self, key: str, file: BinaryIO, size: int, service: Service | None = None) -> bool:
        """Send an entry; whether there was none of that key."""
        answer = self._call("CreateCacheEntry", {"key": key, "version": _VERSION}, exists={}, service=service)
        if not answer:
            return False  # another run has sent it meanwhile
        url = answer.get("signed_upload_url")
        if not answer.get("ok") or not isinstance(url, str):
            raise CacheError(f"{self.name}: the service takes no entry {key}", hint="is the token one that may write?")
        if size > _SINGLE:
            self._upload_parts(url, file)
        else:
            self._upload(url, file, size, {"x-ms-blob-type": "BlockBlob"})
        whole = {"key": key, "version": _VERSION, "size_bytes": str(size)}
        done = self._call("FinalizeCacheEntryUpload", whole, service=service)
        if not done.get("ok"):
            raise CacheError(f"{self.name}: the service did not keep the entry {key}")
        return True

    def _upload_parts(self, url: str, file: BinaryIO) -> None:
        """Put a block list (Azure storage, Put Block and Put Block List)."""
        names: list[str] = []
        while data := file.read(_PART):
            name = base64.b64encode(f"{len(names):08d}".encode()).decode()
            self._upload(f"{url}&comp=block&blockid={name.replace('=', '%3D')}", data, len(data), {})
            names.append(f"<Latest>{name}</Latest>")
        listing = f"<?xml version='1.0' encoding='utf-8'?><BlockList>{''.join(names)}</BlockList>".encode()
        self._upload(f"{url}&comp=blocklist", listing, len(listing), {})

    def _upload(self, url: str, body: bytes | BinaryIO, size: int, headers: Mapping[str, str]) -> None:
        sent = {**headers, "Content-Type": "application/octet-stream", "Content-Length": str(size)}
        answer = self._service.request("PUT", url, sent, body)
        if answer.status not in (200, 201):
            raise self._service.refused(answer, "PUT", url)

    def _find(self, key: str, *prefixes: str) -> str | None:
        asked = {"key": key, "restore_keys": list(prefixes), "version": _VERSION}
        answer = self._call("GetCacheEntryDownloadURL", asked, missing={})
        url = answer.get("signed_download_url")
        return url if answer.get("ok") and isinstance(url, str) and url else None

    def _call(
        self,
        method: str,
        asked: Mapping[str, Any],
        *,
        exists: dict[str, Any] | None = None,
        missing: dict[str, Any] | None = None,
        service: Service | None = None,
    ) -> dict[str, Any]:
        url = f"{self._url}/{_SERVICE}/{method}"
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        response = (service or self._service).request("POST", url, headers, json.dumps(asked).encode())
        if response.status == 409 and exists is not None:
            return exists
        if response.status == 404 and missing is not None:
            return missing
        if response.status != 200:
            hint = "has the token ended, or is the cache read-only here?" if response.status in (401, 403) else ""
            raise self._service.refused(response, "POST", url, hint)
        try:
            answer = json.loads(response.data)
        except (ValueError, RecursionError) as error:
            raise CacheError(f"{self.name}: {method} answered with what is not JSON") from error
        if not isinstance(answer, dict):
            raise CacheError(f"{self.name}: {method} answered with what is not an object")
        # Both spellings are proto3's JSON form.
        return {
            "".join(f"_{one.lower()}" if one.isupper() else one for one in key): value for key, value in answer.items()
        }

    def _manifests(self) -> str:
        return f"pybuild-cache-{quote(self._scope, safe='')}#"

    def _blob(self, name: str) -> str:
        return f"pybuild-blob-{name.partition(':')[2]}"


def _note(name: str) -> str:
    return f"pybuild-note-{name}#"
