"""Errors in a registry's answers, by the distribution specification."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from buildah_py.errors import RegistryError
from buildah_py.http.response import printable

if TYPE_CHECKING:
    from buildah_py.http.response import Response

_HINTS: Final = {
    401: "`pybuild login {registry}` gives credentials",
    403: "`pybuild login {registry}` as somebody who may do that",
    429: "the registry limits how much may be asked of it; `pybuild login {registry}` may raise the limit",
}


def describe(response: Response) -> str:
    """Say what an answer's status and errors are, and be done with it: `404 Not Found: manifest unknown`."""
    said = _errors(response.finish())
    status = f"{response.status} {response.reason}".strip()
    return f"{status}: {said}" if said else status


def failure(what: str, response: Response, registry: str) -> RegistryError:
    """Make the error for an answer; `what` begins its message."""
    text = describe(response)
    hint = hint_for(response.status, registry)
    if response.status in (301, 302, 303):
        hint = f"it leads to {printable(response.headers.get('Location') or 'nowhere')}: name that one"
    return RegistryError(f"{what}: {response.host} answered {text}", hint=hint, status=response.status)


def hint_for(status: int, registry: str) -> str:
    """Give the advice for a status."""
    return _HINTS.get(status, "").format(registry=registry)


def _errors(body: bytes) -> str:
    """Read the errors of the specification, `{"errors": [{"code", "message", "detail"}]}`; "" for anything else."""
    try:
        data: Any = json.loads(body)
        errors = data["errors"]
        texts = [_error(error) for error in errors[:3]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):  # a web server's page; or a hostile one
        return _other(body)
    return printable("; ".join(text for text in texts if text))


def _error(error: dict[str, Any]) -> str:
    code, message = str(error.get("code") or ""), str(error.get("message") or "")
    detail = error.get("detail")
    text = message or code.lower().replace("_", " ")
    if isinstance(detail, str) and detail and detail not in text:
        text += f" ({detail})"
    return text


def _other(body: bytes) -> str:
    """Give the message of token servers, `{"error"/"details"/"message": …}`."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(data, dict):
        return ""
    for key in ("error_description", "details", "message", "error"):
        if isinstance(data.get(key), str):
            return printable(data[key])
    return ""
