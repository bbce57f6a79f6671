"""Facts about the program and the machine, by the names that docker gives them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from buildah_py.api.state import own_root
from buildah_py.image import platform as platforms
from buildah_py.linux.identity import outer_uid
from buildah_py.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping


def runnable_platforms() -> list[str]:
    """Return the platforms whose programs can be run here, emulated ones last."""
    from buildah_py.linux import binfmt

    host = platforms.host()
    others = [platforms.parse(f"{host.os}/{architecture}") for architecture in binfmt.emulated()]
    return list(dict.fromkeys(str(one) for one in (*platforms.runnable(host), *others)))


def machine_facts(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return facts about the program and the machine, `MemTotal` in bytes."""
    system, host = os.uname(), platforms.host()
    return {
        "ServerVersion": __version__,
        "Name": system.nodename,
        "OSType": host.os,
        "Architecture": system.machine,
        "KernelVersion": system.release,
        "NCPU": len(os.sched_getaffinity(0)),
        "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "Driver": "overlay",
        "DockerRootDir": own_root(environ),
        "SecurityOptions": ["name=seccomp,profile=builtin", *(["name=rootless"] if outer_uid() else [])],
        "Platforms": runnable_platforms(),
    }
