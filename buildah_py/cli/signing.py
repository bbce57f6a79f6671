"""Keys for signatures, as command lines name them."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from buildah_py.errors import UsageError

if TYPE_CHECKING:
    from buildah_py.attest.keys import SigningKey

_PASSWORD: Final = "COSIGN_PASSWORD"  # noqa: S105
HELP: Final = "sign what is pushed with the key in FILE, cosign's or openssl's; its password: $COSIGN_PASSWORD"


def read_key(path: str) -> SigningKey | None:
    """Read the secret key in a file, None where none is named; who sits there is asked for its password.

    Raises UsageError.
    """
    if not path:
        return None
    from buildah_py.attest.keys import load_signing_key

    return load_signing_key(path, lambda: _password(path))


def _password(path: str) -> bytes:
    given = os.environ.get(_PASSWORD)
    if given is None:
        if not sys.stdin.isatty():
            raise UsageError(f"the key {path} has a password", hint=f"have the variable {_PASSWORD} say it")
        from getpass import getpass

        given = getpass(f"Password of {path}: ")
    return os.fsencode(given)
