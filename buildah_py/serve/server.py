"""The server: a socket of this machine, a thread for each connection, and an end when nobody has asked for a while."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import socket
import stat
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import parse_qs, unquote, urlsplit

from buildah_py import debug
from buildah_py.errors import PybuildError, StoreError, UsageError
from buildah_py.serve.answers import Answer
from buildah_py.serve.body import Body
from buildah_py.serve.faults import ClientGoneError, RequestError, status_of
from buildah_py.serve.handlers import API, ENGINE, LEAST_API, Request, find
from buildah_py.serve.work import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_FIRST_FD: Final = 3
"""The first descriptor that a service manager hands over (sd_listen_fds(3))."""
_MOST_CONNECTIONS: Final = 64
_SILENCE: Final = 60.0
"""Seconds that a client may say nothing, before or within a request."""
_PATIENCE: Final = 30.0
"""Seconds that what works for requests has to end in, when the server ends."""
_MOST_DROPPED: Final = 16 << 20
"""Bytes of a body that are read after the answer, so that the client sees it."""
_MOST_PARAMETERS: Final = 1000
_VERSIONED: Final = re.compile(r"/v(\d{1,4})\.(\d{1,4})(/.*)")
_HEADERS: Final = {
    "Api-Version": API,
    "Docker-Experimental": "false",
    "Ostype": "linux",
    "Builder-Version": "1",
    "Swarm": "inactive",
    "Cache-Control": "no-cache, no-store, must-revalidate",
}


class EngineServer:
    """Answers on `listener`. A context manager: when it is left, all that works for requests has been told to end."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._workers = Workers()
        self._open = 0
        self._last = time.monotonic()
        self._lock = threading.Lock()
        self._threads: dict[threading.Thread, socket.socket] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._workers.close()
        with self._lock:
            there = dict(self._threads)
        for connection in there.values():
            with contextlib.suppress(OSError):  # one that has ended meanwhile
                connection.shutdown(socket.SHUT_RD)  # no further request; what is being done is answered
        for thread in there:
            thread.join(_PATIENCE)

    def run(self, idle: float, end: socket.socket) -> None:
        """Answer, until `end` can be read from, or nobody has asked for `idle` seconds (0: for ever)."""
        self._listener.setblocking(False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(end, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select(self._left(idle))}
                if end in ready:
                    debug.log("told to end")
                    return
                if ready:
                    self._take()
                elif idle and self._left(idle) == 0:
                    debug.log("nobody has asked for %g seconds", idle)
                    return

    def _left(self, idle: float) -> float | None:
        """Return how long there is to wait, None for as long as it takes."""
        if not idle:
            return None
        with self._lock:
            return idle if self._open else max(0.0, self._last + idle - time.monotonic())

    def _take(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError as error:  # it has gone meanwhile, or there is no descriptor for it
            debug.log("a connection could not be taken: %s", error)
            return
        with self._lock:
            refused = self._open >= _MOST_CONNECTIONS
            self._open += not refused
        if refused:
            debug.log("there are %d connections: another one is refused", _MOST_CONNECTIONS)
            connection.close()
            return
        thread = threading.Thread(target=self._serve, args=(connection,), name="connection", daemon=True)
        with self._lock:
            self._threads[thread] = connection
        thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(_SILENCE)
            _Connection(connection, self)
        except (OSError, ClientGoneError) as error:
            debug.log("a connection has ended: %s", error)
        finally:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
            with self._lock:
                self._open -= 1
                self._last = time.monotonic()
                del self._threads[threading.current_thread()]

    @property
    def workers(self) -> Workers:
        """Processes that work for requests."""
        return self._workers


class _Connection(BaseHTTPRequestHandler):
    """One connection. The base class reads request lines and headers: 64 KiB each, a hundred at most."""

    protocol_version = "HTTP/1.1"
    server_version = f"pybuild/{ENGINE.rpartition('pybuild.')[2]}"
    sys_version = ""

    def __init__(self, connection: socket.socket, server: EngineServer) -> None:
        self._allowed = peer_user(connection) == os.geteuid()
        self._connection = connection
        super().__init__(connection, ("", 0), server)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Callable[[], None]:
        """Give what answers a request of any method: the base class looks for `do_METHOD`."""
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def _answer(self) -> None:
        answer = Answer(self, _HEADERS)
        body: Body | None = None
        try:
            body = Body(self.rfile, self.headers)  # type: ignore[arg-type]
            if not self._allowed:
                raise RequestError(403, "this socket is for another user")  # noqa: TRY301
            self._handle(answer, body)
        except RequestError as error:
            self._complain(answer, error.status, error.message)
        except PybuildError as error:
            message = _in_dockers_words(error)
            self._complain(answer, status_of(error), message)
        except (BrokenPipeError, ConnectionError) as error:
            debug.log("an answer breaks off: %s", error)
            self.close_connection = True
            return
        if body is None or not body.drop(_MOST_DROPPED):
            self.close_connection = True

    def _handle(self, answer: Answer, body: Body) -> None:
        parts = urlsplit(self.path)
        path = parts.path
        if versioned := _VERSIONED.fullmatch(path):
            check_version(int(versioned[1]), int(versioned[2]))
            path = versioned[3]
        try:
            query = parse_qs(parts.query, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS, errors="strict")
            handler, name = find(self.command, path)
            name = unquote(name, errors="strict")
        except ValueError as error:
            raise RequestError(400, f"the request's path cannot be read: {error}") from error
        debug.log("%s %s", self.command, path)
        handler(Request(query, name, self.headers, body, answer, self._connection, self._workers()))

    def _workers(self) -> Workers:
        server: Any = self.server
        return server.workers  # type: ignore[no-any-return]

    def _complain(self, answer: Answer, status: int, message: str) -> None:
        debug.log("%s: %d, %s", self.requestline[:200], status, message)
        if answer.begun:
            answer.say(errorDetail={"message": message}, error=message)
            answer.end()
        else:
            answer.error(status, message)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is not a request, as the base class finds it, in the form of all other answers."""
        self.request_version = self.protocol_version
        self.command = self.command or "GET"
        self.close_connection = True
        self._complain(Answer(self, _HEADERS | {"Connection": "close"}), int(code), message or explain or "bad request")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's
        """Log it where `--debug` does."""
        debug.log(format.replace("%d", "%s"), *args)


def check_version(major: int, minor: int) -> None:
    """Refuse versions of the API that are not answered, in the words that clients look for. Raises RequestError."""
    asked = f"{major}.{minor}"
    least, most = (tuple(map(int, text.split("."))) for text in (LEAST_API, API))
    if (major, minor) < least:
        raise RequestError(
            400,
            f"client version {asked} is too old. Minimum supported API version is {LEAST_API}, please upgrade your"
            " client to a newer version",
        )
    if (major, minor) > most:
        raise RequestError(400, f"client version {asked} is too new. Maximum supported API version is {API}")


def peer_user(connection: socket.socket) -> int:
    """Return the user at the other end (SO_PEERCRED, unix(7))."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", data)
    return int(user)


def handed_over(environ: Mapping[str, str]) -> socket.socket | None:
    """Return the socket that a service manager hands over (sd_listen_fds(3)), None where it does not.

    Raises UsageError for several, and for what is no such socket.
    """
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    if environ.get("LISTEN_FDS") != "1":
        raise UsageError(f"{environ.get('LISTEN_FDS')} sockets were handed over", hint="give the service one socket")
    try:
        made = socket.socket(fileno=_FIRST_FD)
        os.set_inheritable(_FIRST_FD, False)
        listening = made.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise UsageError(f"descriptor {_FIRST_FD} is not a socket: {error.strerror}") from error
    if made.family != socket.AF_UNIX or made.type != socket.SOCK_STREAM or not listening:
        raise UsageError("the socket that was handed over is not a stream of this machine", hint="ListenStream=/a/path")
    return made


@contextlib.contextmanager
def listening(path: str) -> Any:
    """Listen at a path, for this user alone; what is left there by a server that is gone is replaced.

    The socket is removed at the end, if it is still this one. Raises UsageError, StoreError.
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    own: os.stat_result | None = None
    try:
        with _said(path):
            _clear(path)
            before = os.umask(0o177)  # no thread has been started yet
            try:
                made.bind(path)
            finally:
                os.umask(before)
            made.listen(64)
            own = os.stat(path)
        yield made
    finally:
        made.close()
        with contextlib.suppress(FileNotFoundError):
            now = os.stat(path)
            if own is not None and (now.st_dev, now.st_ino) == (own.st_dev, own.st_ino):
                os.unlink(path)


def _clear(path: str) -> None:
    """Remove a socket that nobody listens at. Raises UsageError for anything else that is there."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise UsageError(f"{path} is there and is not a socket", hint="name another path with --socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise UsageError(f"{path}: another server answers there", hint="end it, or name another path with --socket")


@contextlib.contextmanager
def _said(path: str) -> Any:
    """Say what could not be done at a path."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)  # a path that is too long has no number
        raise StoreError(f"cannot listen at {path}: {reason}", hint="name another path with --socket") from error


def _in_dockers_words(error: PybuildError) -> str:
    """Return an error's sentence, with the words that docker-py tells missing images by."""
    from buildah_py.errors import NotFound

    text = f"{error.message}: {error.hint}" if error.hint else error.message
    return f"No such image: {text}" if isinstance(error, NotFound) else text


def usual_path(environ: Mapping[str, str]) -> str:
    """Return where the server listens if nothing else is said."""
    if os.geteuid() == 0:
        return "/run/pybuild.sock"
    return os.path.join(environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}", "pybuild.sock")


def serve(listener: socket.socket, idle: float, told: Callable[[], object] = lambda: None) -> None:
    """Answer until nobody has asked for `idle` seconds (0: for ever), or the process is told to end."""
    from buildah_py.api.signals import endings_to_read

    with endings_to_read() as end, EngineServer(listener) as server:
        told()
        server.run(idle, end)
