"""What all tests share."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Generator

# Tests send these; under nohup(1), or in the background of a script, whatever they start would ignore them.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)

# A machine that is busy with something else makes no test fail.
settings.register_profile("pybuild", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pybuild")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that needs root where that is not so, but for those that an ordinary user can do as well."""
    if os.geteuid() != 0 and item.get_closest_marker("root") and not item.get_closest_marker("either_user"):
        pytest.skip("needs to be root")


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, object, object]:
    """Escape what is no text (names of files are bytes), which no report of a worker may hold."""
    return _encodable((yield))


def _encodable(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {key: _encodable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_encodable, value))
    return value
