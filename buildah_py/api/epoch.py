"""SOURCE_DATE_EPOCH: no time in an image is later (reproducible-builds.org/specs/source-date-epoch).

The command line, the environment or a global ARG of the build file says it: seconds since 1970, or `context` for the
time of the main context.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from buildah_py.buildfile.expand import ExpansionError, expand
from buildah_py.buildfile.variables import EPOCH, EPOCH_OF_CONTEXT, is_epoch
from buildah_py.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from buildah_py.api.request import BuildRequest
    from buildah_py.buildfile.tree import BuildFile
    from buildah_py.contexts.main import MainContext

Epoch = int | Literal["context"]

HINT: Final = f"it is a number of seconds since 1970, or `{EPOCH_OF_CONTEXT}`"


def read_epoch(option: str | None, build_args: Mapping[str, str], environ: Mapping[str, str]) -> Epoch | None:
    """Read the option, a build argument or the environment; None where nobody does. Raises UsageError."""
    text = option if option is not None else build_args.get(EPOCH, environ.get(EPOCH, ""))
    if not is_epoch(text):
        raise UsageError(f"{EPOCH} is `{text}`", hint=HINT)
    return _read(text)


def _read(text: str) -> Epoch | None:
    if text == EPOCH_OF_CONTEXT:
        return "context"
    return int(text) if text else None


class Settled(NamedTuple):
    """Values that are known when the build file and its context are: the epoch, and the build arguments with it."""

    epoch: int | None
    build_args: Mapping[str, str]


def settle_epoch(
    request: BuildRequest, main: MainContext, build_file: BuildFile, warn: Callable[[str], object]
) -> Settled:
    """Take what the request does not say from the build file, and the context's time from the context."""
    epoch: Epoch | None = "context" if request.epoch_of_context else request.epoch
    if epoch is None and EPOCH not in request.build_args and request.outputs.shape.timestamp is None:
        epoch = _of_file(build_file, request.build_args)
    if epoch != "context":
        return Settled(epoch, request.build_args)
    found = main.time()
    build_args = {name: value for name, value in request.build_args.items() if name != EPOCH}
    if found is None:
        warn(f"{EPOCH} is {EPOCH_OF_CONTEXT}, and this context has no time of its own: it is left unset")
        if not request.epoch_of_context:
            build_args[EPOCH] = ""  # or steps would see the file's default
    else:
        build_args[EPOCH] = str(found)
    return Settled(found, build_args)


def _of_file(build_file: BuildFile, build_args: Mapping[str, str]) -> Epoch | None:
    """Read the default of a global ARG; one that is not a time is refused when the file is walked."""
    values: dict[str, str] = {}
    for argument in (one for arg in build_file.arguments for one in arg.arguments):
        try:
            if argument.name in build_args:
                values[argument.name] = build_args[argument.name]
            elif argument.default is not None:
                values[argument.name] = expand(argument.default.text, values, build_file.directives.escape)
        except ExpansionError:
            return None
    text = values.get(EPOCH, "")
    return _read(text) if is_epoch(text) else None
