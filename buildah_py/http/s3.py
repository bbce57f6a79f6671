"""Buckets of S3 endpoints: where their objects are, and requests that are signed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple
from urllib.parse import quote, urlsplit

from buildah_py.errors import UsageError
from buildah_py.http import sigv4

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from buildah_py.errors import PybuildError
    from buildah_py.http.download import Download
    from buildah_py.http.service import Service, ServiceAnswer

_LARGEST: Final = 1 << 20


class BucketPlace(NamedTuple):
    """Where a bucket is. Without an `endpoint` it is AWS's; `by_path` puts the bucket's name into the path."""

    bucket: str
    region: str
    endpoint: str = ""
    by_path: bool = False

    def url(self) -> str:
        """Return the URL that all objects are below, without a slash at its end. Raises UsageError."""
        domain = "amazonaws.com.cn" if self.region.startswith("cn-") else "amazonaws.com"
        endpoint = self.endpoint or f"https://s3.{self.region}.{domain}"
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise UsageError(f"{endpoint} is not the URL of an S3 endpoint", hint="write it as https://host")
        path = parts.path.rstrip("/")
        if self.by_path:
            return f"{parts.scheme}://{parts.netloc}{path}/{quote(self.bucket)}"
        return f"{parts.scheme}://{self.bucket}.{parts.netloc}{path}"


class Bucket:
    """Requests to a bucket through `service`, signed with what `key` gives, unsigned where that is None."""

    def __init__(self, place: BucketPlace, service: Service, key: Callable[[], sigv4.AccessKey | None]) -> None:
        self._base = place.url()
        self._region = place.region
        self._service = service
        self._key = key

    def url(self, name: str) -> str:
        """Return the URL of an object."""
        return f"{self._base}/{quote(name, safe='/-_.~')}"

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | BinaryIO | None = None,
        *,
        payload: str = sigv4.EMPTY,
        limit: int = _LARGEST,
    ) -> ServiceAnswer:
        """Send a request to a URL below the bucket's; `payload` is the sha256 of the body."""
        return self._service.request(method, url, self._sign(method, url, headers, payload), body, limit=limit)

    def download(self, url: str, size: int) -> Download:
        """Open an object of `size` bytes."""
        return self._service.download(url, size, lambda headers: self._sign("GET", url, headers))

    def refused(self, answer: ServiceAnswer, method: str, url: str) -> PybuildError:
        """Make the error for an answer that is not the one that was asked for."""
        hint = ""
        if answer.status in (301, 307, 400):
            hint = f"is the bucket in the region {self._region}?"
        elif answer.status in (401, 403):
            hint = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" if self._key() is None else ""
        return self._service.refused(answer, method, url, hint)

    def _sign(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, payload: str = sigv4.EMPTY
    ) -> dict[str, str]:
        key = self._key()
        if key is None:
            return dict(headers or {})
        now = datetime.now(UTC)
        return sigv4.sign(method, url, headers or {}, payload, key, region=self._region, now=now)
