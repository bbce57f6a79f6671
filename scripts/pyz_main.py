"""The start of pybuild.pyz.

Compiled modules cannot be loaded from an archive, nor do the interpreters that pybuild starts look into one: the first
run unpacks it below the user's cache directory, and the program is started from there.
"""

import os
import stat
import sys
import tempfile
import zipfile


def main(digest: str, *versions: str) -> int:
    """Be pybuild. `digest` is that of the content, `versions` are the Pythons that it has compiled modules for."""
    if ".".join(map(str, sys.version_info[:2])) not in versions:
        sys.exit(f"pybuild.pyz holds what Python {', '.join(versions)} need, and this is {sys.version.split()[0]}")
    place = os.path.join(_caches(), "pybuild", f"pyz-{digest[:16]}-{sys.implementation.cache_tag}")
    try:
        if not os.path.isdir(place):
            _unpack(os.path.abspath(sys.path[0]), place)
        found = os.stat(place)
    except OSError as error:
        sys.exit(f"pybuild.pyz cannot be unpacked to {place}: {error.strerror}; XDG_CACHE_HOME names another directory")
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o022:
        sys.exit(f"pybuild.pyz: {place} belongs to somebody else, or can be written by others; remove it")
    sys.path[0] = place
    from buildah_py.cli import program  # noqa: PLC0415

    return program()


def _caches() -> str:
    named = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(named):
        return named
    return "/var/cache" if os.geteuid() == 0 else os.path.expanduser("~/.cache")


def _unpack(archive: str, place: str) -> None:
    """Unpack what this Python uses of the archive; several processes may do so at once."""
    os.umask(0o022)
    os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=os.path.dirname(place)) as unpacked, zipfile.ZipFile(archive) as file:
        ours = f".{sys.implementation.cache_tag}-"
        names = [name for name in file.namelist() if ".cpython-" not in name or ours in name]
        file.extractall(f"{unpacked}/new", names)
        try:
            os.rename(f"{unpacked}/new", place)
        except OSError:
            if not os.path.isdir(place):
                raise
