"""Base images without a registry: from a root file system, from this machine's busybox, from its apt sources."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, TypedDict

from buildah_py import meter
from buildah_py.errors import NotFound, SourceError, UsageError
from buildah_py.image import config as image_config
from buildah_py.image import platform as platforms
from buildah_py.image import timestamp
from buildah_py.image.config import DEFAULT_PATH
from buildah_py.layers.apply import unpack
from buildah_py.layers.capture import capture
from buildah_py.layers.compression import decompress
from buildah_py.layers.entry import SECOND
from buildah_py.layers.limits import DEFAULT_LIMITS, ArchiveLimits
from buildah_py.layers.tar import measure
from buildah_py.layers.writer import LayerWriter
from buildah_py.linux.identity import has_single_id, may_make_devices, uses_userxattr
from buildah_py.store.names import full_name
from buildah_py.transfer import debian
from buildah_py.transfer.mmdebstrap import file_system

if TYPE_CHECKING:
    from typing import IO

    from buildah_py.layers.inventory import Captured
    from buildah_py.store import Store


class _Form(TypedDict):
    userxattr: bool
    owners: bool
    devices: bool


_BUSYBOX_DIRS = (
    ("bin", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("sbin", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("usr/bin", 0o755),
    ("usr/sbin", 0o755),
    ("var", 0o755),
    ("var/tmp", 0o1777),
)
_USERS = (
    "root:x:0:0:root:/root:/bin/sh\n"
    "daemon:x:1:1:daemon:/usr/sbin:/bin/false\n"
    "www-data:x:33:33:www-data:/var/www:/bin/false\n"
    "nobody:x:65534:65534:nobody:/home:/bin/false\n"
)
_GROUPS = "root:x:0:\ndaemon:x:1:\nwww-data:x:33:\nusers:x:100:\nnogroup:x:65534:\n"


def import_rootfs(
    store: Store, rootfs: str, name: str, *, platform: str = "", limits: ArchiveLimits = DEFAULT_LIMITS
) -> str:
    """Make an image with one layer of a tar archive, a directory or standard input (`-`); the image's id.

    Raises SourceError where it cannot be read, ArchiveError where it must not be unpacked.
    """
    staged = os.path.join(store.stage(), "fs")
    if os.path.isdir(rootfs):
        with meter.start(f"copying {rootfs}", waits=True):
            captured = _copy_directory(rootfs, staged)
    elif rootfs == "-":
        with meter.start("unpacking the standard input", waits=True) as moved:
            captured = _unpack(moved.reading(sys.stdin.buffer), staged, limits)
    else:
        try:
            with (
                open(rootfs, "rb") as file,
                meter.start(f"unpacking {os.path.basename(rootfs)}", os.fstat(file.fileno()).st_size) as moved,
            ):
                captured = _unpack(moved.reading(file), staged, limits)
        except FileNotFoundError as error:
            raise SourceError(f"{rootfs}: there is no such file or directory") from error
    return _keep(store, staged, captured, name, platform, f"IMPORT {os.path.basename(os.path.abspath(rootfs))}")


def bootstrap(store: Store, what: str, name: str = "", *, own_sources: bool = False) -> str:
    """Make `busybox` or `debian[:SUITE]`, called `name` (default: what was asked for); the image's id.

    With `own_sources` Debian goes on with the archives that this machine has it from.
    """
    distribution, _, suite = what.partition(":")
    if distribution == "busybox" and not suite:
        return _busybox(store, name or "busybox")
    if distribution == "debian":
        suite = suite or debian.own_suite()
        return _debian(store, suite, name or f"debian:{suite}", own_sources=own_sources)
    raise UsageError(f"`{what}` cannot be bootstrapped", hint="busybox and debian[:SUITE] can")


def _busybox(store: Store, name: str) -> str:
    from shutil import which

    program = which("busybox")
    if program is None:
        raise NotFound("this machine has no busybox", hint="on Debian: apt-get install busybox-static")
    with open(program, "rb") as file:
        content = file.read()
    if _has_interpreter(content):
        raise NotFound(
            f"{program} is linked dynamically and would not run alone", hint="on Debian: apt-get install busybox-static"
        )
    applets = subprocess.run([program, "--list-full"], check=True, capture_output=True, text=True).stdout.split()
    mtime = int(os.stat(program).st_mtime) * 1_000_000_000
    staged = os.path.join(store.stage(), "fs")
    os.mkdir(staged, 0o755)
    writer = LayerWriter(staged, **_form())
    for path, mode in _BUSYBOX_DIRS:
        writer.add_dir(path, mode=mode, mtime=mtime)
    writer.add_file("bin/busybox", content, mode=0o755, mtime=mtime)
    for applet in sorted({_applet_path(path) for path in applets} - {"bin/busybox"}):
        up = "../" * applet.count("/")
        writer.add_symlink(applet, "busybox" if applet.startswith("bin/") else f"{up}bin/busybox", mtime=mtime)
    writer.add_file("etc/passwd", _USERS.encode(), mode=0o644, mtime=mtime)
    writer.add_file("etc/group", _GROUPS.encode(), mode=0o644, mtime=mtime)
    return _keep(store, staged, writer.finish(), name, "", "BOOTSTRAP busybox", cmd=("sh",), created=mtime)


def _applet_path(path: str) -> str:
    """Put an applet where a merged and an unmerged /usr both find it; `linuxrc` belongs to initial ram disks."""
    directory, _, base = path.lstrip("/").rpartition("/")
    return f"{directory if directory in ('bin', 'sbin', 'usr/bin', 'usr/sbin') else 'bin'}/{base}"


def _has_interpreter(elf: bytes) -> bool:
    """Whether an ELF program asks for a dynamic linker (a PT_INTERP header, elf(5))."""
    wide, order = elf[4] == 2, "little" if elf[5] == 1 else "big"

    def number(at: int, size: int) -> int:
        return int.from_bytes(elf[at : at + size], order)  # type: ignore[arg-type]

    start = number(32, 8) if wide else number(28, 4)
    size, count = (number(54, 2), number(56, 2)) if wide else (number(42, 2), number(44, 2))
    return any(number(start + index * size, 4) == 3 for index in range(count))


def _debian(store: Store, suite: str, name: str, *, own_sources: bool) -> str:
    sources = debian.own_sources(suite)
    hook = debian.hook(sources if own_sources and sources else debian.public_sources(suite))
    began = int(time.time())
    staged = os.path.join(store.stage(), "fs")
    with (
        file_system(suite, sources or debian.public_sources(suite), hook, epoch=began) as stream,
        meter.start(f"unpacking debian:{suite}") as moved,
    ):
        captured = _unpack(moved.reading(stream), staged)
    inventory, newest = debian.settle(captured.inventory, staged, began * SECOND)
    captured = captured._replace(inventory=inventory)
    return _keep(store, staged, captured, name, "", f"BOOTSTRAP debian:{suite}", cmd=("bash",), created=newest)


def _unpack(stream: IO[bytes], staged: str, limits: ArchiveLimits = DEFAULT_LIMITS) -> Captured:
    os.mkdir(staged, 0o755)
    return unpack(decompress(stream), staged, limits=limits, **_form())


def _form() -> _Form:
    """How layers are written here: without privileges, with other attributes, no devices and perhaps no owners."""
    return {"userxattr": uses_userxattr(), "owners": not has_single_id(), "devices": may_make_devices()}


def _copy_directory(rootfs: str, staged: str) -> Captured:
    """Copy a tree with owners, modes, times, hard links, holes and attributes, then look at the copy."""
    result = subprocess.run(["cp", "-a", "--", rootfs, staged], check=False, capture_output=True, text=True)
    if result.returncode:
        raise SourceError(f"{rootfs} cannot be copied: {result.stderr.strip()}")
    return capture(staged, (), userxattr=uses_userxattr())


def _keep(
    store: Store,
    staged: str,
    captured: Captured,
    name: str,
    platform: str,
    created_by: str,
    *,
    cmd: tuple[str, ...] = ("/bin/sh",),
    created: int | None = None,
) -> str:
    full = full_name(name)
    diff_id, size = measure(captured.inventory, staged)  # not those of the archive that was unpacked
    layer = store.layers.add(staged, captured.inventory, diff_id, size)
    moment = timestamp.to_text(layer.created if created is None else created)
    config = image_config.new(platforms.parse(platform) if platform else platforms.host())
    config = config.with_env("PATH", DEFAULT_PATH).with_cmd(cmd)
    config = config.with_layer(layer.diff_id, created_by, created=moment, comment="pybuild").with_created(moment)
    store.images.put(config.digest(), config.to_bytes(), config.diff_ids, [full])
    store.make_durable()
    return config.digest()
