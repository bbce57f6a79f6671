"""The helper's side of observing: the process that serves the observing file system of a container."""

from __future__ import annotations

import os

from buildah_py.linux import process
from buildah_py.sandbox import fuse, observer, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def start(request: dict[str, Any], descriptors: list[int]) -> ObserverProcess | None:
    """Start it for a container that is asked for, if it is to be observed; None where that cannot be.

    `descriptors` came with the request: the first is its description's, and behind streams and network the report's.
    """
    if not request.get("observed"):
        return None
    device = fuse.open_device()
    if device == -1:
        return None
    try:
        report = descriptors[1 + len(request["streams"]) + request["network"]]
        return ObserverProcess(device, descriptors[0], request["size"], report)
    except OSError:
        os.close(device)
        return None


class ObserverProcess:
    """The process that notes what a container learns of some layers, and the device over which it hears of that."""

    __slots__ = ("_held", "_pid", "ends")

    def __init__(self, device: int, memory: int, size: int, report: int) -> None:
        """Fork it. Raises OSError."""
        ended, self._held = os.pipe2(os.O_CLOEXEC)
        mounted, told = os.pipe2(os.O_CLOEXEC)
        self.ends = device, told
        """The device, and a pipe that a container closes once it has mounted what is served over it."""
        try:
            self._pid = os.fork()
        except OSError:
            for descriptor in (ended, self._held, mounted, told):
                os.close(descriptor)
            raise
        if self._pid == 0:
            try:
                process.close_all_but(device, mounted, ended, report, memory)
                _, slots, _, most, attributes = wire.unpack(os.pread(memory, size, 0))["observed"]
                os.close(memory)
                observer.main(device, mounted, ended, report, slots, most, attributes=attributes)
            finally:
                os._exit(125)
        os.close(ended)
        os.close(mounted)

    def close_ends(self) -> None:
        """Leave the ends to the container."""
        for descriptor in self.ends:
            os.close(descriptor)

    def end(self) -> bool:
        """Have it end, and wait for that; whether it has served until now."""
        os.close(self._held)
        _, status = os.waitpid(self._pid, 0)
        return status == 0
