"""Connections that another thread can end. Imports urllib3: to be imported where a request is made."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from buildah_py.linux.addresses import is_ours

if TYPE_CHECKING:
    from collections.abc import Mapping


class Guarded(Exception):
    """A server elsewhere led to this machine or its link."""


class Open:
    """The connections that are open."""

    def __init__(self) -> None:
        self._connections: WeakSet[HTTPConnection] = WeakSet()
        self._lock = threading.Lock()

    def add(self, connection: HTTPConnection) -> None:
        """Note a connection."""
        with self._lock:
            self._connections.add(connection)

    def end(self) -> None:
        """End all of them: whoever waits for one has an error."""
        with self._lock:
            for connection in list(self._connections):
                if connection.sock is not None:
                    try:
                        connection.sock.shutdown(socket.SHUT_RDWR)
                    except OSError:  # it has ended by itself
                        continue


def manager(
    proxy: str | None,
    proxy_headers: Mapping[str, str] | None,
    settings: Mapping[str, Any],
    opened: Open,
    silence: float,
    *,
    guarded: bool,
    here: set[str],
) -> urllib3.PoolManager:
    """Make a manager of pools, through a proxy if one is given, whose connections are noted in `opened`.

    `silence` is how long a registry may take nothing of what it is sent, in seconds. Hosts that turn out to be this
    machine, by their address and whatever their name, are noted in `here`; where `guarded`, Guarded is raised for them
    before anything is sent. Behind a proxy nobody can tell.
    """

    def look(connection: HTTPConnection) -> None:
        if proxy is None and is_ours(connection.sock):
            if guarded:
                connection.close()
                raise Guarded
            here.add(connection.host)

    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            look(self)
            self.sock.settimeout(silence)  # else the time limit of connecting holds for sending too
            opened.add(self)

        def putrequest(self, *arguments: Any, **named: Any) -> None:
            if self.sock is not None:
                self.sock.settimeout(silence)
            super().putrequest(*arguments, **named)

    class Tls(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            look(self)
            self.sock.settimeout(silence)
            opened.add(self)

        def putrequest(self, *arguments: Any, **named: Any) -> None:
            if self.sock is not None:
                self.sock.settimeout(silence)
            super().putrequest(*arguments, **named)

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Tls

    made = (
        urllib3.PoolManager(**settings)
        if proxy is None
        else urllib3.ProxyManager(proxy, proxy_headers=proxy_headers, **settings)
    )
    made.pool_classes_by_scheme = {"http": PlainPool, "https": TlsPool}
    return made
