"""Planning the shares of a bake, without executing or fetching anything: the same plan on all runners."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.baking.durations import HISTORY, Durations, Graph, from_history, read_durations
from buildah_py.baking.opening import opened_together
from buildah_py.baking.shards import MOST, STEPS_AT_ONCE, share_out
from buildah_py.engine.dry_run import LayersStay
from buildah_py.errors import BuildFileError, NotFound, UsageError
from buildah_py.frozen import replace
from buildah_py.image import config as image_config
from buildah_py.image import platform as platforms
from buildah_py.plan import NeedsValue
from buildah_py.plan.planner import plan_together

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from buildah_py.baking.durations import KnownStep
    from buildah_py.baking.opening import BakeItem, OpenTarget
    from buildah_py.baking.shards import ShardPlan
    from buildah_py.image.config import ImageConfig
    from buildah_py.plan import Node


class Shares(NamedTuple):
    """A plan with the durations that it was made of, and how many steps a runner is reckoned to execute at once."""

    plan: ShardPlan
    known: Sequence[KnownStep]
    at_once: int
    steps: int

    def to_data(self) -> dict[str, object]:
        """Give it as docs/schema/shard-plan.json describes it."""
        count = len(self.plan.shares)
        shares = [
            {
                "share": f"{number}/{count}",
                "targets": list(one.targets),
                "seconds": round(one.seconds, 3),
                "longest_path": round(one.path, 3),
                "work": round(one.work, 3),
            }
            for number, one in enumerate(self.plan.shares, 1)
        ]
        include = [
            {"share": f"{number}/{count}", "targets": " ".join(one.targets)}
            for number, one in enumerate(self.plan.shares, 1)
            if one.targets
        ]
        return {
            "shares": shares,
            "seconds": round(self.plan.seconds, 3),
            "bound": round(self.plan.bound, 3),
            "least": round(self.plan.least, 3),
            "steps": self.steps,
            "steps_at_once": self.at_once,
            "matrix": {"include": include},
            "durations": [one._asdict() for one in self.known],
        }


def read_share(text: str) -> tuple[int, int]:
    """Read `--shards N/M`. Raises UsageError."""
    number, slash, count = text.partition("/")
    found = (int(number), int(count)) if slash and number.isdecimal() and count.isdecimal() else (0, 0)
    if not 1 <= found[0] <= found[1] <= MOST:
        hint = f"write N/M, such as 1/4 for the first of four shares; M is at most {MOST}"
        raise UsageError(f"--shards {text}: not one of a number of shares", hint=hint)
    return found


def read_count(text: str) -> int:
    """Read `--shard-plan M`. Raises UsageError."""
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise UsageError(f"--shard-plan {text}: not a number of shares", hint=f"write one from 1 to {MOST}")
    return int(text)


def durations_of(texts: Iterable[str], root: str) -> Durations:
    """Give what `--durations` names: files, or the `history` of the store at `root`; the first that knows counts.

    Raises NotFound, UsageError.
    """
    known: list[KnownStep] = []
    for text in texts:
        if text == HISTORY:
            from buildah_py.history.builds import builds

            known += from_history(builds(root))
        else:
            known += read_durations(text)
    return Durations(known)


def plan_shares(items: Sequence[BakeItem], count: int, durations: Durations, jobs: int) -> Shares:
    """Plan the shares of all exported targets."""
    nodes, ends = _planned(items)
    at_once = jobs or STEPS_AT_ONCE
    plan = share_out(Graph.of(nodes, durations), ends, count, at_once)
    return Shares(plan, durations.known(nodes), at_once, len(nodes))


def items_of(items: Sequence[BakeItem], names: Sequence[str]) -> list[BakeItem]:
    """Leave the targets of these names, and those that they take."""
    needed = set(names)
    for item in reversed(items):
        if item.name in needed:
            needed.update(item.takes)
    return [item._replace(exported=item.name in names) for item in items if item.name in needed]


def _planned(items: Sequence[BakeItem]) -> tuple[Sequence[Node], Mapping[str, list[int]]]:
    """Plan all targets in one graph, and give the steps that the images of each end with.

    Base images are not looked at: what stands in a registry now is not the same for all runners. Neither is anything
    executed: where a variable is what a step prints, it is empty.
    """
    with ExitStack() as stack:
        builds = opened_together(items, lambda _: None, stack, provider=LayersStay())
        pairs = [
            (build.session.build_file, replace(options, resolve=_bare)) for build in builds for options in build.options
        ]
        values: list[str] = []
        found = plan_together(pairs)
        while isinstance(found, NeedsValue):
            values.append("")
            try:
                further = plan_together(pairs, values)
            except (BuildFileError, NotFound, UsageError):  # the value has to be something: what is known has to do
                return found.nodes, _ends(builds, found.nodes)
            found = further
        plans = iter(found)
        own = {build.item.name: [next(plans).target for _ in build.options] for build in builds}
        exported = {item.name for item in items if item.exported}
        return found[0].nodes, {name: ends for name, ends in own.items() if name in exported}


def _ends(builds: Sequence[OpenTarget], nodes: Sequence[Node]) -> dict[str, list[int]]:
    return {
        build.item.name: [node.index for node in nodes if node.part == build.number]
        for build in builds
        if build.item.exported
    }


def _bare(_name: str, platform: str) -> ImageConfig:
    return image_config.new(platforms.parse(platform)).with_working_dir("/")
