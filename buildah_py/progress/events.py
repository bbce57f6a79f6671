"""The events of a build. The engine makes them; a sink is called with each one, from several threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py import meter

if TYPE_CHECKING:
    from collections.abc import Callable

HIT: Final = "hit"
RAN: Final = "ran"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"

FIRST_BUILD: Final = "no record: first build"
"""The reason of each step of a first build: people are told of it once."""

STDOUT: Final = 1
STDERR: Final = 2


class BuildStarted(NamedTuple):
    """First of all. `total` is the number of steps that the build needs, `build` its id."""

    total: int
    build: str = ""


class StepStarted(NamedTuple):
    """A step was taken up: looked up first, executed if need be.

    `id` counts the steps of a build from 1. `stage` is the stage's name (or number, or `""`), `number` of `total` the
    step's place in it (0 for steps without one, such as loading a context), `text` the instruction as written,
    `depends` the ids of the steps that it runs on and takes from.
    """

    id: int
    stage: str
    number: int
    total: int
    text: str
    depends: tuple[int, ...] = ()


class StepOutput(NamedTuple):
    """Bytes that a running step wrote to `stream`: any piece, not necessarily whole lines.

    STDOUT stands for both streams, in the order of what was written, where one pipe is all that a step has.
    """

    id: int
    stream: int
    data: bytes


class StepDone(NamedTuple):
    """A step came to an end: `outcome` is HIT, RAN, FAILED or CANCELLED.

    `reason` says why it had to run (`""` for a hit), or what failed; `same` that it ran and made what the record that
    it was compared with had led to, so that later steps can hit; `source` names the cache that a hit came from, `""`
    for the store. `seconds` is how long it took. `cpu` are the
    seconds of CPU time of a command with its children, `memory` the bytes that its largest process took, or all of them
    together where their memory was limited; both 0 where there was no command.
    """

    id: int
    outcome: str
    reason: str = ""
    seconds: float = 0.0
    cpu: float = 0.0
    memory: int = 0
    source: str = ""
    same: bool = False


IN_ENGINE: Final = "the engine has the image already"
"""The note of every build whose image an engine has."""


class Note(NamedTuple):
    """Something worth knowing that belongs to no step (or to step `id`)."""

    text: str
    id: int = 0


class Warning(NamedTuple):  # noqa: A001 - the field's word; used as events.Warning
    """Something that is probably not meant so."""

    text: str
    id: int = 0


class CacheRead(NamedTuple):
    """Use of a shared cache: steps that it spared, and the bytes read of its records and of its layers."""

    cache: str
    hits: int
    records: int
    layers: int


class CacheSent(NamedTuple):
    """Moved to a shared cache: blobs and bytes that were sent, and blobs that it had already."""

    cache: str
    blobs: int
    bytes: int
    known: int


class BuildDone(NamedTuple):
    """Last of all, if the build succeeded. `image` is the image's id, `names` what it is called now.

    `loaded` is the id that Docker or Podman has for it, "" where it was not loaded there.
    """

    image: str
    names: tuple[str, ...] = ()
    seconds: float = 0.0
    hits: int = 0
    ran: int = 0
    loaded: str = ""


class BuildFailed(NamedTuple):
    """The build did not succeed. The error itself is raised, and shown by the program's edge."""

    seconds: float = 0.0


class Error(NamedTuple):
    """Error that ended the build, for those who have nothing but the events: the program's edge makes it, last of all.

    `file`, `line` and `column` (from 1) say where in a build file that was, as far as it is known; `status` is the
    exit status.
    """

    message: str
    hint: str = ""
    file: str = ""
    line: int = 0
    column: int = 0
    status: int = 125


Event = (
    BuildStarted
    | StepStarted
    | StepOutput
    | StepDone
    | meter.Moved
    | Note
    | Warning
    | CacheRead
    | CacheSent
    | BuildDone
    | BuildFailed
    | Error
)

if TYPE_CHECKING:
    Sink = Callable[[Event], None]
