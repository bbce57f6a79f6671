"""A cache in a bucket of any S3 endpoint: blobs by their digests, manifests by the cache's name."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO, Final
from urllib.parse import quote, urlsplit

from buildah_py.errors import CacheError, UsageError
from buildah_py.http.retry import NOBODY
from buildah_py.sharing import sigv4, spec
from buildah_py.sharing.artifact import MAX_MANIFEST
from buildah_py.sharing.service import Service

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildah_py.http.download import Download
    from buildah_py.http.retry import Waiter
    from buildah_py.image.descriptor import Descriptor
    from buildah_py.sharing.backend import Open
    from buildah_py.sharing.service import ServiceAnswer
    from buildah_py.sharing.spec import CacheSpec

_SINGLE: Final = 1 << 30
_PART: Final = 1 << 26


class S3Cache:
    """The cache that a `type=s3` names; what it leaves out is taken from the AWS_* variables. Raises UsageError."""

    kind = "s3"

    def __init__(self, place: CacheSpec, environ: Mapping[str, str], waiter: Waiter = NOBODY) -> None:
        said = place.where
        self._bucket = said.get("bucket") or environ.get("AWS_BUCKET", "")
        self._region = (
            said.get("region") or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        )
        if not self._bucket:
            raise UsageError(f"{place.option}: type=s3 does not say which bucket", hint="add bucket=NAME")
        endpoint = said.get("endpoint_url") or environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL", "")
        self._prefix = said.get("prefix", "")
        self._blobs = said.get("blobs_prefix", "blobs/")
        self._manifests = said.get("manifests_prefix", "manifests/")
        self._names = said.get("name", "pybuild").split(";")
        by_path = spec.flag(place.option, said, "use_path_style") if "use_path_style" in said else bool(endpoint)
        self._base = _base(endpoint, self._bucket, self._region, by_path=by_path, option=place.option)
        self._credentials = _credentials(place, environ)
        self.name = f"s3 {self._bucket}/{self._prefix}{self._names[0]}"
        known = ("bucket", "prefix", "blobs_prefix", "manifests_prefix", "name", "use_path_style")
        parts = {name: said[name] for name in known if name in said}
        parts |= {"bucket": self._bucket, "region": self._region} | ({"endpoint_url": endpoint} if endpoint else {})
        self.location = "type=s3," + ",".join(f"{name}={value}" for name, value in parts.items())
        self._service = Service(self.name, environ, waiter)

    def manifest(self) -> bytes | None:
        """Return the manifest of the first of the names that has one."""
        for name in self._names:
            url = self._url(f"{self._manifests}{name}")
            response = self._service.request("GET", url, self._sign("GET", url), limit=MAX_MANIFEST + 1)
            if response.status == 200:
                return response.data
            if response.status != 404:
                raise self._refused(response, "GET", url)
        return None

    def open(self, blob: Descriptor) -> Download:
        """Open a blob."""
        url = self._blob(blob)
        return self._service.download(url, blob.size, lambda headers: self._sign("GET", url, headers))

    def has(self, blob: Descriptor) -> bool:
        """Whether the bucket has an object of that name and size."""
        url = self._blob(blob)
        response = self._service.request("HEAD", url, self._sign("HEAD", url))
        if response.status == 404:
            return False
        if response.status != 200:
            raise self._refused(response, "HEAD", url)
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

    def _put(self, url: str, body: bytes | BinaryIO, size: int, payload: str) -> str:
        headers = self._sign("PUT", url, {"Content-Length": str(size)}, payload)
        response = self._service.request("PUT", url, headers, body)
        if response.status != 200:
            raise self._refused(response, "PUT", url)
        return response.headers.get("ETag", "")

    def _put_parts(self, url: str, file: BinaryIO) -> None:
        """Send in parts what is too large for one request (S3 user guide, multipart upload)."""
        started = self._service.request("POST", f"{url}?uploads=", self._sign("POST", f"{url}?uploads="))
        found = re.search(rb"<UploadId>([^<]+)</UploadId>", started.data)
        if started.status != 200 or found is None:
            raise self._refused(started, "POST", url)
        upload = f"{url}?uploadId={quote(found[1].decode(), safe='')}"
        parts: list[str] = []
        try:
            while data := file.read(_PART):
                number = len(parts) + 1
                where = f"{url}?partNumber={number}&uploadId={quote(found[1].decode(), safe='')}"
                tag = self._put(where, data, len(data), hashlib.sha256(data).hexdigest())
                parts.append(f"<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>")
            body = f"<CompleteMultipartUpload>{''.join(parts)}</CompleteMultipartUpload>".encode()
            headers = self._sign("POST", upload, {}, hashlib.sha256(body).hexdigest())
            done = self._service.request("POST", upload, headers, body)
        except BaseException:
            self._service.request("DELETE", upload, self._sign("DELETE", upload))
            raise
        if done.status != 200 or b"<Error>" in done.data:  # it can fail after it began to answer with 200
            raise self._refused(done, "POST", url)

    def _url(self, key: str) -> str:
        return f"{self._base}/{quote(self._prefix + key, safe='/-_.~')}"

    def _blob(self, blob: Descriptor) -> str:
        return self._url(f"{self._blobs}{blob.digest}")

    def _sign(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, payload: str = sigv4.EMPTY
    ) -> dict[str, str]:
        if self._credentials is None:
            return dict(headers or {})
        now = datetime.now(UTC)
        return sigv4.sign(method, url, headers or {}, payload, self._credentials, region=self._region, now=now)

    def _refused(self, response: ServiceAnswer, method: str, url: str) -> CacheError:
        hint = ""
        if response.status in (301, 307, 400):
            hint = f"is the bucket in the region {self._region}?"
        elif response.status in (401, 403):
            hint = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" if self._credentials is None else ""
        return self._service.refused(response, method, url, hint)


def _base(endpoint: str, bucket: str, region: str, *, by_path: bool, option: str) -> str:
    endpoint = endpoint or f"https://s3.{region}.amazonaws.com"
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise UsageError(f"{option}: endpoint_url={endpoint} is not a URL", hint="write it as https://host")
    path = parts.path.rstrip("/")
    if by_path:
        return f"{parts.scheme}://{parts.netloc}{path}/{quote(bucket)}"
    return f"{parts.scheme}://{bucket}.{parts.netloc}{path}"


def _credentials(place: CacheSpec, environ: Mapping[str, str]) -> sigv4.AccessKey | None:
    said = place.where
    if "access_key_id" in said or "secret_access_key" in said:
        found = said.get("access_key_id", ""), said.get("secret_access_key", ""), said.get("session_token", "")
    else:
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        found = environ.get(names[0], ""), environ.get(names[1], ""), environ.get(names[2], "")
    if bool(found[0]) != bool(found[1]):
        raise UsageError(
            f"{place.option}: an access key has two parts", hint="give access_key_id and secret_access_key"
        )
    return sigv4.AccessKey(*found) if found[0] else None
