"""moto's S3 on loopback, with a bucket; as a program, on an address that is said, until its input ends.

moto heeds If-None-Match and If-Match of a PUT.
"""

from __future__ import annotations

import sys
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

BUCKET = "builds"


@dataclass
class Bucket:
    """A bucket, and how `--cache-to` names it."""

    url: str
    client: Any

    @property
    def spec(self) -> str:
        """The attributes of the place."""
        return f"type=s3,endpoint_url={self.url},bucket={BUCKET},region=eu-west-1"

    def environ(self) -> dict[str, str]:
        """Credentials."""
        return {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "a-secret-key"}

    def keys(self) -> dict[str, int]:
        """The objects and their sizes."""
        return {one["Key"]: one["Size"] for one in self.client.list_objects_v2(Bucket=BUCKET).get("Contents", ())}


@contextmanager
def serve(address: str = "127.0.0.1") -> Iterator[Bucket]:
    """Serve on an address of this machine."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address=address, port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        # What an earlier server of this process was told lives on in it.
        urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset", method="POST")).close()
        client = boto3.client(
            "s3",
            endpoint_url=url,
            region_name="eu-west-1",
            aws_access_key_id="AKIATEST",
            aws_secret_access_key="a-secret-key",
        )
        client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        yield Bucket(url, client)
        client.close()
    finally:
        server.stop()


if __name__ == "__main__":
    import logging

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with serve(sys.argv[1]) as served:
        sys.stdout.write(f"{served.url}\n")
        sys.stdout.flush()
        sys.stdin.read()
