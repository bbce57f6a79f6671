"""What a registry's answers mean: errors by the distribution specification, and bodies that are read to a bound."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from buildah_py.errors import RegistryError
from buildah_py.registry.pace import Pace
from buildah_py.registry.patience import Trouble

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed."""

_SMALL: Final = 64 << 10
_SHOWN: Final = 300
_SILENCE: Final = 10.0
"""How long an answer is waited for that is only to be shown, or to be got out of the way."""
_HINTS: Final = {
    401: "`pybuild login {registry}` gives credentials",
    403: "`pybuild login {registry}` as somebody who may do that",
    429: "the registry limits how much may be asked of it; `pybuild login {registry}` may raise the limit",
}


def finish(response: BaseHTTPResponse) -> None:
    """Be done with an answer: its connection is kept where little is left to read, else closed."""
    try:
        read_small(response)
    except Trouble:  # of an answer that nobody wants; its connection is not used again
        response.close()


def read_small(response: BaseHTTPResponse, limit: int = _SMALL, *, host: str = "", silence: float = _SILENCE) -> bytes:
    """Read at most `limit` bytes of an answer, and be done with it. Raises Trouble that names `host`."""
    pace = Pace(response, host, silence)
    data = bytearray()
    while len(data) < limit:
        piece = pace.read(limit - len(data))
        if not piece:
            break
        data += piece
    if len(data) < limit:
        response.release_conn()
    else:
        response.close()
    return bytes(data)


def describe(response: BaseHTTPResponse) -> str:
    """Say what an answer's status and errors are, and be done with it: `404 Not Found: manifest unknown`."""
    try:
        body = read_small(response)
    except Trouble:  # the status says enough
        response.close()
        body = b""
    said = _errors(body)
    status = f"{response.status} {printable(response.reason or '')}".strip()
    return f"{status}: {said}" if said else status


def failure(what: str, response: BaseHTTPResponse, registry: str, host: str) -> RegistryError:
    """Make the error for an answer; `what` begins its message."""
    text = describe(response)
    hint = hint_for(response.status, registry)
    if response.status in (301, 302, 303):
        hint = f"it leads to {printable(response.headers.get('Location') or 'nowhere')}: name that one"
    return RegistryError(f"{what}: {host} answered {text}", hint=hint, status=response.status)


def hint_for(status: int, registry: str) -> str:
    """Give the advice for a status."""
    return _HINTS.get(status, "").format(registry=registry)


def printable(text: str) -> str:
    """Give text that others wrote, without control characters, and not more than a few lines of it."""
    clean = "".join(letter if letter.isprintable() else " " for letter in text[: _SHOWN + 1])
    return clean[:_SHOWN] + "…" if len(clean) > _SHOWN else clean


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
