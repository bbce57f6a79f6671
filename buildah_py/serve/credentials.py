"""Credentials that clients send with requests, as a file for the process that does the work; gone with the request."""

from __future__ import annotations

import base64
import binascii
import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from buildah_py.serve.body import read_object
from buildah_py.serve.faults import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

HUB = "https://index.docker.io/v1/"


@contextmanager
def credentials_file(configured: str | None, single: str | None, registry: str = "") -> Iterator[str]:
    """Give a file for `--authfile` with what X-Registry-Config or X-Registry-Auth say, "" where they say nothing.

    The user's own files count then, as the server is this user. Raises RequestError.
    """
    auths: dict[str, dict[str, str]] = {}
    if configured:
        for name, given in _decoded(configured, "X-Registry-Config").items():
            auths |= _entry(name, given)
    if single:
        given = _decoded(single, "X-Registry-Auth")
        auths |= _entry(registry or str(given.get("serveraddress") or HUB), given)
    if not auths:
        yield ""
        return
    directory = tempfile.mkdtemp(prefix="pybuild-auth-")  # mode 0700
    try:
        path = os.path.join(directory, "config.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"auths": auths}, file)
        yield path
    finally:
        shutil.rmtree(directory)


def _entry(name: str, given: Any) -> dict[str, dict[str, str]]:
    if not isinstance(given, dict):
        raise RequestError(400, "credentials are not a JSON object")
    user, password, token = (str(given.get(key) or "") for key in ("username", "password", "identitytoken"))
    if not user and not password and given.get("auth"):
        return {name: {"auth": str(given["auth"])}}
    if token:
        return {name: {"identitytoken": token, "auth": _joined(user, "")}}
    return {name: {"auth": _joined(user, password)}} if user or password else {}


def _joined(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def _decoded(text: str, header: str) -> dict[str, Any]:
    """Read a header: JSON in base64url, which clients pad or not. Raises RequestError, without what it says."""
    try:
        bare = text.strip().rstrip("=").replace("-", "+").replace("_", "/")
        data = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
        found = read_object(data.decode("utf-8"), header)
    except (binascii.Error, UnicodeDecodeError, RequestError) as error:
        raise RequestError(400, f"{header} is not JSON in base64") from error
    return found
