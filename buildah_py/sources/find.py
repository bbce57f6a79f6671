"""Which build file a build takes, and which ignore file applies to its context."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.buildfile.ignore import IgnorePatterns
from buildah_py.errors import NotFound, SourceError
from buildah_py.linux.paths import openat2

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BUILD_FILES: Final = ("Buildfile", "Dockerfile", "dockerfile", "Containerfile")
IGNORE_FILES: Final = (".containerignore", ".dockerignore")
_MAX_BYTES: Final = 16 << 20


class FoundFile(NamedTuple):
    """A file that was found: its name for messages, where it is (`""` where it has no path), and its bytes."""

    name: str
    path: str
    data: bytes


def find_build_file(
    context: str | None, file: str | None = None, *, cwd: str | None = None, inside: bool = False
) -> FoundFile:
    """Find the build file: `file` as the user gave it, else the first of `BUILD_FILES` in the directory `context`.

    A given path is relative to `cwd`, or else to the context. A default in the context may be a symbolic link, but only
    to something inside of it. With `inside`, for contexts that came from elsewhere, that holds for a given path too,
    which is relative to the context, and messages do not say where that lies. Raises NotFound, naming what is there
    instead, and SourceError for what cannot be read.
    """
    if inside and context is not None:
        return _inside(context, file)
    if file is not None:
        return _given(build_file_places(context, file, cwd=cwd), file)
    if context is None:
        raise NotFound("there is no build file", hint="name it with -f FILE")
    root = _open_context(context)
    try:
        for name in BUILD_FILES:
            data = _read_inside(root, name, f"{context}/{name}")
            if data is not None:
                return FoundFile(os.path.normpath(f"{context}/{name}"), os.path.abspath(f"{context}/{name}"), data)
        names = os.listdir(root)
    finally:
        os.close(root)
    raise NotFound(f"there is no build file in {context} (looked for {', '.join(BUILD_FILES)})", hint=_nearest(names))


def find_directory(root: str, inside: str, shown: str) -> str:
    """Return the directory `inside` of what came from elsewhere; each part has to be a real directory.

    Raises NotFound, which calls `root` as `shown`.
    """
    path = root
    for part in inside.split("/"):
        if part in ("", "."):
            continue
        path = os.path.join(path, part)
        if part == ".." or not os.path.isdir(path) or os.path.islink(path):
            raise NotFound(f"{shown} has no directory {inside}")
    return path


def _inside(context: str, file: str | None) -> FoundFile:
    root = _open_context(context)
    try:
        for name in BUILD_FILES if file is None else (file,):
            data = _read_inside(root, name, name)
            if data is not None:
                return FoundFile(name, os.path.normpath(f"{os.path.abspath(context)}/{name}"), data)
        names = os.listdir(root)
    finally:
        os.close(root)
    if file is not None:
        raise NotFound(f"the context has no build file {file}", hint=_nearest(names, os.path.basename(file)))
    raise NotFound(f"the context has no build file (looked for {', '.join(BUILD_FILES)})", hint=_nearest(names))


def build_file_places(context: str | None, file: str | None = None, *, cwd: str | None = None) -> list[str]:
    """Give the paths at which `find_build_file` looks, in this order, where the context is of this machine."""
    if file is None:
        return [] if context is None else [f"{context}/{name}" for name in BUILD_FILES]
    cwd = cwd or os.getcwd()
    candidates = [os.path.join(cwd, file)]
    if context is not None and not os.path.isabs(file):
        candidates.append(os.path.join(cwd, context, file))
    return candidates


def ignore_file_places(context: str, build_file: str | None = None, ignore_file: str = "") -> list[str]:
    """Give the paths at which `find_ignore` looks, in this order, where the context is of this machine."""
    if ignore_file:
        return [ignore_file]
    beside = [f"{build_file}.dockerignore"] if build_file else []
    return beside + [f"{context}/{name}" for name in IGNORE_FILES]


def include_reader(directory: str) -> Callable[[str], tuple[str, bytes]]:
    """Give what reads the files that a build file in `directory` includes: by their paths, which stay below it."""

    def read(path: str) -> tuple[str, bytes]:
        if os.path.isabs(path) or os.path.normpath(path).split("/")[0] == "..":
            raise NotFound("it lies outside of the build file's directory")
        root = _open_context(directory)
        try:
            data = _read_inside(root, path, path)
        finally:
            os.close(root)
        if data is None:
            raise NotFound(os.strerror(errno.ENOENT))
        return path, data

    return read


def find_ignore(
    context: str, build_file: str | None = None, *, ignore_file: str | None = None, inside: bool = False
) -> IgnorePatterns | None:
    """Read the ignore file that applies to the directory `context`; None where there is none.

    That is `ignore_file` if one is given, else `BUILD_FILE.dockerignore` beside the build file (a path), else
    `.containerignore`, else `.dockerignore` in the context. Only one counts. One in the context may be a symbolic link,
    but only to something inside of it; with `inside`, for contexts that came from elsewhere, this holds for the one
    beside the build file too. Raises SourceError for a malformed pattern, NotFound for a given file that is not there.
    """
    if ignore_file is not None:
        found = _read(ignore_file)
        if found is None:
            raise NotFound(f"the ignore file {ignore_file} does not exist")
        return _patterns(ignore_file, found)
    if build_file:
        found = _beside(context, build_file) if inside else _read(build_file + ".dockerignore")
        if found is not None:
            return _patterns(os.path.basename(build_file) + ".dockerignore", found)
    root = _open_context(context)
    try:
        for name in IGNORE_FILES:
            found = _read_inside(root, name, f"{context}/{name}")
            if found is not None:
                return _patterns(name, found)
    finally:
        os.close(root)
    return None


def _beside(context: str, build_file: str) -> bytes | None:
    path = os.path.relpath(build_file + ".dockerignore", context)
    root = _open_context(context)
    try:
        return _read_inside(root, path, path)
    finally:
        os.close(root)


def _patterns(name: str, data: bytes) -> IgnorePatterns:
    return IgnorePatterns(data.decode("utf-8", "surrogateescape").replace("\r\n", "\n").split("\n"), name=name)


def _given(candidates: Sequence[str], file: str) -> FoundFile:
    for path in candidates:
        data = _read(path)
        if data is not None:
            return FoundFile(file, os.path.abspath(path), data)
    folders = [folder for path in candidates if os.path.isdir(folder := os.path.dirname(path))]
    names = [name for folder in reversed(folders) for name in os.listdir(folder)]
    raise NotFound(f"the build file {file} does not exist", hint=_nearest(names, os.path.basename(file)))


def _nearest(names: Sequence[str], wanted: str = "Buildfile") -> str:
    from buildah_py.suggest import did_you_mean

    names = sorted(names)
    usual = ("buildfile", "dockerfile", "containerfile")
    likely = next((f"did you mean -f {name}?" for name in names if name.casefold().startswith(usual)), "")
    return did_you_mean(wanted, names, prefix="-f ", fold=True) or likely or "name it with -f FILE"


def _open_context(context: str) -> int:
    try:
        return os.open(context, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(
            f"the build context {context} does not exist", hint="give a directory, or `.` for this one"
        ) from None
    except OSError as error:
        raise SourceError(f"the build context {context} cannot be opened: {error.strerror}") from error


def _read_inside(root: int, name: str, shown: str) -> bytes | None:
    """Read a file of the context; a symbolic link is followed with the context as its root."""
    try:
        descriptor = openat2(root, name, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise SourceError(f"{shown} cannot be read: {error.strerror}") from error
        try:
            link = os.readlink(name, dir_fd=root)
        except OSError:
            return None
        raise SourceError(
            f"{shown} is a symbolic link to {link}, which leads to nothing inside of the context",
            hint="links cannot lead out of the context: name the build file itself with -f",
        ) from None
    return _take(descriptor, shown, regular=True)


def _read(path: str) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # may be a pipe, as <(...) gives
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    return _take(descriptor, path)


def _take(descriptor: int, shown: str, *, regular: bool = False) -> bytes:
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISDIR(mode) or (regular and not stat.S_ISREG(mode)):
        os.close(descriptor)
        what = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
        raise SourceError(f"{shown} is {what}", hint="name the build file itself with -f")
    with open(descriptor, "rb") as file:
        try:
            data = file.read(_MAX_BYTES + 1)
        except OSError as error:
            raise SourceError(f"{shown} cannot be read: {error.strerror}") from error
    if len(data) > _MAX_BYTES:
        raise SourceError(f"{shown} is larger than {_MAX_BYTES >> 20} MiB: that is not a build file")
    return data
