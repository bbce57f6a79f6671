"""Commands for other machines than this one: what runs them, and what to say where nothing does."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.errors import PybuildError
from buildah_py.image import platform as platforms
from buildah_py.linux import binfmt
from buildah_py.linux.identity import MARKER

if TYPE_CHECKING:
    from collections.abc import Mapping

_INSTALL = (
    "install one: `apt-get install qemu-user-static binfmt-support` (Debian), `dnf install qemu-user-static` (Fedora), "
    "or `docker run --privileged --rm tonistiigi/binfmt --install all`"
)


def check_runnable(platform: str, environ: Mapping[str, str] = os.environ) -> None:
    """Raise PybuildError, which says what to install, where this machine cannot run programs of `platform`.

    In a user namespace that this program has entered, an emulator that is installed is registered for that alone.
    """
    host = platforms.host()
    wanted = platforms.parse(platform)
    if wanted.os != host.os:
        raise PybuildError(
            f"this machine runs {host.os}, and cannot run a command for {wanted}",
            hint="COPY, ENV and the like work for any platform; RUN does not",
        )
    if wanted in platforms.runnable(host):
        return
    found = binfmt.find_interpreter(wanted.architecture)
    if found is not None and found.fixed:
        return
    emulator = binfmt.find_emulator(wanted.architecture, environ.get("PATH", os.defpath))
    if emulator and MARKER in environ and binfmt.register_here(wanted.architecture, emulator):
        return
    if found is not None:
        raise PybuildError(
            f"a command for {wanted} cannot run: {found.path} is registered without the flag F, "
            "so that it would have to be in the image",
            hint="register it again with the flag F, as qemu-user-static of today does",
        )
    raise PybuildError(
        f"a command for {wanted} cannot run on {host}: the kernel knows no emulator for {wanted.architecture}",
        hint="qemu-user-static is installed, and not registered: `systemctl restart systemd-binfmt`, or "
        "`update-binfmts --enable`, does that; without root pybuild does it itself, since Linux 6.7"
        if emulator
        else _INSTALL,
    )
