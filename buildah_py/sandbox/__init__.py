"""The container for RUN: namespaces, root file system, mounts, network, limits, policy.

Names are imported when they are used, because the process that forks containers loads this package too.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildah_py.sandbox.client import Sandbox
    from buildah_py.sandbox.operations import BindMount, FileMount, Operation, OverlayMount, StubFile, TmpfsMount
    from buildah_py.sandbox.spec import ContainerSpec, ExitStatus, ResourceLimits
    from buildah_py.sandbox.started import Container

__all__ = [
    "BindMount",
    "Container",
    "ContainerSpec",
    "ExitStatus",
    "FileMount",
    "Operation",
    "OverlayMount",
    "ResourceLimits",
    "Sandbox",
    "StubFile",
    "TmpfsMount",
]

_HOMES = {
    "client": ("Sandbox",),
    "started": ("Container",),
    "operations": ("BindMount", "FileMount", "Operation", "OverlayMount", "StubFile", "TmpfsMount"),
    "spec": ("ContainerSpec", "ExitStatus", "ResourceLimits"),
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
