"""AWS Signature Version 4 in the Authorization header (docs.aws.amazon.com, sigv4-create-signed-request)."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

EMPTY = hashlib.sha256(b"").hexdigest()


class AccessKey(NamedTuple):
    """Who asks. `token` belongs to credentials that end soon."""

    access_key: str
    secret_key: str
    token: str = ""


def sign(
    method: str,
    url: str,
    headers: Mapping[str, str],
    payload: str,
    credentials: AccessKey,
    *,
    region: str,
    now: datetime,
    service: str = "s3",
) -> dict[str, str]:
    """Give the headers with those that sign the request; all of them are signed.

    `payload` is the sha256 of the body in hexadecimal digits, `now` a time in UTC. The path of `url` is quoted already.
    """
    parts = urlsplit(url)
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    signed = {**headers, "host": parts.netloc, "x-amz-date": stamp, "x-amz-content-sha256": payload}
    if credentials.token:
        signed["x-amz-security-token"] = credentials.token
    lowered = sorted((name.lower(), " ".join(value.split())) for name, value in signed.items())
    names = ";".join(name for name, _ in lowered)
    pairs = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
    )
    request = "\n".join(
        [
            method,
            parts.path or "/",
            "&".join(f"{name}={value}" for name, value in pairs),
            *(f"{name}:{value}" for name, value in lowered),
            "",
            names,
            payload,
        ]
    )
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{credentials.secret_key}".encode()
    for part in (stamp[:8], region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    signed["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return signed
