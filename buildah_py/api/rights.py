"""Rights that only the command line gives: `--allow`, and what nobody may do without it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from buildah_py.errors import UsageError
from buildah_py.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from buildah_py.api.request import BuildRequest
    from buildah_py.outputs.spec import Output

DELETE: Final = "buildx.local.delete"
RIGHTS: Final = ("network.host", "security.insecure", "device", DELETE)
"""`device` is accepted as well: RUN --device asks for nothing that has to be allowed."""
_SHOWN: Final = 3
_MOST: Final = 10_000


def check_rights(words: Iterable[str]) -> None:
    """Refuse a right that does not exist. Raises UsageError."""
    for word in words:
        if word not in RIGHTS and not word.startswith("device="):
            hint = did_you_mean(word, RIGHTS) or f"the rights are {', '.join(RIGHTS)}"
            raise UsageError(f"--allow {word}: there is no such right", hint=hint)


def refuse_deletion(outputs: Sequence[Output], request: BuildRequest) -> None:
    """Refuse to empty a directory that is not the build's own, unless that was allowed. Raises UsageError.

    Of the build's own are directories below the working directory that hold neither a context nor the build file.
    """
    if DELETE in request.allow:
        return
    for output in outputs:
        if output.type != "local" or output.mode != "delete" or output.dest is None:
            continue
        place = os.path.realpath(output.dest)
        if why := _whose(place, request):
            raise UsageError(
                f"--output mode=delete: {output.dest} {why}{_at_stake(place)}",
                hint=f"name a directory that is for this output alone, or add --allow {DELETE}",
            )


def _whose(place: str, request: BuildRequest) -> str:
    """Say why a directory is not the build's to empty, "" where it is."""
    cwd = os.path.realpath(os.getcwd())
    if place == cwd:
        return "is the working directory"
    if _holds(place, cwd):
        return "holds the working directory"
    for path, noun in _read(request):
        if _holds(place, os.path.realpath(path)):
            return f"holds {noun}"
    return "" if _holds(cwd, place) else "lies outside of the working directory"


def _read(request: BuildRequest) -> Iterator[tuple[str, str]]:
    """Name what the build reads of this machine."""
    if request.context is not None:
        yield request.context, "the build context"
    if request.file is not None:
        yield request.file, "the build file"
        if request.context is not None:
            yield os.path.join(request.context, request.file), "the build file"
    for text in request.contexts:
        name, _, value = text.partition("=")
        yield value.removeprefix("oci-layout://"), f"the build context {name}"


def _holds(directory: str, path: str) -> bool:
    """Whether a path is `directory`, or lies below it."""
    return os.path.commonpath((directory, path)) == directory


def _at_stake(place: str) -> str:
    """Say which files are there now."""
    found: list[str] = []
    for directory, below, names in os.walk(place):
        below.sort()
        found += (os.path.relpath(os.path.join(directory, name), place) for name in sorted(names))
        if len(found) > _MOST:
            break
    if not found:
        return ""
    many = f"more than {_MOST}" if len(found) > _MOST else str(len(found))
    shown = ", ".join(found[:_SHOWN]) + (", …" if len(found) > _SHOWN else "")
    files = f"{many} file{'' if len(found) == 1 else 's'}"
    return f", and of the {files} there ({shown}) it would delete all that the build does not make"
