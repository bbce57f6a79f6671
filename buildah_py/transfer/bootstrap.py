"""Base images without a registry: from a root file system, from this machine's busybox, from its apt sources."""

from __future__ import annotations

import os
import platform as machine
import subprocess
import sys
from typing import TYPE_CHECKING, TypedDict

from buildah_py import meter
from buildah_py.errors import NotFound, PybuildError, SourceError, UsageError
from buildah_py.image import config as image_config
from buildah_py.image import platform as platforms
from buildah_py.image import timestamp
from buildah_py.image.config import DEFAULT_PATH
from buildah_py.layers.apply import unpack
from buildah_py.layers.capture import capture
from buildah_py.layers.compression import decompress
from buildah_py.layers.limits import DEFAULT_LIMITS, ArchiveLimits
from buildah_py.layers.tar import measure
from buildah_py.layers.writer import LayerWriter
from buildah_py.linux.identity import has_single_id, in_user_namespace
from buildah_py.store.names import full_name

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
_REMOVE = "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"
_DEBIAN_FILES = {
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
_DEBIAN_PROGRAM = "usr/sbin/policy-rc.d"
_OF_THIS_MACHINE = ("etc/hostname", "etc/resolv.conf")
"""Files that mmdebstrap takes along: images are not published with it, and the same packages are the same layer."""
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


def bootstrap(store: Store, what: str, name: str = "") -> str:
    """Make `busybox` or `debian[:SUITE]`, called `name` (default: what was asked for); the image's id."""
    distribution, _, suite = what.partition(":")
    if distribution == "busybox" and not suite:
        return _busybox(store, name or "busybox")
    if distribution == "debian":
        suite = suite or _own_suite()
        with meter.start(f"bootstrapping debian:{suite}", waits=True) as moved:
            return _debian(store, suite, name or f"debian:{suite}", moved)
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


def _debian(store: Store, suite: str, name: str, moved: meter.Meter) -> str:
    from shutil import which

    if which("mmdebstrap") is None:
        raise NotFound("mmdebstrap is not installed", hint="on Debian: apt-get install mmdebstrap")
    sources = _apt_sources(suite)
    command = ["mmdebstrap", "--variant=minbase", "--format=tar", "--quiet", f"--customize-hook={_customize()}"]
    command += [suite, "-", *(["-"] if sources else [])]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "SOURCE_DATE_EPOCH": "0"}
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(sources.encode())
        process.stdin.close()
        staged = os.path.join(store.stage(), "fs")
        try:
            captured = _unpack(moved.reading(process.stdout), staged)
        except PybuildError:
            process.stdout.close()
            if process.wait() == 0:
                raise
            captured = None
        status = process.wait()
    if status or captured is None:
        raise PybuildError(f"mmdebstrap {suite} ended with status {status}", hint="its own words stand above")
    return _keep(store, staged, captured, name, "", f"BOOTSTRAP debian:{suite}", cmd=("bash",))


def _customize() -> str:
    """Give a shell script that makes a root file system at `$1` an image's."""
    from shlex import quote

    lines = ["set -e", 'cd "$1"', f"rm -f {' '.join(_OF_THIS_MACHINE)}"]
    lines += (f"printf %s {quote(text)} > {path}" for path, text in _DEBIAN_FILES.items())
    return "\n".join([*lines, f"chmod 755 {_DEBIAN_PROGRAM}"])


def _own_suite() -> str:
    release = machine.freedesktop_os_release()
    if release.get("ID") == "debian" and "VERSION_CODENAME" in release:
        return release["VERSION_CODENAME"]
    return "stable"


def _apt_sources(suite: str) -> str:
    """Collect this machine's own archives of `suite` (sources.list(5)) as one-line entries; empty where it has none."""
    listing = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"],
        check=False,
        capture_output=True,
        text=True,
    ).stdout
    lines = []
    for line in dict.fromkeys(listing.splitlines()):
        release, component, uri = line.split()
        if release == suite or release.startswith(f"{suite}-"):
            lines.append(f"deb {uri} {release} {component}\n")
    return "".join(lines)


def _unpack(stream: IO[bytes], staged: str, limits: ArchiveLimits = DEFAULT_LIMITS) -> Captured:
    os.mkdir(staged, 0o755)
    return unpack(decompress(stream), staged, limits=limits, **_form())


def _form() -> _Form:
    """How layers are written here: without privileges, with other attributes, no devices and perhaps no owners."""
    nested = in_user_namespace()
    return {"userxattr": nested, "owners": not has_single_id(), "devices": not nested}


def _copy_directory(rootfs: str, staged: str) -> Captured:
    """Copy a tree with owners, modes, times, hard links, holes and attributes, then look at the copy."""
    result = subprocess.run(["cp", "-a", "--", rootfs, staged], check=False, capture_output=True, text=True)
    if result.returncode:
        raise SourceError(f"{rootfs} cannot be copied: {result.stderr.strip()}")
    return capture(staged, (), userxattr=in_user_namespace())


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
