"""A project that is edited and built again and again: steps that know of each other, rendered as a build file."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from .inputs import CONTEXT, Build, Dir, File, Node, Tar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Plain(NamedTuple):
    """An instruction.

    `@S` in it is an earlier stage, number `ref` modulo their count, or in the first stage the base image; `@M` a cache
    mount that has the owner and mode of the first slot.
    """

    text: str
    ref: int = 0


class Dated(NamedTuple):
    """A RUN that gives something a time on purpose, and one that looks whether it kept it."""

    path: str
    seconds: int


class Writer(NamedTuple):
    """A RUN that fills the cache mount of a slot; `bind` says with what of the context or of an earlier stage."""

    slot: int
    bind: str = ""
    ref: int = 0
    path: str = ""
    """Where a reader that follows at once puts it."""


class Reader(NamedTuple):
    """A RUN that copies what the writer put there to `path`. Without a writer before it, it is left out."""

    slot: int
    path: str = "/r"


Step = Plain | Dated | Writer | Reader


class Slot(NamedTuple):
    """What the mounts of a slot say of their owner and mode."""

    uid: int = 0
    gid: int = 0
    mode: int = 0o755

    def options(self, number: int) -> str:
        """Write the mount's options."""
        owner = "".join(f",{name}={value}" for name, value in (("uid", self.uid), ("gid", self.gid)) if value)
        mode = f",mode={self.mode:04o}" if self.mode != 0o755 else ""
        return f"type=cache,id=c{number},target=/m{owner}{mode}{',sharing=locked' if number else ''}"


BASE, ONBUILD = -1, -2


class Stage(NamedTuple):
    """A stage; `base` is an earlier one by its number, BASE, or ONBUILD for the image with triggers."""

    steps: tuple[Step, ...]
    base: int = BASE


class Project(NamedTuple):
    """Everything that is edited. `triggers` are the instructions behind ONBUILD in the base image."""

    stages: tuple[Stage, ...]
    files: Mapping[str, Node] = CONTEXT
    args: Mapping[str, str] = MappingProxyType({})
    triggers: tuple[Plain, ...] = ()
    slots: tuple[Slot, Slot] = (Slot(), Slot())
    epoch: int | None = None
    rewrite: bool = False


# Edits


class Insert(NamedTuple):
    """Put a step in; numbers count modulo what there is."""

    stage: int
    place: int
    step: Step

    def apply(self, project: Project) -> Project:
        """Give the project with it."""
        stage, steps = _steps(project, self.stage)
        place = self.place % (len(steps) + 1)
        return _with(project, stage, (*steps[:place], self.step, *steps[place:]))


class Delete(NamedTuple):
    """Take a step out."""

    stage: int
    place: int

    def apply(self, project: Project) -> Project:
        """Give the project without it."""
        stage, steps = _steps(project, self.stage)
        place = self.place % (len(steps) or 1)
        return _with(project, stage, (*steps[:place], *steps[place + 1 :]))


class Replace(NamedTuple):
    """Put another step in the place of one."""

    stage: int
    place: int
    step: Step

    def apply(self, project: Project) -> Project:
        """Give the project with it."""
        return Insert(self.stage, self.place, self.step).apply(Delete(self.stage, self.place).apply(project))


class Swap(NamedTuple):
    """Exchange a step and the next one."""

    stage: int
    place: int

    def apply(self, project: Project) -> Project:
        """Give the project with that."""
        stage, steps = _steps(project, self.stage)
        place = self.place % max(len(steps) - 1, 1)
        return _with(project, stage, (*steps[:place], *reversed(steps[place : place + 2]), *steps[place + 2 :]))


class Again(NamedTuple):
    """Have a step a second time, at the end."""

    stage: int
    place: int

    def apply(self, project: Project) -> Project:
        """Give the project with that."""
        stage, steps = _steps(project, self.stage)
        return _with(project, stage, (*steps, *steps[self.place % (len(steps) or 1) :][:1]))


class Redate(NamedTuple):
    """Change the times that a stage sets on purpose."""

    stage: int
    seconds: int

    def apply(self, project: Project) -> Project:
        """Give the project with that."""
        stage, steps = _steps(project, self.stage)
        return _with(project, stage, tuple(map(self._redate, steps)))

    def _redate(self, step: Step) -> Step:
        if isinstance(step, Dated):
            return step._replace(seconds=self.seconds)
        if isinstance(step, Plain):
            return step._replace(text=re.sub(r"(?<=-d )@\d+", f"@{self.seconds}", step.text))
        return step


class Put(NamedTuple):
    """Change a file of the context; None takes it away with all below it."""

    path: str
    node: Node | None

    def apply(self, project: Project) -> Project:
        """Give the project with that."""
        below = f"{self.path}/"
        kept = {path: node for path, node in project.files.items() if path != self.path and not path.startswith(below)}
        if isinstance(self.node, Dir):
            kept = {path: node for path, node in project.files.items() if path != self.path}
        if self.node is not None:
            parents = {self.path[: end.start()] for end in re.finditer("/", self.path)}
            kept = {path: node for path, node in kept.items() if path not in parents or isinstance(node, Dir)}
            kept |= {self.path: self.node}
        return project._replace(files=kept)


class Change(NamedTuple):
    """Change one field of a node of the context, where it is there and has that field."""

    path: str
    field: str
    value: object

    def apply(self, project: Project) -> Project:
        """Give the project with that."""
        node = project.files.get(self.path)
        if node is None or self.field not in node._fields:
            return project
        kind: Callable[..., Node] = type(node)
        return project._replace(files={**project.files, self.path: kind(**{**node._asdict(), self.field: self.value})})


class Argument(NamedTuple):
    """Give a build argument, or no more."""

    name: str
    value: str | None

    def apply(self, project: Project) -> Project:
        """Give the project with that."""
        rest = {name: value for name, value in project.args.items() if name != self.name}
        return project._replace(args=rest if self.value is None else {**rest, self.name: self.value})


class Epoch(NamedTuple):
    """Set SOURCE_DATE_EPOCH, with or without rewriting time stamps."""

    epoch: int | None
    rewrite: bool

    def apply(self, project: Project) -> Project:
        """Give the project with that."""
        return project._replace(epoch=self.epoch, rewrite=self.rewrite and self.epoch is not None)


class Mounts(NamedTuple):
    """Change what the mounts of a slot say of owner and mode."""

    number: int
    slot: Slot

    def apply(self, project: Project) -> Project:
        """Give the project with that."""
        one, two = project.slots
        return project._replace(slots=(one, self.slot) if self.number else (self.slot, two))


class Trigger(NamedTuple):
    """Change what stands behind ONBUILD in the base image."""

    triggers: tuple[Plain, ...]

    def apply(self, project: Project) -> Project:
        """Give the project with that."""
        return project._replace(triggers=self.triggers)


Edit = (
    Insert | Delete | Replace | Swap | Again | Redate | Put | Change | Argument | Epoch | Mounts | Trigger
)  # fmt: skip


def _steps(project: Project, stage: int) -> tuple[int, tuple[Step, ...]]:
    number = stage % len(project.stages)
    return number, project.stages[number].steps


def _with(project: Project, number: int, steps: tuple[Step, ...]) -> Project:
    stages = list(project.stages)
    stages[number] = stages[number]._replace(steps=steps)
    return project._replace(stages=tuple(stages))


# What cache mounts hold

_Mount = tuple[int, Slot]
_Value = tuple[object, ...]


class Filling(NamedTuple):
    """What the writer of a slot does: its mount, what it writes beside its text, whether that is known, its stage."""

    slot: Slot
    value: _Value
    known: bool
    stage: int


class Mounted:
    """What the cache mounts of the lasting store may hold.

    A writer that hits does not write. So whenever its mount may hold something else than it once wrote, its text
    is made one that was never used: no builder promises that a mount follows its writer there.
    """

    def __init__(self) -> None:
        self._texts = [0, 0]
        self._written: dict[_Mount, set[_Value]] = {}
        self._holds: dict[_Mount, _Value | None] = {}
        self._planned: dict[_Mount, _Value] = {}

    def text(self, slot: int) -> int:
        """Give what the writer of a slot writes."""
        return self._texts[slot]

    def plan(self, writers: Mapping[int, Filling]) -> None:
        """Take the writers of the next build, by slots, and change their texts where need be."""
        self._planned = {}
        for number, (slot, value, known, _) in writers.items():
            mount = number, slot
            written = self._written.setdefault(mount, set())
            whole = (self._texts[number], *value)
            same_text = sum(1 for one in written if one[0] == whole[0])
            if self._holds.get(mount) != whole and (whole in written or (not known and same_text > 1)):
                self._texts[number] += 1
                whole = (self._texts[number], *value)
            self._planned[mount] = whole

    def built(self, *, well: bool) -> None:
        """Learn how the build went; where it failed, the writer may have written or not."""
        for mount, value in self._planned.items():
            self._written[mount].add(value)
            self._holds[mount] = value if well else None

    def pruned(self) -> None:
        """Whatever they held may be gone."""
        self._holds.clear()


# Rendering


class _Place(NamedTuple):
    """What comes before a place in the build file: writers by slots, stages that are needed."""

    writers: frozenset[int] = frozenset()
    stages: frozenset[int] = frozenset()

    def __or__(self, other: object) -> _Place:
        assert isinstance(other, _Place)
        return _Place(self.writers | other.writers, self.stages | other.stages)


class _Writing:
    """A build file that is being written."""

    def __init__(self, project: Project, texts: Mapping[int, int]) -> None:
        self.project = project
        self.texts = texts
        self.lines: list[str] = []
        self.ends: list[_Place] = []
        self.writers: dict[int, Filling] = {}
        self.dates: dict[str, int] = {}

    def stage(self, number: int, stage: Stage) -> None:
        base = stage.base % number if stage.base >= 0 and number else min(stage.base, BASE)
        triggers = base == ONBUILD and bool(self.project.triggers)
        name = f"s{base}" if base >= 0 else "onb" if triggers else "base"
        self.lines.append(f"FROM {name} AS s{number}")
        place = self.ends[base] if base >= 0 else _Place()
        place = place._replace(stages=place.stages | {number})
        self.dates = {}
        for step in stage.steps:
            place = self._step(step, number, place)
        self.ends.append(place)

    def _step(self, step: Step, stage: int, place: _Place) -> _Place:
        ref = getattr(step, "ref", 0) % stage if stage else None
        name = "base" if ref is None else f"s{ref}"
        before = self.ends[ref] if ref is not None else _Place()
        if isinstance(step, Plain):
            self.dates = {}
            mount = self.project.slots[0].options(0).replace("id=c0", "id=o")
            self.lines.append(step.text.replace("@S", name).replace("@M", mount))
            return place | before if "@S" in step.text else place
        if isinstance(step, Dated):
            self.lines.append(f"RUN touch -d @{step.seconds} {step.path} 2>/dev/null; true")
            test = f'[ "$(stat -Lc %Y {step.path})" = {step.seconds} ]'
            self.lines.append(f'RUN [ "$(id -u)" != 0 ] || [ ! -e {step.path} ] || {test} || exit 77')
            return place
        mount = self.project.slots[step.slot].options(step.slot)
        if isinstance(step, Writer):
            if step.slot in self.writers:
                return place
            used = step.bind == "stage"
            source = {"": "", "context": "--mount=target=/src ", "stage": f"--mount=from={name},target=/src "}[
                step.bind
            ]
            shown = {"": "true", "context": "cat /src/a", "stage": "cat /src/a /src/d/x 2>/dev/null"}[step.bind]
            shown = f"{{ {shown}; echo {self.texts[step.slot]}; }} > /m/f"
            value = {"": (), "context": _content(self.project.files), "stage": tuple(self.lines)}[step.bind]
            if used:
                value = (*value, self.project.args, self.project.triggers, *_content(self.project.files))
            self.lines.append(f"RUN {source}--mount={mount} rm -rf /m/f && {shown}")
            self.writers[step.slot] = Filling(self.project.slots[step.slot], (repr(value),), not used, stage)
            place = place | before if used else place
            place = place._replace(writers=place.writers | {step.slot})
            return self._step(Reader(step.slot, step.path), stage, place) if step.path else place
        if step.slot in place.writers:
            owner = "stat -c '%u %g %a' /m"
            self.lines.append(f"RUN --mount={mount} {{ cat /m/f; {owner}; }} > {step.path}; true")
            self.dates = {}
        return place


def _content(files: Mapping[str, Node]) -> tuple[object, ...]:
    """Give what of a context may count: not its times."""
    return tuple(
        (path, type(node).__name__, node._replace(mtime=0) if isinstance(node, File | Tar) else node)
        for path, node in sorted(files.items())
    )


def render(project: Project, mounted: Mounted, *, target: int | None = None) -> Build:
    """Write the project as it is now, for a build that is done next."""

    def write() -> _Writing:
        writing = _Writing(project, {slot: mounted.text(slot) for slot in (0, 1)})
        for number, stage in enumerate(project.stages):
            writing.stage(number, stage)
        return writing

    writing = write()
    last = (len(project.stages) - 1) if target is None else target % len(project.stages)
    needed = writing.ends[last].stages
    mounted.plan({slot: filling for slot, filling in writing.writers.items() if filling.stage in needed})
    writing = write()
    end = project.stages[last].steps[-1:]
    dates = {step.path.strip("/"): step.seconds for step in end if isinstance(step, Dated) and step.path in SURE}
    base = "".join(f"{line}\n" for line in ("FROM base", *(f"ONBUILD {one.text}" for one in project.triggers)))
    return Build(
        "".join(f"{line}\n" for line in writing.lines),
        project.files,
        project.args,
        base=base if project.triggers else "",
        target="" if target is None else f"s{last}",
        epoch=project.epoch,
        rewrite=project.rewrite,
        dates=dates if project.epoch is None and not any(line.startswith("USER") for line in writing.lines) else {},
    )


SURE = ("/bin", "/etc", "/home")
"""What no generated step replaces, so that a time which is set has to be there."""
