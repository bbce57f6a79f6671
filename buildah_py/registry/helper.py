"""Credential helpers: programs called docker-credential-NAME (github.com/docker/docker-credential-helpers)."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from buildah_py import debug
from buildah_py.errors import UsageError
from buildah_py.image.canonical import loads
from buildah_py.registry.options import Credentials

if TYPE_CHECKING:
    from collections.abc import Mapping

BY_IDENTITY: Final = "<token>"
"""The name with which helpers say that the secret is an identity token."""
_NAME: Final = re.compile(r"[\w][\w.-]*", re.ASCII)
_PATIENCE: Final = 60.0
_UNKNOWN: Final = ("credentials not found", "no credentials", "not logged in")


def get(name: str, key: str, environ: Mapping[str, str]) -> Credentials | None:
    """Ask a helper for what it keeps under `key`; None where it has nothing. Raises UsageError for one that fails."""
    status, output = _run(name, "get", key, environ)
    if status:
        if any(text in output.lower() for text in _UNKNOWN):
            return None
        raise UsageError(f"docker-credential-{name} failed for {key}: {_shown(output)}")
    try:
        answer = loads(output)
        username, secret = answer["Username"], answer["Secret"]
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"docker-credential-{name} gave no credentials for {key} but something else") from None
    if not username and not secret:
        return None
    if username == BY_IDENTITY:
        return Credentials(identity=str(secret))
    return Credentials(str(username), str(secret))


def store(name: str, key: str, username: str, secret: str, environ: Mapping[str, str]) -> None:
    """Give a helper credentials to keep. Raises UsageError."""
    status, output = _run(
        name, "store", json.dumps({"ServerURL": key, "Username": username, "Secret": secret}), environ
    )
    if status:
        said = _shown(output.replace(secret, "***")) if secret else _shown(output)
        raise UsageError(f"docker-credential-{name} did not keep the credentials for {key}: {said}")


def erase(name: str, key: str, environ: Mapping[str, str]) -> None:
    """Have a helper forget credentials. Raises UsageError."""
    status, output = _run(name, "erase", key, environ)
    if status and not any(text in output.lower() for text in _UNKNOWN):
        raise UsageError(f"docker-credential-{name} did not erase the credentials for {key}: {_shown(output)}")


def is_installed(name: str, environ: Mapping[str, str]) -> bool:
    """Whether there is a helper of that name. Raises UsageError for what is not the name of one."""
    return _program(name, environ) is not None


def _program(name: str, environ: Mapping[str, str]) -> str | None:
    import shutil

    if not _NAME.fullmatch(name):
        raise UsageError(f"`{name}` is not the name of a credential helper")
    return shutil.which(f"docker-credential-{name}", path=environ.get("PATH"))


def _run(name: str, action: str, given: str, environ: Mapping[str, str]) -> tuple[int, str]:
    import subprocess

    program = _program(name, environ)
    if program is None:
        raise UsageError(
            f"the credential helper docker-credential-{name} is not in the PATH",
            hint="install it, or take it out of the configuration of docker or podman",
        )
    debug.log("runs %s %s", program, action)
    try:
        done = subprocess.run(
            [program, action],
            input=given.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(environ),
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UsageError(f"docker-credential-{name} did not answer within {_PATIENCE:.0f} seconds") from None
    return done.returncode, done.stdout.decode(errors="replace")


def _shown(text: str) -> str:
    """Give the first line of what a program said, without control characters."""
    line = text.strip().partition("\n")[0][:200]
    return "".join(letter if letter.isprintable() else "?" for letter in line) or "it said nothing"
