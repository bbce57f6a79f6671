"""Whether the root of this process may be replaced by an image's, and what in it may not."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from buildah_py.errors import SandboxError
from buildah_py.linux import mounts
from buildah_py.linux.identity import effective_capabilities
from buildah_py.linux.interpreter import own_path
from buildah_py.linux.mount_points import mount_points
from buildah_py.sandbox import capabilities
from buildah_py.sandbox.rungs import IN_PLACE

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

WORD: Final = "PYBUILD_IN_PLACE"
WORDS: Final = "this-root-may-be-replaced"
ASIDE: Final = "/.pybuild"
"""Directory for what a command is not to see meanwhile; nobody but root may enter it."""
OF_IMAGES: Final = frozenset(
    "bin boot dev etc home lib lib32 lib64 libx32 media mnt opt proc root run sbin srv sys tmp usr var".split()  # noqa: SIM905
)
"""Names at the top of images."""
_NEEDED: Final = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID")
_INITS: Final = ("systemd", "init")
_OVERLAY: Final = 0x794C7630
_MARKS: Final = ("/.dockerenv", "/run/.containerenv")


def program_directory() -> str:
    """Give the directory that holds all of this program where an image brings nothing; "" where there is none."""
    top = os.path.realpath(sys.prefix).split("/")[1]
    return f"/{top}" if top and top not in OF_IMAGES else ""


def files_in_use() -> set[str]:
    """List the files whose code this process executes, and the directories that it takes modules from.

    Others that are mapped, such as a locale of the image that the root holds just now, may go.
    """
    found = {os.path.realpath(path) for path in (*own_path(), sys.executable)}
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            about, slash, path = line.rstrip("\n").partition("/")
            if slash and "x" in about.split()[1] and not path.endswith("(deleted)"):
                found.add(f"/{path}")
    return found


def refuse_where_impossible(left: Sequence[str], environ: Mapping[str, str]) -> set[str]:
    """Give the places that are left alone in this root. Raises SandboxError where nothing can be done in it."""
    program = program_directory()
    places = {*mount_points(), *left, *([program] if program else []), ASIDE}
    _refuse_without_rights()
    _refuse_what_is_somebodys(environ, places)
    return places


def _refuse_without_rights() -> None:
    has = effective_capabilities()
    lacking = [name for name in _NEEDED if not has >> capabilities.number(name) & 1]
    if os.geteuid() or lacking:
        what = "root" if os.geteuid() else f"the capabilities {', '.join(lacking)}"
        line = "runAsUser: 0" if os.geteuid() else f"capabilities: {{add: [{', '.join(lacking)}]}}"
        raise SandboxError(
            f"--isolation={IN_PLACE} takes {what}, to give files and processes to an image's users",
            hint=f"`{line}` of a pod's securityContext allows it",
        )


def _refuse_what_is_somebodys(environ: Mapping[str, str], places: Collection[str]) -> None:
    """Raise SandboxError where the root may be somebody's, or where this program would go with its files."""
    asked = environ.get(WORD) == WORDS
    if not asked and (why := _somebodys(environ)):
        raise SandboxError(
            f"--isolation={IN_PLACE} replaces all files of this root, and {why}",
            hint=f"use it in a container that is made for it; {WORD}={WORDS} says that this one is",
        )
    lost = sorted(path for path in files_in_use() if not any(f"{path}/".startswith(f"{one}/") for one in places))
    if lost:
        raise SandboxError(
            f"--isolation={IN_PLACE} replaces all files of this root, and this program needs {lost[0]}",
            hint="`pybuild executor-image` makes an image in which it lies apart",
        )
    for path in places:
        if path.count("/") == 1 and path[1:] in OF_IMAGES - {"dev", "proc", "sys", "run"} and not os.path.ismount(path):
            raise SandboxError(
                f"--isolation={IN_PLACE} leaves {path} as it is, which images have as well",
                hint="put contexts, outputs and the state into directories of their own, or below a mount",
            )


def _somebodys(environ: Mapping[str, str]) -> str:
    """Say why this may be somebody's machine; "" where it is a container."""
    with open("/proc/1/comm", encoding="utf-8", errors="replace") as file:
        first = file.read().strip()
    if first in _INITS:
        return f"its process 1 is {first}, as on a machine"
    marked = any(map(os.path.exists, _MARKS)) or any(
        environ.get(one) for one in ("KUBERNETES_SERVICE_HOST", "container")
    )
    if not marked and mounts.file_system_type("/") != _OVERLAY:
        return "nothing shows that this is a container"
    return ""
