"""Signs of life while a peer is silent: a bar after a second, a line after ten, of a clock that the test sets."""

from __future__ import annotations

import io
import os
import tarfile
import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest

from buildah_py.commands.pull import pull
from buildah_py.commands.push import PushRequest, push_stored
from buildah_py.meter import Listening
from buildah_py.progress.waiting import Bars, SparseLines
from buildah_py.registry import RegistryOptions
from buildah_py.sources import http
from buildah_py.store import Store
from buildah_py.transfer.bootstrap import import_rootfs
from buildah_py.transfer.provider import OriginProvider, Registries
from tests.registry_server import FaultProxy, Request, Served, docker_registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from buildah_py.meter import Moved

__all__ = ["docker_registry"]
pytestmark = pytest.mark.root


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Written(io.StringIO):
    encoding = "utf-8"


class Slow:
    """A peer that says nothing to the first request of a kind until something was seen of it."""

    def __init__(self, proxy: FaultProxy) -> None:
        self.proxy = proxy
        self.silent, self.seen = threading.Event(), threading.Event()

    def at(self, method: str, pattern: str) -> None:
        self.silent.clear()
        self.seen.clear()
        self.proxy.fault(method, pattern, self._wait)

    def _wait(self, request: Request) -> None:
        self.silent.set()
        assert self.seen.wait(60)
        self.proxy.pass_on(request)

    def shows(self, what: str, work: Callable[[], object]) -> None:
        """Do `work`, and see that `what` is shown while the peer is silent, and no bar when it is over."""
        clock, on_terminal, in_log = Clock(), Written(newline=""), Written()
        bars = Bars(on_terminal, on_terminal, clock=clock, size=lambda: (60, 20), ticks=False)
        lines = SparseLines(in_log, in_log, clock=clock, ticks=False)
        failed: list[BaseException] = []

        def tell(event: Moved) -> None:
            bars(event)
            lines(event)

        def run() -> None:
            try:
                with Listening(tell, clock=clock):
                    work()
            except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            assert self.silent.wait(60), failed
            for moment, expected in ((0.9, 0), (0.2, 1)):
                clock.now += moment
                bars.tick()
                assert (what in on_terminal.getvalue()) == expected
            for moment, expected in ((8.8, 0), (0.2, 1), (10, 2)):
                clock.now += moment
                lines.tick()
                assert in_log.getvalue().count(f"{what}: ") == expected
        finally:
            self.seen.set()
            thread.join()
        assert not failed
        bars.close()
        assert on_terminal.getvalue().endswith("\r\x1b[J")


def test_push_pull_and_add(docker_registry: Served, tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    options = RegistryOptions.from_environment(environ)
    archive = tmp_path / "rootfs.tar"
    with tarfile.open(archive, "w") as tar:
        tar.addfile(tarfile.TarInfo("file"))
    with FaultProxy(docker_registry) as proxy, Registries(environ) as registries:
        slow, name = Slow(proxy), f"{proxy.host}/app:1"
        with Store(str(tmp_path / "one")) as store:
            import_rootfs(store, str(archive), "app")
            slow.at("POST", "/blobs/uploads/")
            request = PushRequest(name="app", destination=name)
            slow.shows(f"pushing {name}", lambda: push_stored(store, request, options, lambda _: None))
            (layer,) = store.blobs.all()
        with Store(str(tmp_path / "two"), OriginProvider(registries)) as store:
            slow.at("GET", "/manifests/")
            slow.shows(f"asking for {name}", lambda: list(pull(store, registries, name)))
        with Store(str(tmp_path / "three"), OriginProvider(registries)) as store:
            slow.at("GET", f"/blobs/{layer.digest}")
            slow.shows(f"pulling {name.removesuffix(':1')}", lambda: list(pull(store, registries, name)))
        url = f"http://{proxy.host}/v2/"
        slow.at("GET", "/v2/$")
        slow.shows(f"downloading {url}", partial(http.fetch, url, str(tmp_path / "fetched")))
