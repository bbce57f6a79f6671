"""Digests: `algorithm:hex`, by the grammar of the OCI image specification."""

from __future__ import annotations

import re

from buildah_py.checksum import sha256_hex
from buildah_py.errors import ImageError

_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
_ALGORITHM = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*")
_HEX = re.compile(r"[0-9a-f]+")

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""The digest of no bytes."""


def sha256_of(data: bytes) -> str:
    """Return the digest of `data`."""
    return f"sha256:{sha256_hex(data)}"


def hash_of(like: str, data: bytes) -> str:
    """Return the digest of `data` with the algorithm of the digest `like`. Raises ImageError for an unknown one."""
    import hashlib

    algorithm, _ = split(like)
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def split(text: str) -> tuple[str, str]:
    """Split a digest into algorithm and lower-case hex digits. Raises ImageError where it is malformed or unknown."""
    algorithm, colon, digits = text.partition(":")
    if not colon or not _ALGORITHM.fullmatch(algorithm):
        raise ImageError(f"`{text}` is not a digest", hint="digests look like sha256: and 64 hexadecimal digits")
    length = _LENGTHS.get(algorithm)
    if length is None:
        raise ImageError(f"`{text}`: pybuild does not know the digest algorithm {algorithm}", hint="use sha256")
    if len(digits) != length or not _HEX.fullmatch(digits):
        raise ImageError(f"`{text}` is not a digest: {algorithm} has {length} lower-case hexadecimal digits")
    return algorithm, digits


def validate(text: str) -> str:
    """Return `text` if it is a digest, else raise ImageError."""
    split(text)
    return text


def is_digest(text: str) -> bool:
    """Whether `text` is a digest of an algorithm that pybuild knows."""
    algorithm, _, digits = text.partition(":")
    return _LENGTHS.get(algorithm) == len(digits) and _HEX.fullmatch(digits) is not None
