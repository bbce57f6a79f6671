"""Signals that end the program."""

from __future__ import annotations

import os
import signal

import pytest

from buildah_py.api.signals import Ended, endings_to_read, treat_all_endings_alike


def test_endings_can_be_read_instead_of_raised() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        for number in numbers[:2]:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        treat_all_endings_alike()
        with endings_to_read() as end:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                os.kill(os.getpid(), number)
            assert end.recv(10) == b"\0\0"
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        with pytest.raises(Ended) as raised:
            os.kill(os.getpid(), signal.SIGTERM)
        assert raised.value.number == signal.SIGTERM
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
