"""A server that speaks the protocol of the Actions cache service, version 2, and takes block blobs at signed URLs."""

from __future__ import annotations

import base64
import json
import re
import secrets
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TOKEN = "a-runtime-token"
PREFIX = "/twirp/github.actions.results.api.v1.CacheService/"


@dataclass
class Entry:
    """An entry; its data is there once it is finished."""

    key: str
    version: str
    signature: str
    data: bytes = b""
    blocks: dict[str, bytes] = field(default_factory=dict)
    finished: bool = False


@dataclass
class Actions:
    """The service's state. `faults` is how many of the next requests are answered with 503."""

    url: str
    entries: list[Entry] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    faults: int = 0

    def environ(self) -> dict[str, str]:
        """What a workflow's step sees."""
        return {"ACTIONS_RESULTS_URL": f"{self.url}/", "ACTIONS_RUNTIME_TOKEN": TOKEN}

    def create(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """CreateCacheEntry."""
        if any((one.key, one.version) == (asked["key"], asked["version"]) for one in self.entries):
            return 409, {"code": "already_exists", "msg": "cache entry with the same key exists"}
        entry = Entry(asked["key"], asked["version"], secrets.token_hex(8))
        self.entries.append(entry)
        return 200, {"ok": True, "signed_upload_url": self._signed(entry)}

    def finish(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """FinalizeCacheEntryUpload."""
        found = next(one for one in self.entries if (one.key, one.version) == (asked["key"], asked["version"]))
        if len(found.data) != int(asked["size_bytes"]):
            return 400, {"code": "invalid_argument", "msg": "the size is another"}
        found.finished = True
        return 200, {"ok": True, "entry_id": str(self.entries.index(found))}

    def find(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """GetCacheEntryDownloadURL: the key itself, else the newest that begins with one of the others."""
        there = [one for one in self.entries if one.finished and one.version == asked["version"]]
        found = next((one for one in there if one.key == asked["key"]), None)
        for prefix in asked.get("restore_keys", ()):
            found = found or next((one for one in reversed(there) if one.key.startswith(prefix)), None)
        if found is None:
            return 200, {"ok": False}
        return 200, {"ok": True, "matched_key": found.key, "signed_download_url": self._signed(found)}

    def _signed(self, entry: Entry) -> str:
        return f"{self.url}/blob/{self.entries.index(entry)}?sig={entry.signature}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    actions: Actions

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self._fails():
            return
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._answer(401, b'{"code":"unauthenticated"}')
            return
        methods = {
            "CreateCacheEntry": self.actions.create,
            "FinalizeCacheEntryUpload": self.actions.finish,
            "GetCacheEntryDownloadURL": self.actions.find,
        }
        with self.actions.lock:
            status, answer = methods[self.path.removeprefix(PREFIX)](json.loads(body))
        self._answer(status, json.dumps(answer).encode())

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self._fails():
            return
        entry, query = self._entry()
        with self.actions.lock:
            if query.get("comp") == ["block"]:
                base64.b64decode(query["blockid"][0], validate=True)
                entry.blocks[query["blockid"][0]] = body
            elif query.get("comp") == ["blocklist"]:
                names = re.findall(r"<Latest>([^<]+)</Latest>", body.decode())
                entry.data = b"".join(entry.blocks[name] for name in names)
            else:
                assert self.headers["x-ms-blob-type"] == "BlockBlob"
                entry.data = body
        self._answer(201, b"")

    def do_GET(self) -> None:
        if self._fails():
            return
        entry, _ = self._entry()
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "bytes=0-"))
        assert start is not None
        if "Range" in self.headers:
            first, size = int(start[1]), len(entry.data)
            self._answer(206, entry.data[first:], {"Content-Range": f"bytes {first}-{size - 1}/{size}"})
        else:
            self._answer(200, entry.data)

    def _entry(self) -> tuple[Entry, dict[str, list[str]]]:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        entry = self.actions.entries[int(parts.path.rpartition("/")[2])]
        assert query["sig"] == [entry.signature]
        assert "Authorization" not in self.headers, "the token is not the storage's business"
        return entry, query

    def _fails(self) -> bool:
        with self.actions.lock:
            fails = self.actions.faults > 0
            self.actions.faults -= fails
        if fails:
            self._answer(503, b"")
        return fails

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextmanager
def serve() -> Iterator[Actions]:
    """Serve on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    actions = Actions(f"http://127.0.0.1:{server.server_address[1]}")
    server.RequestHandlerClass = type("Handler", (_Handler,), {"actions": actions})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield actions
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
