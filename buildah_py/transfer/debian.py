"""Debian as a base image: where its packages come from, and what makes its file system an image's and nobody's."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from shlex import quote
from typing import TYPE_CHECKING, Final

from buildah_py.errors import NotFound
from buildah_py.layers.entry import DIR
from buildah_py.layers.inventory import Inventory

if TYPE_CHECKING:
    from buildah_py.layers.entry import Entry

_REMOVE: Final = (
    "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"
)
_FILES: Final = {
    "etc/apt/apt.conf.d/docker-clean": f"""\
# Archives that apt keeps would be in a layer for ever. Cache mounts for it want this file removed first.
DPkg::Post-Invoke {{ "{_REMOVE}"; }};
APT::Update::Post-Invoke {{ "{_REMOVE}"; }};
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
""",
    "etc/apt/apt.conf.d/docker-no-languages": 'Acquire::Languages "none";\n',
    "etc/apt/apt.conf.d/docker-gzip-indexes": 'Acquire::GzipIndexes "true";\n',
    "etc/apt/apt.conf.d/docker-autoremove-suggests": 'Apt::AutoRemove::SuggestsImportant "false";\n',
    "etc/dpkg/dpkg.cfg.d/docker-apt-speedup": "force-unsafe-io\n",
    "usr/sbin/policy-rc.d": "#!/bin/sh\nexit 101\n",
}
"""Files that make Debian fit for images, as in the official ones: packages leave no caches, and start no services."""
_PROGRAM: Final = "usr/sbin/policy-rc.d"
_OF_THIS_MACHINE: Final = ("etc/hostname", "etc/resolv.conf")
"""Files that mmdebstrap takes along."""
_LEFT_OVER: Final = (
    "etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-", "var/cache/apt/*.bin", "var/cache/debconf/*-old",
    "var/cache/ldconfig/aux-cache", "var/lib/dpkg/*-old",
)  # fmt: skip
"""Files that are made while it is installed, and say when and how."""
_SHADOW: Final = r"s/^\([^:]*:[^:]*:\)[0-9]*:/\1:/"
"""Forget on what day accounts were made (shadow(5), the third field)."""
_TARGET: Final = "$(RELEASE) $(COMPONENT) $(REPO_URI) $(ORIGIN)"
_ROLLING: Final = ("sid", "unstable", "experimental")


def hook(sources: str) -> str:
    """Give a shell script that makes an image's of the file system at `$1`: the same one on any machine.

    `sources` become its sources.list(5).
    """
    lines = ["set -e", 'cd "$1"', f"rm -f {' '.join(_OF_THIS_MACHINE + _LEFT_OVER)}"]
    lines += (f"printf %s {quote(text)} > {path}" for path, text in {**_FILES, "etc/apt/sources.list": sources}.items())
    return "\n".join([*lines, f"chmod 755 {_PROGRAM}", f"sed -i {quote(_SHADOW)} etc/shadow"])


def own_suite() -> str:
    """Return the suite that this machine runs; `stable` where that is not Debian."""
    release = platform.freedesktop_os_release()
    if release.get("ID") == "debian" and "VERSION_CODENAME" in release:
        return release["VERSION_CODENAME"]
    return "stable"


def own_sources(suite: str) -> str:
    """Collect this machine's archives of Debian's `suite` as entries of sources.list(5); empty where it has none.

    Only what every machine with that suite may have: no backports, no components beside `main`, no other archives.
    """
    listing = subprocess.run(
        ["apt-get", "indextargets", "--format", _TARGET, "Created-By: Packages"],
        check=False,
        capture_output=True,
        text=True,
    ).stdout
    lines = []
    for line in dict.fromkeys(listing.splitlines()):
        release, component, uri, origin = line.split(" ", 3)
        if release in _releases(suite) and component == "main" and origin == "Debian":
            lines.append(f"deb {uri} {release} main\n")
    return "".join(sorted(lines))


def public_sources(suite: str) -> str:
    """Give the entries of sources.list(5) for the archives that everybody reaches. Raises PybuildError."""
    archive, security = (_public(name) for name in ("mirror", "secmirror"))
    return "".join(
        f"deb {security if release.endswith('-security') else archive} {release} main\n" for release in _releases(suite)
    )


def _public(name: str) -> str:
    """Find an archive that mmdebstrap takes where nobody names one: its program is a text that says so."""
    program = shutil.which("mmdebstrap")
    if program is None:
        raise NotFound("there is no mmdebstrap", hint="install the package mmdebstrap")
    with open(program, encoding="utf-8", errors="replace") as file:
        found = re.search(rf"my \${name}\s*=\s*'(https?://[^']+)'", file.read())
    if found is None:
        raise NotFound(
            f"{program} does not say which archive of Debian everybody reaches",
            hint="--own-sources leaves the image with the archives of this machine",
        )
    return found[1]


def _releases(suite: str) -> tuple[str, ...]:
    return (suite,) if suite in _ROLLING else (suite, f"{suite}-updates", f"{suite}-security")


def settle(inventory: Inventory, fs: str, began: int) -> tuple[Inventory, int]:
    """Make the layer below `fs` what its packages alone decide, not the day or who made it; with its newest time.

    What has been made since `began` gets the time of the newest file of a package; times are nanoseconds. Devices go:
    containers bring their own.
    """
    newest = max((entry.mtime for entry in inventory if entry.mtime < began), default=began)
    kept: list[Entry] = []
    for entry in reversed(inventory.entries):
        path = os.path.join(fs, entry.path)
        if entry.path.startswith("dev/"):
            if os.path.lexists(path):  # others than root keep them in the inventory alone
                (os.rmdir if entry.kind == DIR else os.unlink)(path)
            continue
        if entry.mtime > newest:
            entry = entry._replace(mtime=newest)
            os.utime(path, ns=(newest, newest), follow_symlinks=False)
        kept.append(entry)
    return Inventory.of_sorted(kept[::-1]), newest
