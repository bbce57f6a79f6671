"""Every error that pybuild raises on purpose, and the exit status that each one ends the program with.

PybuildError                   125  the builder itself could not do it
├── UsageError                   2  the command line is wrong
├── BuildFileError             125  the build file is wrong; knows file, line and column
├── StepFailed              status  a RUN ended with a status other than 0
├── Interrupted                130  the user, or whoever runs us, asked us to stop (SIGTERM: 143, SIGHUP: 129)
├── NotFound                   125  an image, a stage, a file of the context is not there
├── StoreError                 125  the state directory cannot be used
├── ArchiveError               125  a tar or a layer is damaged or hostile
├── ImageError                 125  an image's config, manifest or index is not what it has to be
├── SandboxError               125  the kernel refused something a container needs
├── NoSuchId                   125  a file cannot belong to a user or group that does not exist in this user namespace
├── SourceError                125  a build context cannot be read
│   └── SourceChanged          125  a file changed while it was read; trying again may help
├── LayersLost                 125  layers that a cache promised cannot be had, or are not what it said
├── HttpError                  125  a server cannot be reached, or leads where it must not; who asked says what for
├── CacheError                 125  a shared cache cannot be read or written, or says what cannot be
│   ├── CacheAway              125  it cannot be reached at the moment; trying again may help
│   └── ReadOnlyCache          125  a shared cache takes nothing from here; that it can be read is enough for a build
├── RegistryError              125  a registry refuses, lies, or cannot be reached
└── OutputError                125  a result cannot be written where it was asked for
"""

from __future__ import annotations

TYPE_CHECKING = False  # without `typing`: the small processes of the sandbox load this too
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from buildah_py.source_text import Source, Span

EXIT_USAGE = 2
EXIT_BUILDER = 125
EXIT_INTERRUPTED = 130


class PybuildError(Exception):
    """Base of the tree.

    `message` says what was wrong and where, `hint` (may be empty) what to do about it. `str()` gives both. `place` is
    where in a build file that was, its name and the line, if it was a step's fault.
    """

    exit_status = EXIT_BUILDER
    place: tuple[str, int] = ("", 0)

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[PybuildError], args: tuple[object, ...], attributes: dict[str, object]) -> PybuildError:
    """Make an error again that was pickled, whatever the constructor of its class takes."""
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


class UsageError(PybuildError):
    """The command line does not fit together."""

    exit_status = EXIT_USAGE


class BuildFileError(PybuildError):
    """A fault in a build file, shown with its line and a marker below the faulty characters.

    `others` are the further faults of the same file, in the order of the file; `str()` shows them too.
    """

    def __init__(
        self, message: str, source: Source, span: Span, *, hint: str = "", others: tuple[BuildFileError, ...] = ()
    ) -> None:
        super().__init__(message, hint=hint)
        self.source = source
        self.span = span
        self.others = others

    def __str__(self) -> str:
        start = self.span.start
        name, line = self.source.place(start.line)
        shown = f"{name}:{line}:{start.column}: {self.message}\n{self.source.excerpt(self.span)}"
        if self.hint:
            shown += f"\n  hint: {self.hint}"
        return "\n".join((shown, *map(str, self.others)))


class StepFailed(PybuildError):
    """A RUN ended with `status` (1 to 255; 128 + signal number when a signal ended it).

    `number` is the step's in the build, `short` the status in a word, `place` the instruction's file and line,
    `excerpt` its lines, numbered and marked, `last_lines` those of the output, `kept` the name under which the store
    keeps what it left, "" for nothing. For programs that use the library, `step` is the `buildah_py.BuildStep` that
    failed, and `output` the end of what it wrote.
    """

    def __init__(
        self,
        message: str,
        status: int,
        *,
        hint: str = "",
        short: str = "",
        number: int = 0,
        place: tuple[str, int] = ("", 0),
        excerpt: str = "",
        last_lines: tuple[str, ...] = (),
        kept: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.exit_status = status
        self.short = short
        self.number = number
        self.place = place
        self.excerpt = excerpt
        self.last_lines = last_lines
        self.kept = kept
        self.step: Any = None
        self.output = ""

    def __str__(self) -> str:
        shown = [self.message, self.excerpt]
        shown += [f"  hint: {self.hint}"] if self.hint else []
        shown += ["  hint: `pybuild shell --failed` opens a shell in what it left"] if self.kept else []
        return "\n".join(filter(None, shown))


class Interrupted(PybuildError):
    """SIGINT or SIGTERM arrived; whatever was running has been ended."""

    exit_status = EXIT_INTERRUPTED


class NotFound(PybuildError):
    """Something that was named does not exist."""


class StoreError(PybuildError):
    """The state directory is damaged, full, or not ours."""


class ArchiveError(PybuildError):
    """A tar archive or layer that must not be unpacked."""


class ImageError(PybuildError):
    """An image's metadata (digest, config, manifest, index) is malformed or contradicts itself."""


class SandboxError(PybuildError):
    """A container could not be made; `hint` names the kernel facility that was refused."""


class NoSuchId(PybuildError):
    """A user or group id that does not exist in this user namespace."""


class SourceError(PybuildError):
    """A build context or ADD source that cannot be read."""


class SourceChanged(SourceError):
    """A file of a context is no longer what it was when it was looked at: the step may be tried again."""


class LayersLost(PybuildError):
    """Layers that the store knew only by name cannot be had, or are not what was said of them: `diff_ids`.

    `untrue` says that they are here, and that what was said of them is not so.
    """

    untrue = False

    def __init__(self, message: str, diff_ids: Sequence[str], *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.diff_ids = tuple(diff_ids)


class HttpError(PybuildError):
    """A request that no retry would help; clients make their own errors of it, which say what it was for.

    `status` is the HTTP status of the answer, 0 where there was none.
    """

    def __init__(self, message: str, *, hint: str = "", status: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class CacheError(PybuildError):
    """A shared cache that cannot be read or written, or that says what cannot be."""


class CacheAway(CacheError):
    """A shared cache that cannot be reached at the moment, or has no time."""


class ReadOnlyCache(CacheError):
    """A shared cache that takes nothing from here, and says so before it is sent anything."""


class RegistryError(PybuildError):
    """An error of a registry, by its word or deed; the message names it and the reference.

    `status` is the HTTP status of its answer, 0 where there was none (or a wrong one): 404 for what it does not have.
    """

    def __init__(self, message: str, *, hint: str = "", status: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class OutputError(PybuildError):
    """A result that cannot be written."""
