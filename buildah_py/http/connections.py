"""Connections of urllib3 that a watch makes and ends, and that know whether they lead to this machine.

Imports urllib3: to be imported where a request is made.
"""

from __future__ import annotations

import socket
from functools import partial
from typing import TYPE_CHECKING, Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from buildah_py.http.addresses import is_ours

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildah_py.http.watch import Watch


class Guarded(Exception):
    """A server elsewhere led to this machine or its link."""


class WatchedConnection(HTTPConnection):
    """A connection that `watch` ends, early or where it is silent.

    `silence` is how long the server may take nothing of what it is sent, in seconds. Where the other end is this
    machine, `here` says so, or, if it is `guarded`, Guarded is raised before anything is sent. `path` is a socket of
    this machine to connect to instead.
    """

    def __init__(
        self, *arguments: Any, watch: Watch, silence: float, guarded: bool = False, path: str = "", **named: Any
    ) -> None:
        super().__init__(*arguments, **named)
        self._watch = watch
        self._silence = silence
        self._guarded = guarded
        self._path = path
        self._answering = False
        self.here = False
        self.ticket: object = None
        """Key of the socket in the watch. The socket may live on in an answer when the connection is closed."""

    def _new_conn(self) -> socket.socket:
        """Do what the class does, watched. Behind a proxy nobody can tell where that leads."""
        assert isinstance(self.timeout, float | int)
        try:
            if self._path:
                made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self._watch.open(self.ticket, made, self._path, self.timeout)
                return made
            made = self._watch.connect(
                self.ticket,
                self._dns_host,  # with the dot at its end, if there is one
                self.port,
                self.socket_options or (),
                resolve=self._silence,
                timeout=self.timeout,
            )
            self.here = self.proxy is None and is_ours(made)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "the connection was not taken") from error
        except OSError as error:
            raise NewConnectionError(self, str(error)) from error
        if self.here and self._guarded:
            made.close()
            raise Guarded
        return made

    def connect(self) -> None:
        """Do what the class does, within the time limit as a whole."""
        self.ticket = object()
        with self._watch.within(self.ticket, self._silence):
            super().connect()
        self.sock.settimeout(self._silence)  # else the time limit of connecting holds for sending too

    def putrequest(self, *arguments: Any, **named: Any) -> None:
        """Do what the class does, with the time limit for sending."""
        if self.sock is not None:
            self.sock.settimeout(self._silence)
        super().putrequest(*arguments, **named)

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # as the class itself has it
        """Wait for status and headers, within the time limit as a whole."""
        assert isinstance(self.timeout, float | int)
        self._answering = True
        try:
            with self._watch.within(self.ticket, self.timeout):
                return super().getresponse()
        finally:
            self._answering = False

    def close(self) -> None:
        """Close it; what is left to read of an answer can still be read."""
        super().close()
        if not self._answering:  # else it hands its socket over to the answer
            self._watch.forget(self.ticket)


class _WatchedTls(WatchedConnection, HTTPSConnection):
    """The same, encrypted."""


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = WatchedConnection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _WatchedTls


def manager(
    proxy: str | None, proxy_headers: Mapping[str, str] | None, settings: Mapping[str, Any], **connection: Any
) -> urllib3.PoolManager:
    """Make a manager of pools, through a proxy if one is given; `connection` is what its connections are made with."""
    made = (
        urllib3.PoolManager(**settings)
        if proxy is None
        else urllib3.ProxyManager(proxy, proxy_headers=proxy_headers, **settings)
    )
    classes: Any = {"http": partial(_Pool, **connection), "https": partial(_TlsPool, **connection)}
    made.pool_classes_by_scheme = classes
    return made
