from __future__ import annotations

import hashlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildah_py.image.blob import VerifiedStream


class Pieces:
    """A stream that gives pieces as they are, or less where less is asked for."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = [piece for piece in pieces if piece]
        self.closed = False

    def read(self, size: int, /) -> bytes:
        if not self._pieces:
            return b""
        piece = self._pieces.pop(0)
        if len(piece) > size:
            self._pieces.insert(0, piece[size:])
        return piece[:size]

    def close(self) -> None:
        self.closed = True


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


@given(st.lists(st.binary(max_size=20)), st.integers(1, 30), st.sampled_from(["sha256", "sha512"]))
def test_what_is_as_it_should_be_passes(pieces: list[bytes], size: int, algorithm: str) -> None:
    data = b"".join(pieces)
    counted: list[int] = []
    stream = VerifiedStream(Pieces(pieces), digest_of(data, algorithm), len(data), ValueError, counted.append)
    got = []
    while piece := stream.read(size):
        assert len(piece) <= size
        got.append(piece)
    assert b"".join(got) == data
    assert sum(counted) == len(data)
    assert stream.read() == b""


@given(st.binary(max_size=50), st.binary(max_size=50), st.integers(1, 60))
def test_the_last_bytes_are_never_given_of_what_is_not(claimed: bytes, true: bytes, size: int) -> None:
    stream = VerifiedStream(Pieces([true]), digest_of(claimed), len(claimed), ValueError)
    got = b""
    try:
        while piece := stream.read(size):
            got += piece
    except ValueError:
        assert claimed != true
        assert len(got) < max(len(claimed), 1)
    else:
        assert got == claimed == true


@pytest.mark.parametrize(
    ("true", "said"),
    [
        (b"claimed and more", "has more than the 7 bytes that it should have"),
        (b"claim", "ends after 5 of 7 bytes"),
        (b"cleimed", f"has other bytes than it should have: their digest is {digest_of(b'cleimed')}"),
        (b"", "ends after 0 of 7 bytes"),
    ],
)
def test_errors_say_what_is_wrong(true: bytes, said: str) -> None:
    source = Pieces([true])
    stream = VerifiedStream(source, digest_of(b"claimed"), 7, lambda text: ValueError(f"the blob {text}"))
    with pytest.raises(ValueError, match=f"^the blob {said}$"):
        stream.read()
    assert source.closed


def test_no_more_is_read_than_was_claimed() -> None:
    class Endless(io.RawIOBase):
        asked = 0

        def read(self, size: int = -1, /) -> bytes:
            self.asked += size
            return bytes(size)

    source = Endless()
    with pytest.raises(ValueError, match="more than the 1000 bytes"):
        VerifiedStream(source, digest_of(b""), 1000, ValueError).read()
    assert source.asked == 1001
