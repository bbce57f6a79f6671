"""History of builds: the records that builds leave beside the output of their steps, and what the steps printed."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from buildah_py.errors import NotFound, StoreError
from buildah_py.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DONE: Final = "done"
FORMAT: Final = "pybuild build"
RECORD: Final = "build.json"
_VERSION: Final = 1
_SHORTEST: Final = 4  # digits of an id that stand for all of it


class PastStep(NamedTuple):
    """A step of a build that is over. Times are seconds since the build began; `bytes` those of its layers' tars.

    `outcome` is that of the step's last event, "" for one that the build never came to; `kind` its operation, `from`
    for a base image. `depends` are the ids of the steps that it runs on and reads.
    """

    id: int
    stage: str
    number: int
    total: int
    text: str
    line: int
    kind: str
    depends: tuple[int, ...]
    outcome: str
    start: float
    end: float
    bytes: int
    layer: str
    reason: str = ""
    same: bool = False
    source: str = ""
    cpu: float = 0.0
    memory: int = 0

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.start


class Phase(NamedTuple):
    """A part of a build's time: `prepare`, `steps`, `image`, `outputs`, `durable` or `cache`."""

    name: str
    start: float
    end: float


class PastTransfer(NamedTuple):
    """Something that was moved for a step, or for none (0): `what` begins with a verb, `done` counts `unit` of it."""

    step: int
    what: str
    start: float
    end: float
    done: int
    unit: str


@dataclass(frozen=True, slots=True)
class PastBuild:
    """A build that is over. `created` is when it began (seconds since 1970), `directory` where its files are.

    `outcome` is DONE, `failed` or `cancelled`, `error` what it failed of. `warnings` and `notes` come with the steps
    that they are about, 0 for none.
    """

    id: str
    created: float
    seconds: float
    outcome: str
    error: str
    file: str
    context: str
    target: str
    platform: str
    names: tuple[str, ...]
    image: str
    steps: tuple[PastStep, ...]
    phases: tuple[Phase, ...]
    caches: tuple[Mapping[str, Any], ...]
    transfers: tuple[PastTransfer, ...]
    warnings: tuple[tuple[int, str], ...]
    notes: tuple[tuple[int, str], ...]
    directory: str = ""

    def count(self, outcome: str) -> int:
        """Say how many steps came to such an end, base images left out."""
        return sum(step.outcome == outcome for step in self.steps if step.kind != "from")

    def log(self, step: int) -> str:
        """Return the file that holds what the step printed, "" where it printed nothing."""
        path = os.path.join(self.directory, f"{step}.log")
        return path if os.path.isfile(path) else ""


def builds(root: str) -> Iterator[PastBuild]:
    """Go through the builds that the store at `root` remembers, the latest first."""
    logs = os.path.join(root, "logs")
    try:
        names = sorted(os.listdir(logs), reverse=True)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"{logs}: {error.strerror}") from error
    for name in names:
        try:
            yield read_build(os.path.join(logs, name, RECORD))
        except NotFound:  # of a build that is still under way, or of something else that has logs
            continue


def find_build(root: str, word: str = "") -> PastBuild:
    """Return the build that a person names; the last one by default. Raises NotFound.

    `word` is an id or the beginning of one, `^N` for the one N builds before the last, or a name that the image was
    given.
    """
    number = word.removeprefix("^")
    back = 0 if not word else int(number) if number != word and number.isdecimal() else None
    for place, build in enumerate(builds(root)):
        if _is_called(build, word) if back is None else place == back:
            return build
    if not word:
        raise NotFound("no build is remembered here")
    raise NotFound(f"there is no build `{word}`", hint="`pybuild builds` lists those that are remembered")


def find_step(build: PastBuild, word: str) -> PastStep:
    """Return the step of a build that a person names: by `3` or `#3`, or `STAGE/NUMBER`. Raises NotFound."""
    number = word.removeprefix("#")
    stage, _, place = word.rpartition("/")
    for step in build.steps:
        if number == str(step.id) or (stage and stage == step.stage and place == str(step.number)):
            return step
    raise NotFound(
        f"the build {build.id} has no step `{word}`", hint=f"it has {len(build.steps)}; or write STAGE/NUMBER"
    )


def is_step(word: str) -> bool:
    """Whether a word names a step rather than a build: ids of builds begin with a letter."""
    number = word.removeprefix("#")
    return number.isdecimal() or ("/" in word and word.rpartition("/")[2].isdecimal())


def _is_called(build: PastBuild, word: str) -> bool:
    if len(word) >= _SHORTEST and build.id.startswith(word):
        return True
    return word in build.names or f"{word}:latest" in build.names


def read_build(path: str) -> PastBuild:
    """Read a record. Raises NotFound where there is none that this pybuild understands."""
    try:
        with open(path, "rb") as file:
            raw = json.load(file)
        if raw["format"] != FORMAT or raw["version"] != _VERSION:
            raise NotFound(f"{path} is of another pybuild")
        return _read(raw, os.path.dirname(path))
    except OSError as error:
        raise NotFound(f"{path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise NotFound(f"{path} is not the record of a build") from error


def _read(raw: Mapping[str, Any], directory: str) -> PastBuild:
    plain = ("id", "outcome", "error", "file", "context", "target", "platform", "image")
    return PastBuild(
        **{name: str(raw[name]) for name in plain},
        created=float(raw["created"]),
        seconds=float(raw["seconds"]),
        names=tuple(map(str, raw["names"])),
        steps=tuple(PastStep(**{**step, "depends": tuple(step["depends"])}) for step in raw["steps"]),
        phases=tuple(Phase(str(one["name"]), float(one["start"]), float(one["end"])) for one in raw["phases"]),
        caches=tuple(raw["caches"]),
        transfers=tuple(PastTransfer(**one) for one in raw["transfers"]),
        warnings=tuple((int(one["step"]), str(one["text"])) for one in raw["warnings"]),
        notes=tuple((int(one["step"]), str(one["text"])) for one in raw["notes"]),
        directory=directory,
    )


def as_data(build: PastBuild) -> dict[str, object]:
    """Return a build as plain data, as its record has it."""
    named = ("id", "created", "seconds", "outcome", "error", "file", "context", "target", "platform", "names", "image")
    return {
        **{name: getattr(build, name) for name in named},
        "steps": [step._asdict() for step in build.steps],
        "phases": [phase._asdict() for phase in build.phases],
        "caches": list(build.caches),
        "transfers": [one._asdict() for one in build.transfers],
        "warnings": [{"step": step, "text": text} for step, text in build.warnings],
        "notes": [{"step": step, "text": text} for step, text in build.notes],
    }
