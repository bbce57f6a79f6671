"""Errors of a connection, in words: which of them may pass, and what helps against the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.errors import HttpError
from buildah_py.http.retry import RetryableError
from buildah_py.http.tls import PLAIN, REFUSED, UNTRUSTED
from buildah_py.http.watch import Late

if TYPE_CHECKING:
    from collections.abc import Callable

_BUSY = "is the server busy, or something on the way to it in between (a proxy, a firewall)?"


def failure_of(
    error: Exception,
    host: str,
    *,
    silence: float,
    connect: float = 0.0,
    advice: Callable[[str, str], str] = lambda _kind, _host: "",
) -> Exception:
    """Make what an error of the connection to `host` means: RetryableError, or HttpError where no retry can help.

    `silence` and `connect` are the time limits that held, in seconds; `advice` gives a hint for a fault of TLS.
    """
    import ssl
    from http.client import IncompleteRead

    from urllib3 import exceptions

    if isinstance(error, exceptions.ProxyError):
        return RetryableError(f"the proxy for {host} cannot be used: {_reason(error.original_error)}", attempts=2)
    if isinstance(error, exceptions.SSLError | ssl.SSLError):
        inner = error.args[0] if error.args and isinstance(error.args[0], ssl.SSLError) else error
        return _of_tls(inner, host, advice)
    if isinstance(error, exceptions.NameResolutionError):
        text = f"{host} has no address: {_reason(error)}"
        return RetryableError(text, attempts=2, hint="is the name right, and the network there?")
    if isinstance(error, exceptions.NewConnectionError):
        text = f"{host} cannot be reached: {_reason(error)}"
        return RetryableError(text, attempts=2, hint="is it running, and the port right?")
    if isinstance(error, exceptions.ConnectTimeoutError):
        text = f"{host} did not take the connection within {connect:g} seconds"
        return RetryableError(text, attempts=3, hint=_BUSY)
    if isinstance(error, exceptions.LocationValueError):
        return HttpError(f"{host} is not a server that can be asked: {_reason(error)}")
    innermost = _innermost(error)
    if isinstance(innermost, Late):
        return RetryableError(f"{host} did not answer within {silence:g} seconds", attempts=2, hint=_BUSY)
    if isinstance(error, exceptions.ReadTimeoutError | TimeoutError):
        return RetryableError(f"{host} said nothing for {silence:g} seconds", attempts=2, hint=_BUSY)
    if isinstance(innermost, IncompleteRead):
        missing = f"{innermost.expected} bytes " if innermost.expected else ""
        return RetryableError(f"{host} ended the connection {missing}too early")
    if isinstance(innermost, TimeoutError):
        return RetryableError(f"{host} took nothing for {silence:g} seconds", attempts=2, hint=_BUSY)
    return RetryableError(f"{host} broke off: {_reason(error)}")


def _of_tls(error: BaseException, host: str, advice: Callable[[str, str], str]) -> Exception:
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        text = f"{host}: its certificate is not to be trusted: {error.verify_message or error.reason}"
        return HttpError(text, hint=advice(UNTRUSTED, host))
    reason = str(getattr(error, "reason", "") or error)
    if any(text in reason for text in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")):
        return HttpError(f"{host} does not speak TLS", hint=advice(PLAIN, host))
    if "ALERT" in reason:
        return HttpError(f"{host} refused the TLS connection: {reason}", hint=advice(REFUSED, host))
    # A server that ends the connection right behind its alert may take the alert back with that.
    hint = advice(REFUSED, host) if "EOF" in reason else ""
    return RetryableError(f"{host}: TLS failed: {reason}", hint=hint and f"if it asks for one, {hint}")


def _reason(error: BaseException) -> str:
    """Give the innermost reason in few words."""
    seen = _innermost(error)
    if isinstance(seen, OSError) and seen.strerror:
        return seen.strerror
    return str(seen) or type(seen).__name__


def _innermost(error: BaseException) -> BaseException:
    seen = error
    while True:
        inner = seen.__cause__ or next((one for one in reversed(seen.args) if isinstance(one, BaseException)), None)
        if inner is None or inner is seen:
            return seen
        seen = inner
