"""Calls to a server: one channel for all threads, time limits, retries, and the end of waiting when nobody waits."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Final

from buildah_py import debug
from buildah_py.errors import CacheAway, CacheError, UsageError
from buildah_py.http.retry import DEFAULT, NOBODY, Retries, RetryableError
from buildah_py.http.watch import Late, Watch
from buildah_py.sharing.reapi.faults import failure_of
from buildah_py.sharing.reapi.messages import classes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from buildah_py.http.retry import Policy, Waiter
    from buildah_py.sharing.reapi.messages import Method
    from buildah_py.sharing.reapi.server import CacheServer

MESSAGE: Final = 4 << 20
"""Bytes of a message that every server takes: gRPC's own limit, unless it is told another one."""
_LARGEST: Final = 16 << 20
"""Bytes of an answer that are taken."""
_METADATA: Final = "build.bazel.remote.execution.v2.requestmetadata-bin"


def check_library() -> None:
    """Raise UsageError where the packages are missing that this needs."""
    missing = [name for name, module in (("grpcio", "grpc"), ("protobuf", "google.protobuf")) if not _has(module)]
    if missing:
        raise UsageError(
            f"type=reapi needs what is not installed for this Python: {', '.join(missing)}",
            hint="`pip install 'buildah_py[reapi]'`",
        )


class Calls:
    """A channel to `server`, made when it is first needed. `name` is what messages call the cache.

    Everything raises CacheError where the server cannot be reached or refuses, and Interrupted as `waiter` says.
    """

    def __init__(
        self,
        server: CacheServer,
        name: str,
        environ: Mapping[str, str],
        waiter: Waiter = NOBODY,
        policy: Policy = DEFAULT,
    ) -> None:
        self.server = server
        self.name = name
        self.policy = policy
        self._environ = environ
        self._tell = waiter.tell
        self._watch = Watch(waiter.cancelled)
        self._lock = threading.Lock()
        self._channel: Any = None
        self._metadata: tuple[tuple[str, str | bytes], ...] = ()

    def retries(self, method: Method) -> Retries:
        """Make what counts the failures of one piece of work."""

        def error(message: str, hint: str, _status: int) -> CacheError:
            return CacheAway(message, hint=hint)

        return Retries(self.policy, self._watch.pause, self._what(method), error, self._tell)

    def ask(self, method: Method, request: Any, seconds: float = 0.0) -> Any:
        """Call a method until it answers, within `seconds` each time, by default those of the policy."""
        return self.retries(method).run(lambda: self.ask_once(method, request, seconds))

    def ask_once(self, method: Method, request: Any, seconds: float = 0.0) -> Any:
        """Call a method once. Raises RetryableError too."""
        made = self._method("unary_unary", method)
        return self._finish(method, lambda: made.future(request, **self._with(seconds or self.policy.silence)))

    def send(self, method: Method, requests: Callable[[Callable[[], None]], Iterator[Any]]) -> Any:
        """Call a method once with a stream of messages. Raises RetryableError too.

        `requests` makes them, and is given what to call where there is progress: the time limit is for the pauses.
        """
        owner, seconds = object(), self.policy.commit
        made = self._method("stream_unary", method)
        pieces = requests(lambda: self._watch.renew(owner, seconds))
        try:
            with self._watch.within(owner, seconds):
                return self._finish(method, lambda: made.future(pieces, **self._with()), owner)
        except Late as error:
            raise self._late("took nothing", seconds) from error

    def receive(self, method: Method, request: Any) -> Answers:
        """Call a method once that answers with a stream of messages."""
        made = self._method("unary_stream", method)
        self._watch.check()
        return Answers(self, method, made(request, **self._with()), self._watch)

    def failure(self, method: Method, error: Any) -> Exception:
        """Make what an error of the library means. Raises Interrupted where nobody waits any more."""
        import grpc

        self._watch.check()
        if isinstance(error, grpc.FutureCancelledError):
            return RetryableError(f"{self.server.host}: the call was ended")
        debug.log("%s: %s: %s", self.name, method.path, error.code().name)
        return failure_of(error, self._what(method), self.server.host)

    def _late(self, text: str, seconds: float) -> RetryableError:
        return RetryableError(f"{self.server.host} {text} for {seconds:g} seconds", attempts=2)

    def _what(self, method: Method) -> str:
        return f"{self.name}: {method.name}"

    def _finish(self, method: Method, start: Callable[[], Any], owner: object = None) -> Any:
        """Start a call and wait for its answer."""
        import grpc

        self._watch.check()
        call = start()
        try:
            with self._watch.holding(owner or call, call.cancel):
                answer = call.result()
        except (grpc.RpcError, grpc.FutureCancelledError) as error:
            raise self.failure(method, error) from error
        except BaseException:
            call.cancel()
            raise
        self._watch.check()
        debug.log("%s: %s", self.name, method.path)
        return answer

    def _with(self, seconds: float | None = None) -> dict[str, Any]:
        return {"timeout": seconds, "metadata": self._metadata}

    def _method(self, shape: str, method: Method) -> Any:
        known = classes()
        return getattr(self._open(), shape)(
            method.path,
            request_serializer=known[method.request].SerializeToString,
            response_deserializer=known[method.answer].FromString,
        )

    def _open(self) -> Any:
        with self._lock:
            if self._channel is None:
                self._metadata = self._headers()
                self._channel = self._make()
        return self._channel

    def _headers(self) -> tuple[tuple[str, str | bytes], ...]:
        """Give what goes along with each call: who asks, and as whom."""
        from buildah_py.version import __version__

        known = classes()
        tool = known["ToolDetails"](tool_name="pybuild", tool_version=__version__)
        return (*self.server.headers, (_METADATA, known["RequestMetadata"](tool_details=tool).SerializeToString()))

    def _make(self) -> Any:
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # else the library writes on the screen, too
        import grpc

        from buildah_py.http.proxies import proxy_for, without_credentials
        from buildah_py.version import __version__

        server, tls = self.server, self.server.tls
        proxy = proxy_for("http" if tls is None else "https", server.host, self._environ)
        options: list[tuple[str, Any]] = [
            ("grpc.max_receive_message_length", _LARGEST),
            ("grpc.max_send_message_length", -1),
            ("grpc.primary_user_agent", f"pybuild/{__version__}"),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
            ("grpc.min_reconnect_backoff_ms", round(self.policy.connect * 1000)),
            ("grpc.enable_http_proxy", int(proxy is not None)),
            ("grpc.enable_retries", 0),  # they are ours
        ]
        if proxy is not None:
            if proxy.startswith("https:"):
                shown, _ = without_credentials(proxy)
                raise CacheError(f"{self.name}: {shown} cannot be used, gRPC goes through proxies at http:// only")
            options.append(("grpc.http_proxy", proxy))
        if tls is None:
            return grpc.insecure_channel(server.host, options)
        if server.server_name:
            options.append(("grpc.ssl_target_name_override", server.server_name))
        return grpc.secure_channel(server.host, grpc.ssl_channel_credentials(tls.cas, tls.key, tls.chain), options)


class Answers:
    """A stream of messages of a server. To be used by one thread at a time."""

    def __init__(self, calls: Calls, method: Method, call: Any, watch: Watch) -> None:
        self._calls = calls
        self._method = method
        self._call = call
        self._watch = watch

    def next(self) -> Any:
        """Wait for the next message; None at the end. Raises RetryableError too."""
        import grpc

        seconds = self._calls.policy.silence
        try:
            with self._watch.holding(self, self._call.cancel), self._watch.within(self, seconds):
                return next(self._call, None)
        except Late as error:
            host = self._calls.server.host
            raise RetryableError(f"{host} said nothing for {seconds:g} seconds", attempts=2) from error
        except grpc.RpcError as error:
            raise self._calls.failure(self._method, error) from error

    def close(self) -> None:
        """Be done, also before the end."""
        self._call.cancel()


def _has(module: str) -> bool:
    from importlib.util import find_spec

    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a package that is not there itself
        return False
