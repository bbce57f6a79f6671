"""Failures of requests, with the status that Docker's Engine API gives each."""

from __future__ import annotations

from buildah_py.errors import BuildFileError, NotFound, PybuildError, RegistryError, UsageError


class RequestError(Exception):
    """A request that cannot be answered: an HTTP status and a sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class ClientGoneError(Exception):
    """Nobody is there any more to be answered."""


def status_of(error: PybuildError) -> int:
    """Return the HTTP status that goes with an error of pybuild's."""
    if isinstance(error, NotFound):
        return 404
    if isinstance(error, (UsageError, BuildFileError)):
        return 400
    if isinstance(error, RegistryError) and error.status in (401, 403, 404):
        return 404 if error.status == 404 else 401
    return 500
