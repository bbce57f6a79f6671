"""What a person sees of whatever ended a command."""

from __future__ import annotations

import errno
import os
import signal

import pytest

import buildah_py.cli
from buildah_py import debug
from buildah_py.api.signals import Ended


@pytest.mark.parametrize(
    ("error", "shown", "status"),
    [
        (ValueError("of no use"), "internal error: ValueError: of no use\n  hint: this is a fault of pybuild; ", 125),
        (RecursionError("too deep"), "internal error: RecursionError: too deep\n  hint: ", 125),
        (MemoryError(), "memory ran out\n  hint: build fewer", 125),
        (KeyboardInterrupt(), "interrupted\n", 130),
        (Ended(signal.SIGTERM), "interrupted\n", 143),
        (Ended(signal.SIGHUP), "interrupted\n", 129),
        (OSError(errno.ENOENT, os.strerror(errno.ENOENT), "a", None, "b"), "a -> b: No such file or directory\n", 125),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a"), "a: No space left on device\n  hint: `pybuild pr", 125),
    ],
)
def test_nothing_is_shown_as_a_traceback(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    shown: str,
    status: int,
) -> None:
    def fail(*_: object, **__: object) -> int:
        raise error

    monkeypatch.setattr(buildah_py.cli, "_dispatch", fail)
    assert buildah_py.cli.main(["images"]) == status
    told = capsys.readouterr().err
    assert told.startswith(f"pybuild: {shown}")
    assert "Traceback" not in told
    monkeypatch.setattr(debug, "is_on", lambda: True)
    assert buildah_py.cli.main(["images"]) == status
    where, _, said = capsys.readouterr().err.rpartition("pybuild: ")
    assert where.startswith("Traceback (most recent call last):\n")
    assert "in fail\n    raise error\n" in where
    assert f"pybuild: {said}" == told
