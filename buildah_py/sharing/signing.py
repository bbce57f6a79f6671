"""Signatures of caches: Ed25519 (RFC 8032) over the digest of the records, which name everything else by digest."""

from __future__ import annotations

import base64
import binascii
import os
from typing import TYPE_CHECKING, Any, Final

from buildah_py.errors import UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_PREFIX: Final = "ed25519:"
_STATEMENT: Final = "pybuild cache records 1\n"


def generate(path: str) -> str:
    """Make a secret key in the new file `path`, which its owner alone can read; the public key to hand on."""
    key = _ed25519().Ed25519PrivateKey.generate()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise UsageError(f"{path} is there already", hint="a key is never overwritten: name another file") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(base64.b64encode(key.private_bytes_raw()) + b"\n")
    return _public(key)


def sign(path: str, records: str) -> tuple[str, str]:
    """Sign the digest of records with the secret key in `path`: the public key and the signature."""
    key = _load(path)
    return _public(key), base64.b64encode(key.sign(_statement(records))).decode()


def public_key(path: str) -> str:
    """Return the public part of the secret key in `path`. Raises UsageError."""
    return _public(_load(path))


def parse_public(text: str) -> str:
    """Read a public key as it is written on the command line. Raises UsageError."""
    if len(_decode(text.removeprefix(_PREFIX))) != 32 or not text.startswith(_PREFIX):
        raise UsageError(
            f"--cache-from: `verify={text}` is not a public key",
            hint="write it as `pybuild cache keygen` prints it: verify=ed25519:…",
        )
    return text


def is_signed(public: str, records: str, signature: str) -> bool:
    """Whether `signature` is one of the digest of records, made with the secret part of `public`."""
    ed25519 = _ed25519()
    from cryptography.exceptions import InvalidSignature

    try:
        key = ed25519.Ed25519PublicKey.from_public_bytes(_decode(public.removeprefix(_PREFIX)))
        key.verify(_decode(signature), _statement(records))
    except (InvalidSignature, ValueError):
        return False
    return True


def _ed25519() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise UsageError(
            "signatures need the Python package cryptography, which is not there", hint="`pip install cryptography`"
        ) from error
    return ed25519


def _load(path: str) -> Ed25519PrivateKey:
    try:
        with open(path, "rb") as file:
            data = file.read(1 << 10)
    except OSError as error:
        raise UsageError(
            f"--cache-to: the key {path} cannot be read: {error.strerror}",
            hint=f"`pybuild cache keygen {path}` makes one",
        ) from error
    raw = _decode(data.decode("ascii", "replace").strip())
    if len(raw) != 32:
        raise UsageError(f"--cache-to: {path} holds no key", hint="`pybuild cache keygen FILE` makes one")
    key: Ed25519PrivateKey = _ed25519().Ed25519PrivateKey.from_private_bytes(raw)
    return key


def _public(key: Ed25519PrivateKey) -> str:
    return _PREFIX + base64.b64encode(key.public_key().public_bytes_raw()).decode()


def _statement(records: str) -> bytes:
    return f"{_STATEMENT}{records}\n".encode()


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
