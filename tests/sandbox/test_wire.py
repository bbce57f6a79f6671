"""Messages between our own processes come whole."""

from __future__ import annotations

import os
from contextlib import closing

import pytest

from buildah_py.sandbox import wire


@pytest.mark.parametrize(("size", "received"), [(10_000, 10_000), (60_000, 60_000), (100_000, 1001)])
def test_long_messages(size: int, received: int) -> None:
    ours, theirs = wire.pair()
    with closing(ours), closing(theirs):
        assert wire.send(ours, ("error", "x" * size, 7), [ours.fileno()])
        message, descriptors = wire.receive(theirs)
        for descriptor in descriptors:
            os.close(descriptor)
    assert (message[0], len(message[1]), message[2], len(descriptors)) == ("error", received, 7, 1)
