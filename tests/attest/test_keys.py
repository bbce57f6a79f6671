"""Files of keys that are not what they should be."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from buildah_py.attest.keys import load_public_key, load_signing_key
from buildah_py.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


def sealed(path: Path, **changed: Any) -> str:
    """Write a file in cosign's form that nobody could open."""
    content: dict[str, Any] = {
        "kdf": {"name": "scrypt", "params": {"N": 1024, "r": 8, "p": 1}, "salt": ""},
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(b"n" * 24).decode()},
        "ciphertext": base64.b64encode(b"c" * 200).decode(),
    } | changed
    body = base64.b64encode(json.dumps(content).encode()).decode()
    kind = "ENCRYPTED SIGSTORE PRIVATE KEY"
    path.write_text(f"-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n")
    return str(path)


def scrypt(n: object, r: object = 8, p: object = 1) -> dict[str, Any]:
    return {"name": "scrypt", "params": {"N": n, "r": r, "p": p}, "salt": ""}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "its password is another one"),
        ({"kdf": scrypt(1 << 30)}, "more than a key needs"),
        ({"kdf": scrypt(1 << 14, 8, 1 << 20)}, "more than a key needs"),
        ({"kdf": scrypt(-1)}, "more than a key needs"),
        ({"kdf": scrypt("much")}, "more than a key needs"),
        ({"kdf": scrypt(1000)}, "cannot be used"),
        ({"kdf": {"name": "argon2"}}, "encrypted otherwise"),
        ({"kdf": 1}, "is damaged"),
        ({"cipher": {"name": "nacl/secretbox", "nonce": "?"}}, "is damaged"),
        ({"cipher": {"name": "nacl/secretbox", "nonce": "YQ=="}}, "cannot be used"),
    ],
)
def test_sealed_keys(tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    path = sealed(tmp_path / "key", **changed)
    with pytest.raises(UsageError, match=words):
        load_signing_key(path, lambda: b"password")


@pytest.mark.parametrize("data", [b"", b"\xff" * 100, b"-----BEGIN PUBLIC KEY-----\n", b"x" * (65 << 10)])
def test_no_keys(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(data)
    for load in (lambda: load_signing_key(str(path), lambda: b""), lambda: load_public_key(str(path))):
        with pytest.raises(UsageError, match=r"the key .*key"):
            load()
