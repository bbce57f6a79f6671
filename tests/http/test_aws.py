"""Where access keys of AWS are found, in their order; and where buckets are."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from buildah_py.errors import UsageError
from buildah_py.http.aws import AccessKeys, region_of
from buildah_py.http.s3 import BucketPlace
from buildah_py.http.service import Service
from buildah_py.http.sigv4 import AccessKey
from tests.http.conftest import Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.web_server import Handler, Server


def keys(environ: dict[str, str]) -> AccessKeys:
    return AccessKeys(environ, Service("keys", {}, Failed))


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Write the shared files; the variables that name them."""
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = A\naws_secret_access_key = a%(b\n"
        "[ci]\naws_access_key_id=B\naws_secret_access_key=b\naws_session_token=t\n[half]\naws_access_key_id=C\n"
    )
    (tmp_path / "config").write_text("[default]\nregion = eu-west-3\n[profile ci]\nregion = eu-west-2\n")
    return {"AWS_SHARED_CREDENTIALS_FILE": f"{tmp_path}/credentials", "AWS_CONFIG_FILE": f"{tmp_path}/config"}


def test_variables_and_files(files: dict[str, str], tmp_path: Path) -> None:
    assert keys({"HOME": str(tmp_path)}).get() is None
    given = {"AWS_ACCESS_KEY_ID": "V", "AWS_SECRET_ACCESS_KEY": "v"}
    assert keys({**files, **given}).get() == AccessKey("V", "v")
    assert keys({**files, **given, "AWS_SESSION_TOKEN": "t"}).get() == AccessKey("V", "v", "t")
    assert keys(files).get() == AccessKey("A", "a%(b")
    assert keys({**files, "AWS_PROFILE": "ci"}).get() == AccessKey("B", "b", "t")
    assert keys({**files, "AWS_PROFILE": "none"}).get() is None
    (tmp_path / ".aws").mkdir()
    (tmp_path / "credentials").rename(tmp_path / ".aws/credentials")
    assert keys({"HOME": str(tmp_path), "AWS_DEFAULT_PROFILE": "ci"}).get() == AccessKey("B", "b", "t")
    for environ in ({"AWS_ACCESS_KEY_ID": "V"}, {"HOME": str(tmp_path), "AWS_PROFILE": "half"}):
        with pytest.raises(UsageError, match="an access key has two parts"):
            keys(environ).get()
    (tmp_path / ".aws/credentials").write_text("s3cret\n")
    with pytest.raises(UsageError, match="cannot be read") as raised:
        keys({"HOME": str(tmp_path)}).get()
    assert "s3cret" not in str(raised.value)


def test_regions(files: dict[str, str], tmp_path: Path) -> None:
    assert region_of({"HOME": str(tmp_path / "nobody")}) == "us-east-1"
    assert region_of(files) == "eu-west-3"
    assert region_of({**files, "AWS_PROFILE": "ci"}) == "eu-west-2"
    assert region_of({**files, "AWS_DEFAULT_REGION": "d"}) == "d"
    assert region_of({**files, "AWS_DEFAULT_REGION": "d", "AWS_REGION": "r"}) == "r"


@pytest.fixture
def sts() -> Iterator[str]:
    """moto's STS; its URL."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def test_a_service_account_of_a_pod_is_a_role(sts: str, files: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("header.body.signature\n")
    environ = {
        **files, "AWS_WEB_IDENTITY_TOKEN_FILE": f"{tmp_path}/token", "AWS_ENDPOINT_URL_STS": sts,
        "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/builder",
    }  # fmt: skip
    found = keys(environ).get()
    assert found is not None
    assert found.token
    assert found.access_key != "A"
    (tmp_path / "token").unlink()
    with pytest.raises(UsageError, match="AWS_WEB_IDENTITY_TOKEN_FILE"):
        keys(environ).get()


def answering(body: dict[str, Any] | str, status: int = 200) -> Callable[[Handler], None]:
    data = body if isinstance(body, str) else json.dumps(body)
    return lambda handler: handler.answer(status, {}, data.encode())


def test_the_endpoint_of_a_container_is_asked_again_before_the_end(server: Server, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("Bearer x\n")
    environ = {
        "HOME": str(tmp_path), "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{server.url}/keys",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": f"{tmp_path}/token",
    }  # fmt: skip
    said = {"AccessKeyId": "E", "SecretAccessKey": "e", "Token": "t"}
    for left, asked in ((timedelta(hours=1), 1), (timedelta(minutes=1), 2)):
        server.requests.clear()
        until = (datetime.now(UTC) + left).isoformat().replace("+00:00", "Z")
        server.answers["/keys"] = answering({**said, "Expiration": until})
        known = keys(environ)
        assert [known.get(), known.get()] == [AccessKey("E", "e", "t")] * 2
        assert [headers["authorization"] for _, headers in server.requests] == ["Bearer x"] * asked
    for bad in (answering("nothing"), answering({"AccessKeyId": "E"}), answering([], 403)):  # type: ignore[arg-type]
        server.answers["/keys"] = bad
        with pytest.raises(Failed, match="/keys"):
            keys(environ).get()


@pytest.mark.parametrize(
    ("place", "url"),
    [
        (BucketPlace("b", "eu-west-1"), "https://b.s3.eu-west-1.amazonaws.com"),
        (BucketPlace("b", "cn-north-1"), "https://b.s3.cn-north-1.amazonaws.com.cn"),
        (BucketPlace("b", "x", by_path=True), "https://s3.x.amazonaws.com/b"),
        (BucketPlace("b", "x", "http://h:9000/at/"), "http://b.h:9000/at"),
        (BucketPlace("b c", "x", "http://h:9000/at/", by_path=True), "http://h:9000/at/b%20c"),
    ],
)
def test_places_of_buckets(place: BucketPlace, url: str) -> None:
    assert place.url() == url
    with pytest.raises(UsageError, match="is not the URL"):
        place._replace(endpoint="h:9000").url()
