"""Access keys of AWS, found where its SDKs find them (docs.aws.amazon.com/sdkref, standardized credential providers).

In this order: the variables, the role of a web identity (EKS: service accounts), the shared files, the endpoint of a
container (ECS, EKS Pod Identity). The metadata service of an EC2 machine is not asked.
"""

from __future__ import annotations

import os
import re
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from buildah_py.errors import UsageError
from buildah_py.http.sigv4 import AccessKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildah_py.http.service import Service

_USUAL_REGION: Final = "us-east-1"
_ECS: Final = "http://169.254.170.2"
_SOON: Final = timedelta(minutes=5)
"""Keys that end within that time are asked for anew."""
_SESSION: Final = "pybuild"


class AccessKeys:
    """The keys of one user of AWS, which may be other ones later; `service` asks for those that have to be asked for.

    `get` raises UsageError for files that cannot be used, and what `service` raises.
    """

    def __init__(self, environ: Mapping[str, str], service: Service) -> None:
        self._environ = environ
        self._service = service
        self._lock = threading.Lock()
        self._known: AccessKey | None = None
        self._until: datetime | None = None
        self._looked = False

    def get(self) -> AccessKey | None:
        """Return the key that holds now, None where there is none."""
        with self._lock:
            is_over = self._until is not None and datetime.now(UTC) > self._until - _SOON
            if not self._looked or is_over:
                self._known, self._until = self._find()
                self._looked = True
            return self._known

    def _find(self) -> tuple[AccessKey | None, datetime | None]:
        environ = self._environ
        if environ.get("AWS_ACCESS_KEY_ID") or environ.get("AWS_SECRET_ACCESS_KEY"):
            names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
            return pair(*(environ.get(name, "") for name in names), what="the environment"), None
        if environ.get("AWS_WEB_IDENTITY_TOKEN_FILE") and environ.get("AWS_ROLE_ARN"):
            return self._of_web_identity()
        if found := _of_files(environ):
            return found, None
        if any(environ.get(f"AWS_CONTAINER_CREDENTIALS_{one}_URI") for one in ("FULL", "RELATIVE")):
            return self._of_container()
        return None, None

    def _of_web_identity(self) -> tuple[AccessKey, datetime | None]:
        """Exchange a token for a key (STS, AssumeRoleWithWebIdentity)."""
        environ, region = self._environ, region_of(self._environ)
        domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        url = environ.get("AWS_ENDPOINT_URL_STS") or f"https://sts.{region}.{domain}"
        asked = {
            "Action": "AssumeRoleWithWebIdentity",
            "Version": "2011-06-15",
            "RoleArn": environ["AWS_ROLE_ARN"],
            "RoleSessionName": environ.get("AWS_ROLE_SESSION_NAME") or _SESSION,
            "WebIdentityToken": _read(environ["AWS_WEB_IDENTITY_TOKEN_FILE"], "AWS_WEB_IDENTITY_TOKEN_FILE"),
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = self._service.request("POST", f"{url.rstrip('/')}/", headers, urlencode(asked).encode())
        names = ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
        found = [re.search(rf"<{name}>([^<]+)</{name}>".encode(), answer.data) for name in names]
        if answer.status != 200 or not all(found):
            hint = f"may the service account become {environ['AWS_ROLE_ARN']}?"
            raise self._service.refused(answer, "POST", url, hint)
        key, secret, token, until = (one[1].decode() for one in found if one is not None)
        return AccessKey(key, secret, token), _moment(until)

    def _of_container(self) -> tuple[AccessKey, datetime | None]:
        """Ask the endpoint that a container is given."""
        import json

        environ = self._environ
        url = environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI") or (
            _ECS + environ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"]
        )
        token = environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
        if file := environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"):
            token = _read(file, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
        answer = self._service.request("GET", url, {"Authorization": token} if token else {})
        try:
            said = json.loads(answer.data)
            key = AccessKey(str(said["AccessKeyId"]), str(said["SecretAccessKey"]), str(said.get("Token", "")))
            until = _moment(str(said.get("Expiration", "")))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._service.refused(answer, "GET", url, "AWS_CONTAINER_CREDENTIALS_* names it") from None
        return key, until


def pair(key: str, secret: str, token: str, *, what: str) -> AccessKey | None:
    """Return a key, None where neither part is given. Raises UsageError for one part alone."""
    if bool(key) != bool(secret):
        raise UsageError(f"{what}: an access key has two parts", hint="give the key's id and the secret key")
    return AccessKey(key, secret, token) if key else None


def region_of(environ: Mapping[str, str]) -> str:
    """Return the region that the variables or the configuration file name, else the usual one."""
    named = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    if named:
        return named
    profile = _profile(environ)
    section = profile if profile == "default" else f"profile {profile}"
    return _section(_path(environ, "AWS_CONFIG_FILE", "config"), section).get("region") or _USUAL_REGION


def _of_files(environ: Mapping[str, str]) -> AccessKey | None:
    path = _path(environ, "AWS_SHARED_CREDENTIALS_FILE", "credentials")
    found = _section(path, _profile(environ))
    names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    return pair(*(found.get(name, "") for name in names), what=path)


def _profile(environ: Mapping[str, str]) -> str:
    return environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE") or "default"


def _path(environ: Mapping[str, str], variable: str, name: str) -> str:
    return environ.get(variable) or os.path.join(environ.get("HOME") or "/root", ".aws", name)


def _section(path: str, name: str) -> Mapping[str, str]:
    """Return a section of one of the shared files; empty where there is none. Raises UsageError."""
    import configparser

    parser = configparser.ConfigParser(interpolation=None, default_section="\0")
    try:
        with open(path, encoding="utf-8") as file:
            parser.read_file(file)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, configparser.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a file of AWS's profiles"
        raise UsageError(f"{path} cannot be read: {reason}") from None  # its text may be a secret
    return dict(parser[name]) if parser.has_section(name) else {}


def _read(path: str, variable: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}", hint=f"{variable} names it") from error


def _moment(text: str) -> datetime | None:
    """Read a time of RFC 3339, None for what is none: such keys are taken to last."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
