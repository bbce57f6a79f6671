"""What people are told of a container that could not be made."""

from __future__ import annotations

import errno
import os

import pytest

from buildah_py.sandbox.started import _refusal


@pytest.mark.parametrize(
    ("what", "number", "hint"),
    [
        ("making /etc/hosts", errno.ENOSPC, "`pybuild prune` frees space"),
        ("making a process", errno.ENOSPC, "`pybuild doctor` tells what this machine allows"),
        ("USER", errno.EINVAL, "give this user more ids"),
        ("USER", 0, "add the user in an earlier RUN"),
        ("mounting /proc", errno.EPERM, "`pybuild doctor` tells what this machine allows"),
    ],
)
def test_hints_are_by_the_cause(what: str, number: int, hint: str) -> None:
    refused = _refusal(("error", what, os.strerror(number), number))
    assert refused.message.startswith(f"cannot run the container: {what}: ")
    assert refused.hint.startswith(hint)
    assert bool(refused.hint) is bool(hint)
