"""An image that builds images in place: this program with its interpreter, and the libraries of both, in one directory.

An image that is unpacked over its root brings nothing to that directory: the dynamic loader in it is executed by its
path and told where the libraries lie, and the interpreter takes modules from there alone.
"""

from __future__ import annotations

import importlib.metadata
import os
import py_compile
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
from typing import TYPE_CHECKING, Final

from buildah_py.errors import NotFound
from buildah_py.linux.interpreter import LOADER
from buildah_py.sandbox.rungs import PROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HOME: Final = "/pybuild"
"""The directory; images have none of that name."""
_DISTRIBUTION: Final = "buildah_py"
_LEFT_OUT: Final = frozenset(
    {"test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "site-packages", "dist-packages",
     "__pycache__", "pydoc_data"}
)  # fmt: skip
_MODULES_LEFT_OUT: Final = (
    "_tkinter.",
    "_test",
    "_ctypes_test.",
    "_xxtest",
    "xxlimited",
    "nis.",
    "ossaudiodev.",
    "_cffi.",
)
_LOOKED_UP: Final = ("libnss_dns.so.2", "libnss_files.so.2", "libresolv.so.2", "libseccomp.so.2", "libgcc_s.so.1")
"""Libraries that are loaded by their names alone."""
_CERTIFICATES: Final = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
_OF_IMAGES: Final = {
    b"/etc/ld.so.preload": b"/pybuild/nopreload",
    b"/etc/ld.so.cache": b"/pybuild/nocache",
    b"/etc/nsswitch.conf": b"/pybuild/nosswitch",
}
"""Files that the loader and the C library heed, and an image brings, with names of the same length that none has."""
_ENTRY: Final = """\
import sys
sys.path.insert(0, {packages!r})
{more}from buildah_py.cli import program
sys.exit(program())
"""
_KANIKO: Final = """\
if all(word.startswith("-") for word in sys.argv[1:2]):
    sys.argv.insert(1, "executor")
"""
"""As the image's entry point: options alone are kaniko's, a command before them is pybuild's."""
_EXECUTABLE: Final = 0o755
_SCRIPT: Final = '#!{home}/bin/sh\nexec {words} "$@"\n'
_GIT: Final = b"/usr/lib/git-core", b"/pybuild/git-core"
"""Where git looks for its parts, as it is compiled in, and a place of the same length."""
_BUILD_FILE: Final = """\
FROM scratch
COPY root /
ENV PATH={home}/bin
ENV BUILDAH_ISOLATION=in-place PYBUILD_ROOT={home}/state HOME={home}/home TMPDIR={home}/tmp
ENV DOCKER_CONFIG={home}/.docker OPENSSL_CONF={home}/etc/openssl.cnf LD_LIBRARY_PATH={home}/lib {certificates}
WORKDIR {home}/work
ENTRYPOINT {entry}
"""


def entry(script: str = "entry.py") -> list[str]:
    """Give the command line that starts a script of the image, such as that which is kaniko's program or pybuild."""
    lib = f"{HOME}/lib"
    return [f"{lib}/{LOADER}", "--library-path", lib, f"{HOME}/bin/python3", "-I", f"{HOME}/bin/{script}"]


def write_context(place: str, *, shell: bool) -> str:
    """Write what the image consists of into the empty directory `place`, and give its build file's text.

    With `shell` it has busybox, as sh and all else, for scripts of a CI. Raises NotFound where something of it is not
    on this machine, OSError.
    """
    root = f"{place}/root"
    home = root + HOME
    for name in ("bin", "lib/packages", "etc", "home", "tmp", "state", ".docker"):
        os.makedirs(f"{home}/{name}")
    for name in ("home", "state", "tmp", ".docker"):
        os.chmod(f"{home}/{name}", 0o700)
    for name in ("run", "tmp", "var"):
        os.mkdir(os.path.join(root, name))
    os.chmod(os.path.join(root, "tmp"), 0o1777)  # noqa: S103 - everybody's, as everywhere: PRoot 5.1 has no other place
    os.symlink("/run", f"{root}/var/run")  # where Kubernetes mounts credentials, and most images have this link
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    interpreter = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    shutil.copy(interpreter, f"{home}/bin/python3")
    standard = sysconfig.get_paths()["stdlib"]
    _copy_modules(standard, f"{home}/lib/{version}")
    for package in _packages():
        _copy_package(package, f"{home}/lib/packages")
    loader = _loader_of(interpreter)
    programs = [*_copy_git(home, loader), *_copy_proot(home, loader)]
    _copy_libraries(interpreter, home, programs)
    for name, more in (("pybuild.py", ""), ("entry.py", _KANIKO)):
        with open(f"{home}/bin/{name}", "w", encoding="ascii") as file:
            file.write(_ENTRY.format(packages=f"{HOME}/lib/packages", more=more))
    with open(f"{home}/etc/openssl.cnf", "w", encoding="ascii"):  # an image's could name modules to load
        pass
    certificates = next(filter(os.path.exists, _CERTIFICATES), "")
    if certificates:
        shutil.copyfile(certificates, f"{home}/etc/certificates.crt")
    if shell:
        _add_shell(home)
    import json

    named = f"SSL_CERT_FILE={HOME}/etc/certificates.crt" if certificates else ""
    return _BUILD_FILE.format(home=HOME, certificates=named, entry=json.dumps(entry()))


def _copy_modules(source: str, target: str) -> None:
    """Copy modules, each with what it compiles to, which holds whatever its time says."""
    for directory, names, files in os.walk(source):
        names[:] = [name for name in names if name not in _LEFT_OUT and not name.startswith("config-")]
        here = os.path.join(target, os.path.relpath(directory, source))
        os.makedirs(here, exist_ok=True)
        for name in files:
            if name.startswith(_MODULES_LEFT_OUT):
                continue
            path = f"{here}/{name}"
            shutil.copyfile(f"{directory}/{name}", path)
            if name.endswith(".py"):
                _compile(path)
    shutil.copymode(source, target)


def _compile(path: str) -> None:
    try:
        py_compile.compile(path, doraise=True, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    except py_compile.PyCompileError:  # an example of what cannot be
        return


def _packages() -> Iterator[str]:
    """Give the top modules and packages of this program, and of what it needs wherever it is installed."""
    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    yield own
    for name in ("docs", "grammar"):
        if os.path.isdir(f"{os.path.dirname(own)}/{name}") and not os.path.isdir(f"{own}/{name}"):
            yield f"{os.path.dirname(own)}/{name}"
    waiting, seen = [_DISTRIBUTION], {_DISTRIBUTION}
    while waiting:
        name = waiting.pop()
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            raise NotFound(f"the package {name} is not installed here", hint="install pybuild with pip") from None
        for line in distribution.requires or ():
            needed = re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]
            if needed not in seen and ";" not in line:  # what is for extras, or other systems
                seen.add(needed)
                waiting.append(needed)
        if distribution.metadata["Name"] != _DISTRIBUTION:
            tops = {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")}
            yield from (str(distribution.locate_file(top)) for top in sorted(tops) if not top.endswith(".pth"))


def _copy_package(path: str, packages: str) -> None:
    name = os.path.basename(path)
    own = os.path.dirname(os.path.abspath(__file__))
    if path.startswith(os.path.dirname(os.path.dirname(own)) + "/") and name in ("docs", "grammar"):
        _copy_modules(path, f"{packages}/buildah_py/{name}")
    elif os.path.isdir(path):
        _copy_modules(path, f"{packages}/{name}")
    elif os.path.exists(path):
        shutil.copyfile(path, f"{packages}/{name}")
        if name.endswith(".py"):
            _compile(f"{packages}/{name}")


def _copy_git(home: str, loader: str) -> list[str]:
    """Copy git, for contexts from repositories, where this machine has it; gives the programs that need libraries."""
    place, parts = shutil.which("git"), os.fsdecode(_GIT[0])
    remote = f"{parts}/git-remote-http"
    if place is None or not os.path.exists(remote) or _loader_of(place) != loader:
        return []
    os.makedirs(f"{home}/git-core")
    _copy_program(place, f"{home}/bin/git", loader)
    _copy_program(remote, f"{home}/git-core/git-remote-http", loader)
    os.symlink("git-remote-http", f"{home}/git-core/git-remote-https")
    os.symlink("../bin/git", f"{home}/git-core/git")
    return [place, remote]


def _copy_proot(home: str, loader: str) -> list[str]:
    """Copy PRoot, for pods that may not even have a root, where this machine has it; gives it as a program."""
    place = shutil.which(PROOT)
    if place is None or _loader_of(place) != loader:
        return []
    _copy_program(place, f"{home}/bin/{PROOT}", loader)
    return [place]


def _copy_program(source: str, target: str, loader: str) -> None:
    """Copy a program that has the loader of the image start it; it finds its libraries by LD_LIBRARY_PATH."""
    with open(source, "rb") as file:
        data = file.read()
    own = f"{HOME}/lib/{LOADER}".encode()
    named = loader.encode()
    if len(own) > len(named):
        raise NotFound(f"{source} has no room for the loader {os.fsdecode(own)} in place of {loader}")
    data = data.replace(named + b"\0", own.ljust(len(named) + 1, b"\0"), 1)
    data = data.replace(_GIT[0] + b"\0", _GIT[1] + b"\0")
    with open(target, "wb") as file:
        file.write(data)
    os.chmod(target, _EXECUTABLE)


def _copy_libraries(interpreter: str, home: str, programs: Sequence[str]) -> None:
    """Copy the dynamic loader, and all that it loads for the interpreter, its modules and programs. Raises NotFound."""
    loader = _loader_of(interpreter)
    _copy_deaf(os.path.realpath(loader), f"{home}/lib/{LOADER}")
    modules = [f"{directory}/{name}" for directory, _, files in os.walk(home) for name in files if ".so" in name]
    system = os.path.dirname(dict(_needed(loader, interpreter))["libc.so.6"])
    named = [f"{system}/{name}" for name in _LOOKED_UP if os.path.exists(f"{system}/{name}")]
    found = {os.path.basename(path): path for path in named}
    for program in programs:
        found |= dict(_needed(loader, program))
    for name, path in {**found, **dict(_needed(loader, interpreter, *modules, *named))}.items():
        _copy_deaf(os.path.realpath(path), f"{home}/lib/{name}")


def _copy_deaf(source: str, target: str) -> None:
    """Copy a library that heeds no file of an image."""
    with open(source, "rb") as file:
        data = file.read()
    for path, other in _OF_IMAGES.items():
        data = data.replace(path + b"\0", other + b"\0")
    with open(target, "wb") as file:
        file.write(data)
    shutil.copymode(source, target)


def _loader_of(program: str) -> str:
    """Read the dynamic loader that a program names; see elf(5), PT_INTERP. Raises NotFound."""
    with open(program, "rb") as file:
        head = file.read(4096)
    match = re.search(rb"/[\x21-\x7e]*/ld[-.][\x21-\x7e]*", head)
    if match is None or not os.path.exists(match[0]):
        hint = "use the Python of a distribution with glibc"
        raise NotFound(f"{program} names no dynamic loader that is here", hint=hint)
    return os.fsdecode(match[0])


def _needed(loader: str, program: str, *loaded: str) -> Iterator[tuple[str, str]]:
    """Give names and paths of the libraries that a program and what it has `loaded` need; see ld.so(8), --list.

    Raises NotFound for one that is not here.
    """
    asked = subprocess.run(
        [loader, "--preload", ":".join(loaded), "--list", program], capture_output=True, text=True, check=False
    )
    for line in asked.stdout.splitlines():
        name, arrow, rest = line.strip().partition(" => ")
        if not arrow or "/" in name:
            continue
        place = rest.partition(" (")[0]
        if not place.startswith("/"):
            raise NotFound(f"{program} needs {name}, which is not on this machine")
        yield name, place
    if asked.returncode:
        raise NotFound(f"the libraries of {program} cannot be listed: {asked.stderr.strip()}")


def _add_shell(home: str) -> None:
    """Add busybox, which is a program of its own, with all its names. Raises NotFound."""
    place = shutil.which("busybox")
    if place is None or _is_dynamic(place):
        raise NotFound("there is no static busybox on this machine", hint="install busybox-static")
    shutil.copy(place, f"{home}/bin/busybox")
    listed = subprocess.run([place, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for name in listed:
        if not os.path.lexists(f"{home}/bin/{name}"):
            os.symlink("busybox", f"{home}/bin/{name}")
    os.makedirs(f"{os.path.dirname(home)}/kaniko")
    scripts = {"pybuild/bin/pybuild": "", "kaniko/executor": " executor"}
    for path, command in scripts.items():
        with open(f"{os.path.dirname(home)}/{path}", "w", encoding="ascii") as file:
            file.write(_SCRIPT.format(home=HOME, words=" ".join(entry("pybuild.py")) + command))
            os.fchmod(file.fileno(), _EXECUTABLE)
    if not stat.S_IMODE(os.stat(f"{home}/bin/busybox").st_mode) & 0o111:
        raise NotFound(f"{place} cannot be executed")


def _is_dynamic(path: str) -> bool:
    with open(path, "rb") as file:
        return b"/ld-" in file.read(4096)  # where a program names the loader that it wants
