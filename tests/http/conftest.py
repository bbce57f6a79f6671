from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from buildah_py.errors import PybuildError
from buildah_py.http.client import Client
from buildah_py.http.retry import Policy
from tests.web_server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUICK = Policy(connect=5, silence=10, commit=10, patience=20, attempts=4, pause=0.01)
"""Waits that suit tests."""


class Failed(PybuildError):
    """The error of a client of the client."""


def failed(message: str, hint: str, status: int) -> Failed:
    return Failed(f"{message} ({status})", hint=hint)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        yield made


@pytest.fixture
def make_client() -> Iterator[Callable[..., Client]]:
    """Give what makes clients, which are closed in the end."""
    with contextlib.ExitStack() as stack:

        def make(environ: dict[str, str] | None = None, **options: Any) -> Client:
            made = Client(environ or {}, **{"policy": QUICK, **options})
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture
def client(make_client: Callable[..., Client]) -> Client:
    return make_client()
