"""Servers of the Remote Execution API on loopback: BuildGrid where it is installed, and one that does as a test wants.

The second keeps what it is sent in memory and has the program's own messages. It is for faults, which no real server
shows on demand; that the client speaks the protocol as others do is tried with the first.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildah_py.sharing.reapi import messages
from buildah_py.sharing.reapi.messages import classes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # as the program has it
_READ = re.compile(r"(?:(.*)/)?(blobs|compressed-blobs/zstd)/([0-9a-f]{64})/([0-9]+)")
_WRITE = re.compile(r"(?:(.*)/)?uploads/[0-9a-f-]{36}/(blobs|compressed-blobs/zstd)/([0-9a-f]{64})/([0-9]+)")
_PIECE = 50_000


@dataclass
class Server:
    """What a server holds, and how it is to behave.

    `faults` names for a method the status codes that its next calls end with, `cuts` after how many bytes its next
    streams do. While `hold` is not set, the method `held`, or all, say nothing; `overdue` is whether somebody waited
    for that in vain. `calls` are the methods that were called, each stream with how it carries its blob, and from where
    on.
    """

    port: int = 0
    instance: str = ""
    blobs: dict[str, bytes] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    headers: list[dict[str, Any]] = field(default_factory=list)
    faults: dict[str, list[str]] = field(default_factory=dict)
    cuts: dict[str, list[int]] = field(default_factory=dict)
    partial: dict[str, bytes] = field(default_factory=dict)
    lie: Callable[[bytes], bytes] = lambda data: data
    writable: bool = True
    complete: bool = False
    tells_status: bool = True
    zstd: bool = False
    digest_functions: tuple[int, ...] = (messages.SHA256,)
    batch: int = 0
    versions: tuple[int, int] = (2, 2)
    largest: int = 0
    secret: tuple[str, str] | None = None
    hold: threading.Event | None = None
    held: str = ""
    overdue: bool = False
    asked: threading.Event = field(default_factory=threading.Event)
    scheme: str = "grpc"

    @property
    def spec(self) -> str:
        """The attributes of the place."""
        instance = f",instance={self.instance}" if self.instance else ""
        return f"type=reapi,endpoint={self.scheme}://127.0.0.1:{self.port}{instance}"

    # methods

    def get_capabilities(self, _request: Any, _context: Any) -> Any:
        known = classes()
        cache = known["CacheCapabilities"](
            digest_functions=self.digest_functions,
            max_batch_total_size_bytes=self.batch,
            supported_compressors=[messages.ZSTD] if self.zstd else [],
            action_cache_update_capabilities=known["ActionCacheUpdateCapabilities"](update_enabled=self.writable),
        )
        low, high = self.versions
        return known["ServerCapabilities"](
            cache_capabilities=cache,
            low_api_version=known["SemVer"](major=low),
            high_api_version=known["SemVer"](major=high),
        )

    def get_action_result(self, request: Any, context: Any) -> Any:
        found = self.results.get(request.action_digest.hash)
        if found is None or (self.complete and any(one.digest.hash not in self.blobs for one in found.output_files)):
            _end(context, "NOT_FOUND")
        return found

    def update_action_result(self, request: Any, context: Any) -> Any:
        if request.action_digest.hash not in self.blobs:  # as servers may have it
            _end(context, "FAILED_PRECONDITION")
        self.results[request.action_digest.hash] = request.action_result
        return request.action_result

    def find_missing_blobs(self, request: Any, _context: Any) -> Any:
        missing = [one for one in request.blob_digests if one.hash not in self.blobs]
        return classes()["FindMissingBlobsResponse"](missing_blob_digests=missing)

    def batch_update_blobs(self, request: Any, context: Any) -> Any:
        known = classes()
        size = sum(len(one.data) for one in request.requests)
        self.largest = max(self.largest, size)
        if self.batch and size > self.batch:
            _end(context, "INVALID_ARGUMENT")
        answer = known["BatchUpdateBlobsResponse"]()
        for one in request.requests:
            good = self._keep(one.digest.hash, one.digest.size_bytes, one.data)
            answer.responses.add(digest=one.digest, status=known["Status"](code=0 if good else 3))
        return answer

    def batch_read_blobs(self, request: Any, context: Any) -> Any:
        known = classes()
        if self.batch and sum(one.size_bytes for one in request.digests) > self.batch:
            _end(context, "INVALID_ARGUMENT")
        answer = known["BatchReadBlobsResponse"]()
        for one in request.digests:
            data = self.blobs.get(one.hash)
            status = known["Status"](code=5 if data is None else 0)
            answer.responses.add(digest=one, data=self.lie(data or b""), status=status)
        return answer

    def read(self, request: Any, context: Any) -> Iterator[Any]:
        found = _READ.fullmatch(request.resource_name)
        if found is None or (found[1] or "") != self.instance:
            _end(context, "INVALID_ARGUMENT")
        assert found is not None
        self.calls.append(f"{found[2]}@{request.read_offset}")
        data = self.blobs.get(found[3])
        if data is None:
            _end(context, "NOT_FOUND")
        data = self.lie(data or b"")[request.read_offset :]
        if found[2] != "blobs":
            data = _packed(data)
        cut = self.cuts["Read"].pop(0) if self.cuts.get("Read") else None
        make = classes()["ReadResponse"]
        for start in range(0, len(data), _PIECE):
            if cut is not None and start >= cut:
                _end(context, "UNAVAILABLE")
            yield make(data=data[start : start + _PIECE])

    def write(self, requests: Iterator[Any], context: Any) -> Any:
        first = next(requests)
        found = _WRITE.fullmatch(first.resource_name)
        if found is None or (found[1] or "") != self.instance:
            _end(context, "INVALID_ARGUMENT")
        assert found is not None
        name = first.resource_name
        self.calls.append(f"{found[2]}@{first.write_offset}")
        data = self.partial.get(name, b"")
        if first.write_offset != len(data):
            _end(context, "INVALID_ARGUMENT")
        cut = self.cuts["Write"].pop(0) if self.cuts.get("Write") else None
        one = first
        while True:
            if one.write_offset != len(data):
                _end(context, "INVALID_ARGUMENT")
            data += one.data
            self.partial[name] = data
            if cut is not None and len(data) >= cut:
                _end(context, "UNAVAILABLE")
            if one.finish_write:
                break
            one = next(requests)
        whole = data if found[2] == "blobs" else _unpacked(data)
        if not self._keep(found[3], int(found[4]), whole):
            _end(context, "INVALID_ARGUMENT")
        return classes()["WriteResponse"](committed_size=len(data))

    def query_write_status(self, request: Any, context: Any) -> Any:
        if not self.tells_status:
            _end(context, "UNIMPLEMENTED")
        data = self.partial.get(request.resource_name)
        if data is None:
            _end(context, "NOT_FOUND")
        return classes()["QueryWriteStatusResponse"](committed_size=len(data or b""))

    def _keep(self, name: str, size: int, data: bytes) -> bool:
        if (hashlib.sha256(data).hexdigest(), len(data)) != (name, size):
            return False
        self.blobs[name] = data
        return True

    def before(self, name: str, request: Any, context: Any) -> None:
        """Do what each call begins with."""
        sent = dict(context.invocation_metadata())
        self.calls.append(name)
        self.headers.append(sent)
        self.asked.set()
        if self.hold is not None and self.held in ("", name):
            self.overdue |= not self.hold.wait(30)
        if self.secret is not None and sent.get(self.secret[0]) != self.secret[1]:
            _end(context, "UNAUTHENTICATED")
        if self.faults.get(name):
            _end(context, self.faults[name].pop(0))
        if getattr(request, "instance_name", self.instance) != self.instance:
            _end(context, "INVALID_ARGUMENT", "no such instance")


def _end(context: Any, code: str, text: str = "said by the test") -> None:
    import grpc

    context.abort(grpc.StatusCode[code], text)


def _packed(data: bytes) -> bytes:
    import zstandard

    return bytes(zstandard.ZstdCompressor().compress(data))


def _unpacked(data: bytes) -> bytes:
    import zstandard

    return bytes(zstandard.ZstdDecompressor().decompressobj().decompress(data))


def _handlers(server: Server) -> list[Any]:
    import grpc

    known = classes()
    shapes = {
        "Read": grpc.unary_stream_rpc_method_handler,
        "Write": grpc.stream_unary_rpc_method_handler,
    }
    found: dict[str, dict[str, Any]] = {}
    for one in vars(messages).values():
        if not isinstance(one, messages.Method):
            continue
        service, _, name = one.path[1:].partition("/")

        def answer(request: Any, context: Any, name: str = name) -> Any:
            server.before(name, request, context)
            return getattr(server, re.sub("(?<!^)([A-Z])", r"_\1", name).lower())(request, context)

        make = shapes.get(name, grpc.unary_unary_rpc_method_handler)
        found.setdefault(service, {})[name] = make(
            answer,
            request_deserializer=known[one.request].FromString,
            response_serializer=known[one.answer].SerializeToString,
        )
    return [grpc.method_handlers_generic_handler(service, methods) for service, methods in found.items()]


@contextmanager
def serve(certificates: tuple[bytes, bytes, bytes | None] | None = None, **settings: Any) -> Iterator[Server]:
    """Serve; `certificates` are key, chain, and the CA of the clients, if they have to have certificates."""
    import grpc

    server = Server(**settings)
    made = grpc.server(ThreadPoolExecutor(8), handlers=_handlers(server))
    if certificates is None:
        server.port = made.add_insecure_port("127.0.0.1:0")
    else:
        key, chain, ca = certificates
        credentials = grpc.ssl_server_credentials([(key, chain)], ca, require_client_auth=ca is not None)
        server.port = made.add_secure_port("127.0.0.1:0", credentials)
        server.scheme = "grpcs"
    made.start()
    try:
        yield server
    finally:
        if server.hold is not None:
            server.hold.set()
        made.stop(None).wait()


_OWN = Path(__file__).parent.parent / ".venv-buildgrid/bin"
BUILDGRID = shutil.which("bgd", path=os.pathsep.join((str(_OWN), os.environ.get("PATH", ""))))
WITHOUT = "BuildGrid is not installed: scripts/buildgrid"

_CONFIG = """\
server:
  - !channel
    address: "127.0.0.1:{port}"
    insecure-mode: true
storages:
  - !lru-storage &storage
    size: 64M
caches:
  - !lru-action-cache &results
    storage: *storage
    max-cached-refs: 256
    allow-updates: {writable}
    cache-failed-actions: false
instances:
  - name: main
    services:
      - !action-cache
        cache: *results
      - !cas
        storage: *storage
      - !bytestream
        storage: *storage
"""


@dataclass
class BuildGrid:
    """A BuildGrid that runs."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def spec(self) -> str:
        """The attributes of the place."""
        return f"type=reapi,endpoint=grpc://127.0.0.1:{self.port},instance=main"

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()


@contextmanager
def buildgrid(directory: Path, *, writable: bool = True) -> Iterator[BuildGrid]:
    """Run BuildGrid, which keeps all in memory."""
    assert BUILDGRID is not None
    with socket.socket() as free:  # it does not say which port it has, so it cannot choose one
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = directory / "buildgrid.yml"
    config.write_text(_CONFIG.format(port=port, writable=str(writable).lower()))
    with (directory / "buildgrid.log").open("wb") as log:
        process = subprocess.Popen([BUILDGRID, "server", "start", config], stdout=log, stderr=log)
    try:
        until = time.monotonic() + 60
        while not _listens(port):
            assert process.poll() is None, (directory / "buildgrid.log").read_text()
            assert time.monotonic() < until
            time.sleep(0.05)
        yield BuildGrid(port, process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()


def buildgrid_definitions() -> dict[str, Any]:
    """Give the messages and methods as BuildGrid has them from the definitions.

    Of each message (by full name) its fields: number, type, whether it is repeated; of each method the messages.
    """
    assert BUILDGRID is not None
    python = Path(BUILDGRID).resolve().with_name("python")
    found: dict[str, Any] = json.loads(subprocess.run([python, "-c", _DEFINITIONS], check=True, stdout=-1).stdout)
    return found


_DEFINITIONS = """
import json
from buildgrid._protos.build.bazel.remote.execution.v2 import remote_execution_pb2
from buildgrid._protos.build.bazel.semver import semver_pb2
from buildgrid._protos.google.bytestream import bytestream_pb2
from buildgrid._protos.google.rpc import status_pb2
from google.protobuf.descriptor import FieldDescriptor

kinds = {number: name[5:].lower() for name, number in vars(FieldDescriptor).items() if name.startswith("TYPE_")}
found = {}

def add(message):
    fields = message.fields_by_name.values()
    found[message.full_name] = {
        one.name: [one.number, one.message_type.full_name if one.message_type else kinds[one.type], one.is_repeated]
        for one in fields
    }
    for inner in message.nested_types:
        add(inner)

for module in (remote_execution_pb2, semver_pb2, bytestream_pb2, status_pb2):
    for message in module.DESCRIPTOR.message_types_by_name.values():
        add(message)
    for service in module.DESCRIPTOR.services_by_name.values():
        for one in service.methods:
            found[f"/{service.full_name}/{one.name}"] = [one.input_type.name, one.output_type.name]
print(json.dumps(found))
"""


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
