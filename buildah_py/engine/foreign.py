"""Commands for other machines than this one."""

from __future__ import annotations

from buildah_py.errors import PybuildError
from buildah_py.image import platform as platforms


def check_runnable(platform: str) -> None:
    """Raise PybuildError, which says what to install, where this machine cannot run programs of `platform`."""
    host = platforms.host()
    if platform == str(host):
        return
    wanted = platforms.parse(platform)
    if wanted.os == host.os and wanted in platforms.runnable(host):
        return
    if wanted.os != host.os:
        raise PybuildError(
            f"this machine runs {host.os}, and cannot run a command for {wanted}",
            hint="COPY, ENV and the like work for any platform; RUN does not",
        )
    from buildah_py.linux.binfmt import find_interpreter

    found = find_interpreter(wanted.architecture)
    if found is None:
        raise PybuildError(
            f"a command for {wanted} cannot run on {host}: the kernel knows no emulator for {wanted.architecture}",
            hint="install one: `apt-get install qemu-user-static binfmt-support` (Debian), `dnf install "
            "qemu-user-static` (Fedora), or `docker run --privileged --rm tonistiigi/binfmt --install all`",
        )
    if not found.fixed:
        raise PybuildError(
            f"a command for {wanted} cannot run: {found.path} is registered without the flag F, "
            "so that it would have to be in the image",
            hint="register it again with the flag F, as qemu-user-static of today does",
        )
