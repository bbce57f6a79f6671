"""The mounts of a container as small objects that describe themselves, travel over a socket, and execute.

They are made in the main process and executed in the container's first process, which sees the host's tree and holds
the new root as a descriptor. Nothing that they need imports more than os and `linux`.
"""

from __future__ import annotations

from buildah_py.sandbox.api_file_systems import CgroupMount, Mask, ProcMount, ReadOnlyPaths, SysMount
from buildah_py.sandbox.devices import DeviceTree
from buildah_py.sandbox.operation import Operation
from buildah_py.sandbox.user_mounts import BindMount, FileMount, OverlayMount, StubFile, TmpfsMount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "BindMount",
    "CgroupMount",
    "DeviceTree",
    "FileMount",
    "Mask",
    "Operation",
    "OverlayMount",
    "ProcMount",
    "ReadOnlyPaths",
    "StubFile",
    "SysMount",
    "TmpfsMount",
]

KINDS: dict[str, type[Operation]] = {
    kind.__name__: kind
    for kind in (
        BindMount,
        OverlayMount,
        TmpfsMount,
        FileMount,
        StubFile,
        ProcMount,
        SysMount,
        CgroupMount,
        DeviceTree,
        Mask,
        ReadOnlyPaths,
    )
}


def from_wire(wire: tuple[Any, ...]) -> Operation:
    """Make the operation that `Operation.wire` wrote down."""
    return KINDS[wire[0]](*wire[1:])
