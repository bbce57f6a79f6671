from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildah_py.errors import ImageError
from buildah_py.image import digest


@given(st.binary(max_size=200))
def test_a_digest_of_bytes_is_a_digest(data: bytes) -> None:
    made = digest.sha256_of(data)
    assert made == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert digest.split(digest.validate(made)) == ("sha256", hashlib.sha256(data).hexdigest())
    assert digest.is_digest(made)


def test_the_digest_of_nothing() -> None:
    assert digest.sha256_of(b"") == digest.EMPTY


@pytest.mark.parametrize("length", [64])
def test_other_algorithms(length: int) -> None:
    assert digest.split("sha512:" + "a" * 2 * length)[0] == "sha512"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a digest"),
        ("sha256", "not a digest"),
        ("sha256:", "64 lower-case"),
        ("sha256:" + "a" * 63, "64 lower-case"),
        ("sha256:" + "A" * 64, "64 lower-case"),
        ("sha256:" + "a" * 64 + "\n", "64 lower-case"),
        ("md5:" + "a" * 32, "does not know"),
        ("SHA256:" + "a" * 64, "not a digest"),
        ("sha256:../../../../etc/passwd", "64 lower-case"),
    ],
)
def test_what_is_no_digest(text: str, said: str) -> None:
    assert not digest.is_digest(text)
    with pytest.raises(ImageError, match=said):
        digest.validate(text)
