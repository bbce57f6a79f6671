"""Shares of a bake: every target once, the same everywhere, and never longer than the bound says."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from buildah_py.baking.durations import Durations, Graph, KnownStep, Urgency, estimate, read_durations
from buildah_py.baking.shards import Share, share_out
from buildah_py.errors import NotFound, UsageError
from buildah_py.frozen import replace
from buildah_py.plan.graph import Node
from buildah_py.plan.steps import BaseStep, CopyStep, RunStep, WorkdirStep

if TYPE_CHECKING:
    from pathlib import Path

    from buildah_py.plan.steps import Step

SLACK = 1 + 1e-9


class Bake(NamedTuple):
    """A graph, and for each target the steps that it ends with."""

    graph: Graph
    targets: dict[str, list[int]]


@st.composite
def bakes(draw: st.DrawFn, most: int = 14) -> Bake:
    """Make a graph with stages that share steps, as bakes have them, and targets anywhere in it."""
    count = draw(st.integers(1, most))
    needs = [
        sorted(draw(st.sets(st.integers(max(0, index - 5), index - 1), max_size=3))) if index else []
        for index in range(count)
    ]
    seconds = draw(st.lists(st.sampled_from([0.0, 0.1, 1.0, 3.0, 20.0, 600.0]), min_size=count, max_size=count))
    ends = draw(st.lists(st.sets(st.integers(0, count - 1), min_size=1, max_size=2), min_size=1, max_size=8))
    return Bake(Graph(needs, seconds), {f"t{number}": sorted(some) for number, some in enumerate(ends)})


def simulated(graph: Graph, steps: frozenset[int], at_once: int) -> float:
    """Execute steps as a runner does: whenever one of its places is free, the first step that is ready begins."""
    clock, done, running = 0.0, set[int](), dict[int, float]()
    waiting = sorted(steps)
    while waiting or running:
        for step in [one for one in waiting if done.issuperset(graph.needs[one])]:
            if len(running) < at_once:
                running[step] = clock + graph.seconds[step]
                waiting.remove(step)
        clock = min(running.values())
        for step in [one for one, end in running.items() if end <= clock]:
            del running[step]
            done.add(step)
    return clock


@settings(max_examples=150)
@given(bakes(), st.integers(1, 6), st.integers(1, 5))
@example(Bake(Graph([[], [0], [0], [0]], [100.0, 1.0, 1.0, 1.0]), {"a": [1], "b": [2], "c": [3]}), 2, 1)
def test_each_target_once_and_no_share_longer_than_the_bound(bake: Bake, count: int, at_once: int) -> None:
    plan = share_out(bake.graph, bake.targets, count, at_once)
    assert len(plan.shares) == count
    assert sorted(itertools.chain(*(share.targets for share in plan.shares))) == sorted(bake.targets)
    assert plan.seconds <= plan.bound * SLACK
    for share in plan.shares:
        steps = bake.graph.closure(itertools.chain(*(bake.targets[name] for name in share.targets)))
        assert share.work == pytest.approx(sum(bake.graph.seconds[step] for step in steps)), "shared steps count once"
        assert simulated(bake.graph, steps, at_once) <= share.seconds * SLACK + 1e-9, "no runner takes longer than said"
    order = dict(sorted(bake.targets.items(), reverse=True))
    assert share_out(bake.graph, order, count, at_once) == plan, "whatever the order of targets"


@settings(max_examples=60)
@given(bakes(most=8), st.integers(1, 3), st.integers(1, 3))
def test_no_way_of_sharing_is_below_the_least(bake: Bake, count: int, at_once: int) -> None:
    targets = dict(list(bake.targets.items())[:5])
    plan = share_out(bake.graph, targets, count, at_once)
    best = float("inf")
    for dealt in itertools.product(range(count), repeat=len(targets)):
        longest = 0.0
        for place in range(count):
            own = [ends for ends, at in zip(targets.values(), dealt, strict=True) if at == place]
            steps = bake.graph.closure(itertools.chain(*own))
            work = sum(bake.graph.seconds[step] for step in steps)
            path = max((bake.graph.before()[step] for step in steps), default=0.0)
            longest = max(longest, path, work / at_once)
        best = min(best, longest)
    assert plan.least <= best * SLACK
    assert plan.seconds >= plan.least / SLACK


def test_what_targets_share_keeps_them_together() -> None:
    """Two bases that take long, with three images on each: as two shares, each base is built once."""
    graph = Graph([[], [], *([0],) * 3, *([1],) * 3], [100.0, 100.0, *(1.0,) * 6])
    targets = {name: [2 + number] for number, name in enumerate("abcxyz")}
    plan = share_out(graph, targets, 2, 1)
    assert plan.shares == (Share(("a", "b", "c"), 103.0, 101.0, 103.0), Share(("x", "y", "z"), 103.0, 101.0, 103.0))


def test_the_longest_first_where_targets_share_little() -> None:
    graph = Graph([[], *([0],) * 4], [1.0, 4.0, 3.0, 3.0, 2.0])
    plan = share_out(graph, {name: [1 + number] for number, name in enumerate("abcd")}, 2, 1)
    assert plan.shares == (Share(("a", "d"), 7.0, 5.0, 7.0), Share(("b", "c"), 7.0, 4.0, 7.0))


def node(step: Step, stage: str = "app build", text: str = "RUN make") -> Node:
    """Make a node of a plan."""
    return Node(0, step, None, (), stage, 1, text, "Buildfile:2", text)


RUN = RunStep(("make",), (), "/", "", "default", "sandbox", "linux/amd64")


def test_what_is_urgent_is_known_of_the_plan_at_hand(tmp_path: Path) -> None:
    urgency = Urgency(str(tmp_path))
    first = node(BaseStep("scratch", ()), text="FROM scratch")
    chain = [replace(node(RUN), index=at, parent=at - 1) for at in (1, 2)]
    urgency.begin([first, *chain])
    assert [urgency.of(at) for at in range(3)] == [40, 40, 20]
    urgency.begin([first, chain[0]])
    assert urgency.of(0) == 20


def test_what_is_known_is_known_by_stage_and_text() -> None:
    durations = Durations([KnownStep("app build", "RUN make", 3.0), KnownStep("other", "RUN make", 9.0)])
    assert durations.of(node(RUN)) == 3.0
    assert durations.of(node(RUN, stage="other")) == 9.0
    assert durations.of(node(RUN, stage="third")) == 3.0, "the same text elsewhere"
    assert durations.of(node(RUN, text="RUN new")) == estimate(node(RUN))
    assert [one.seconds for one in durations.known([node(RUN), node(RUN, text="RUN new")])] == [3.0]
    kinds: list[Step] = [BaseStep("scratch", ()), WorkdirStep("/w", ""), CopyStep(("a",), "/"), BaseStep("x", ()), RUN]
    assert [estimate(node(step)) for step in kinds] == sorted(estimate(node(step)) for step in kinds)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"durations": [{"stage": "a", "text": "b"}]}', '{"durations": 3}', "[" * 100_000,
     *(f'{{"durations": [{{"stage": "a", "text": "b", "seconds": {bad}}}]}}' for bad in ("-1", "NaN", '"x"', "true"))],
)  # fmt: skip
def test_what_is_no_file_of_durations(tmp_path: Path, text: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"plan\.json is not a file of durations"):
        read_durations(str(path))
    with pytest.raises(NotFound):
        read_durations(str(tmp_path / "none"))
    path.write_text(json.dumps({"durations": [{"stage": "app build", "text": "RUN make", "seconds": 2}]}))
    assert Durations(read_durations(str(path))).of(node(RUN)) == 2.0
