"""Faults of calls, in words: which of them may pass, and what helps against the others."""

from __future__ import annotations

import re
from typing import Any, Final

from buildah_py.errors import CacheError
from buildah_py.http.response import printable
from buildah_py.http.retry import RetryableError

NOT_FOUND: Final = "NOT_FOUND"
ALREADY_EXISTS: Final = "ALREADY_EXISTS"
UNIMPLEMENTED: Final = "UNIMPLEMENTED"

_PASSING: Final = frozenset(
    {"CANCELLED", "UNKNOWN", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "INTERNAL", "UNAVAILABLE"}
)
"""Codes after which the same call may succeed: the ones that clients of this API try again."""

_HINTS: Final = {
    "UNAUTHENTICATED": "give credentials by token=VARIABLE or header.NAME=VARIABLE; VARIABLE is one of the environment",
    "PERMISSION_DENIED": "may these credentials do that? with --cache-to, ignore-error=true has the build go on",
    UNIMPLEMENTED: "is that a server of the Remote Execution API, with a cache?",
}
_WRAPPING: Final = re.compile(r"^.*last error: |\bUNKNOWN: |\bipv[46]:[^ ]+: ")
"""Words around the reason for a failed connection, which say nothing more."""
_BUSY: Final = "is the server busy, or something on the way to it in between (a proxy, a firewall)?"


class Refused(CacheError):
    """A server answered with a status that no retry helps against; `code` is its name."""

    def __init__(self, message: str, code: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code


def failure_of(error: Any, what: str, host: str) -> Exception:
    """Make what a grpc.RpcError of the call `what` means: RetryableError, or Refused where no retry can help."""
    return of_status(error.code().name, error.details() or "", what, host)


def of_status(code: str, details: str, what: str, host: str) -> Exception:
    """Make the same of a status: the name of its code, and what the server says."""
    text = printable(details)
    said = f"{host} answered {code}" + (f": {text}" if text else "")
    if code == "UNAVAILABLE":
        return _unavailable(details, what, host)
    if code == "DEADLINE_EXCEEDED":
        return RetryableError(f"{host} did not answer in time", attempts=2, hint=_BUSY)
    if code == "RESOURCE_EXHAUSTED" and "larger than max" in details:
        return Refused(f"{what}: {said}", code)
    if code in _PASSING:
        return RetryableError(said, hint=_BUSY)
    hint = "is the instance right (instance=NAME)?" if "instance" in details.lower() else _HINTS.get(code, "")
    return Refused(f"{what}: {said}", code, hint=hint)


def _unavailable(details: str, what: str, host: str) -> Exception:
    """Tell the faults of a connection apart, all of which have one code, by the library's words."""
    reason = printable(_WRAPPING.sub("", details))
    if "CERTIFICATE_VERIFY_FAILED" in details or "Hostname Verification" in details:
        hint = "cacert=FILE names a CA to believe beside the system's, servername=NAME who the certificate is for"
        return Refused(f"{what}: {host}: its certificate is not to be trusted: {reason}", "UNAVAILABLE", hint=hint)
    if "WRONG_VERSION_NUMBER" in details or "handshake failed" in details.lower():
        hint = "does it speak TLS (grpcs://), and ask for a certificate (cert=FILE, key=FILE)?"
        return RetryableError(f"{host}: TLS failed: {reason}", attempts=2, hint=hint)
    if "onnect" in details or "DNS" in details or "resol" in details:
        hint = "is it running, and the port right? grpcs:// is for servers with TLS, grpc:// for those without"
        return RetryableError(f"{host} cannot be reached: {reason}", attempts=2, hint=hint)
    return RetryableError(f"{host} broke off: {reason}")
