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


@pytest.mark.parametrize("sent", [(), (("exit", 1), ("gone", 0))])
def test_what_the_other_end_sent_before_it_was_closed_is_received(sent: tuple[tuple[object, ...], ...]) -> None:
    """Also where it has not read what we have sent, such as a signal for what had ended by then."""
    ours, theirs = wire.pair()
    with closing(ours):
        assert wire.send(ours, 9)
        for message in sent:
            assert wire.send(theirs, message)
        theirs.close()
        for message in sent:
            assert wire.receive(ours) == (message, [])
        for _ in range(2):
            assert wire.receive(ours) == (None, [])
