"""A cache in a bucket of any S3 endpoint: blobs by their digests, manifests by the cache's name."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, BinaryIO, Final
from urllib.parse import quote

from buildah_py.errors import CacheAway, CacheError, UsageError
from buildah_py.http.aws import AccessKeys, pair, region_of
from buildah_py.http.retry import NOBODY
from buildah_py.http.s3 import Bucket, BucketPlace
from buildah_py.http.service import QUICK, Service
from buildah_py.sharing import spec
from buildah_py.sharing.artifact import MAX_MANIFEST
from buildah_py.sharing.backend import ABSENT, MAX_NOTE, StoredNote

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildah_py.http.download import Download
    from buildah_py.http.retry import Waiter
    from buildah_py.http.sigv4 import AccessKey
    from buildah_py.image.descriptor import Descriptor
    from buildah_py.sharing.backend import Open
    from buildah_py.sharing.spec import CacheSpec

_SINGLE: Final = 1 << 30
_PART: Final = 1 << 26
_NOTES: Final = "notes/"
_TAKEN: Final = (409, 412)
"""Answers to a write whose condition does not hold: another one goes on (409), or is over (412)."""


class S3Cache:
    """The cache that a `type=s3` names; what it leaves out is taken from the AWS_* variables. Raises UsageError."""

    kind = "s3"
    claim_ttl = 30.0
    claims_are_dear = False

    def __init__(self, place: CacheSpec, environ: Mapping[str, str], waiter: Waiter = NOBODY) -> None:
        said = place.where
        bucket = said.get("bucket") or environ.get("AWS_BUCKET", "")
        region = said.get("region") or region_of(environ)
        if not bucket:
            raise UsageError(f"{place.option}: type=s3 does not say which bucket", hint="add bucket=NAME")
        endpoint = said.get("endpoint_url") or environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL", "")
        self._prefix = said.get("prefix", "")
        self._blobs = said.get("blobs_prefix", "blobs/")
        self._manifests = said.get("manifests_prefix", "manifests/")
        self._names = said.get("name", "pybuild").split(";")
        by_path = spec.flag(place.option, said, "use_path_style") if "use_path_style" in said else bool(endpoint)
        self.name = f"s3 {bucket}/{self._prefix}{self._names[0]}"
        known = ("bucket", "prefix", "blobs_prefix", "manifests_prefix", "name", "use_path_style")
        parts = {name: said[name] for name in known if name in said}
        parts |= {"bucket": bucket, "region": region} | ({"endpoint_url": endpoint} if endpoint else {})
        self.location = "type=s3," + ",".join(f"{name}={value}" for name, value in parts.items())
        where = BucketPlace(bucket, region, endpoint, by_path)
        service = Service(self.name, environ, CacheError, waiter, away=CacheAway)
        quick = Service(self.name, environ, CacheError, waiter, away=CacheAway, policy=QUICK)
        found = _keys(place, environ, service)
        self._bucket, self._quick = Bucket(where, service, found), Bucket(where, quick, found)

    def manifest(self) -> bytes | None:
        """Return the manifest of the first of the names that has one."""
        for name in self._names:
            url = self._url(f"{self._manifests}{name}")
            response = self._bucket.request("GET", url, limit=MAX_MANIFEST + 1)
            if response.status == 200:
                return response.data
            if response.status != 404:
                raise self._bucket.refused(response, "GET", url)
        return None

    def open(self, blob: Descriptor) -> Download:
        """Open a blob."""
        return self._bucket.download(self._blob(blob), blob.size)

    def has(self, blob: Descriptor) -> bool:
        """Whether the bucket has an object of that name and size."""
        url = self._blob(blob)
        response = self._bucket.request("HEAD", url)
        if response.status == 404:
            return False
        if response.status != 200:
            raise self._bucket.refused(response, "HEAD", url)
        return response.headers.get("Content-Length") == str(blob.size)

    def put(self, blob: Descriptor, source: Open) -> None:
        """Send a blob."""
        with source() as file:
            if blob.size > _SINGLE:
                self._put_parts(self._blob(blob), file)
            else:
                self._put(self._blob(blob), file, blob.size, blob.digest.partition(":")[2])

    def put_manifest(self, data: bytes) -> None:
        """Send the manifest, once for each name."""
        for name in self._names:
            self._put(self._url(f"{self._manifests}{name}"), data, len(data), hashlib.sha256(data).hexdigest())

    def unconditional(self) -> str:
        """Try what the endpoint makes of conditions: some have none of them, and some do not heed them."""
        import secrets

        name = f"try-{secrets.token_hex(16)}"
        try:
            self.write_note(name, b"1", over=ABSENT)
            for what, over in (("If-None-Match", ABSENT), ("If-Match", '"00000000000000000000000000000000"')):
                if self.write_note(name, b"2", over=over):
                    return f"its endpoint does not heed {what} of a PUT"
        except _Unimplemented as error:
            return f"its endpoint has no conditional writes: {error.message}"
        finally:
            url = self._url(f"{_NOTES}{name}")
            self._quick.request("DELETE", url)
        return ""

    def read_note(self, name: str) -> StoredNote | None:
        """Return the object of a note; its version is the entity tag."""
        url = self._url(f"{_NOTES}{name}")
        response = self._quick.request("GET", url, limit=MAX_NOTE)
        if response.status == 404:
            return None
        if response.status != 200:
            raise self._quick.refused(response, "GET", url)
        return StoredNote(response.data, response.headers.get("ETag", ""))

    def write_note(self, name: str, data: bytes, *, over: str | None, blobs: Sequence[Descriptor] = ()) -> str:  # noqa: ARG002 - objects stay
        """Put an object on a condition (S3 API, PutObject: If-None-Match, If-Match)."""
        url = self._url(f"{_NOTES}{name}")
        condition = {} if over is None else {"If-Match": over} if over else {"If-None-Match": "*"}
        headers = {"Content-Length": str(len(data)), **condition}
        response = self._quick.request("PUT", url, headers, data, payload=hashlib.sha256(data).hexdigest())
        if over is not None and (response.status in _TAKEN or (over and response.status == 404)):
            return ABSENT
        if over is not None and response.status == 501:
            raise _Unimplemented(self._quick.refused(response, "PUT", url).message)
        if response.status != 200:
            raise self._quick.refused(response, "PUT", url)
        return response.headers.get("ETag", "")

    def _put(self, url: str, body: bytes | BinaryIO, size: int, payload: str) -> str:
        response = self._bucket.request("PUT", url, {"Content-Length": str(size)}, body, payload=payload)
        if response.status != 200:
            raise self._bucket.refused(response, "PUT", url)
        return response.headers.get("ETag", "")

    def _put_parts(self, url: str, file: BinaryIO) -> None:
        """Send in parts what is too large for one request (S3 user guide, multipart upload)."""
        started = self._bucket.request("POST", f"{url}?uploads=")
        found = re.search(rb"<UploadId>([^<]+)</UploadId>", started.data)
        if started.status != 200 or found is None:
            raise self._bucket.refused(started, "POST", url)
        upload = f"{url}?uploadId={quote(found[1].decode(), safe='')}"
        parts: list[str] = []
        try:
            while data := file.read(_PART):
                number = len(parts) + 1
                where = f"{url}?partNumber={number}&uploadId={quote(found[1].decode(), safe='')}"
                tag = self._put(where, data, len(data), hashlib.sha256(data).hexdigest())
                parts.append(f"<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>")
            body = f"<CompleteMultipartUpload>{''.join(parts)}</CompleteMultipartUpload>".encode()
            done = self._bucket.request("POST", upload, {}, body, payload=hashlib.sha256(body).hexdigest())
        except BaseException:
            self._bucket.request("DELETE", upload)
            raise
        if done.status != 200 or b"<Error>" in done.data:  # it can fail after it began to answer with 200
            raise self._bucket.refused(done, "POST", url)

    def _url(self, key: str) -> str:
        return self._bucket.url(self._prefix + key)

    def _blob(self, blob: Descriptor) -> str:
        return self._url(f"{self._blobs}{blob.digest}")


class _Unimplemented(CacheError):
    """An endpoint's word that it has no such condition."""


def _keys(place: CacheSpec, environ: Mapping[str, str], service: Service) -> Callable[[], AccessKey | None]:
    """Say where keys come from: what the option gives is all that counts, where it gives any."""
    said = place.where
    if "access_key_id" in said or "secret_access_key" in said:
        names = ("access_key_id", "secret_access_key", "session_token")
        found = pair(*(said.get(name, "") for name in names), what=place.option)
        return lambda: found
    if bool(environ.get("AWS_ACCESS_KEY_ID")) != bool(environ.get("AWS_SECRET_ACCESS_KEY")):
        raise UsageError(f"{place.option}: an access key has two parts", hint="set AWS_SECRET_ACCESS_KEY as well")
    return AccessKeys(environ, service).get
