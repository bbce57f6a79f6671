"""A RUN hits unless something that it learned of copied files has changed.

Many cases are one build: a stage for each, with files of its own. After an edit of all these files every stage has to
be what a fresh store gives without observation, and its last step a hit or a miss as the table says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest import mock

import pytest

from buildah_py.progress import events
from buildah_py.store import packing
from tests.end_to_end.observed_cases import CONTENT, FILES, LISTED, PATCHED, STAT, STEPS, WRITTEN, Case
from tests.truth.images import differences
from tests.truth.inputs import Build, Node
from tests.truth.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as world:
        yield world


def play(world: World, cases: Mapping[str, Case]) -> None:
    """Build all cases, edit, and build them again; then say of which that was not as it should be."""
    names = {f"c{number}": name for number, name in enumerate(cases)}
    text = "".join(cases[name].text(stage) for stage, name in names.items()) + "FROM scratch\n"
    text += "".join(f"COPY --from={stage} /etc/group /{stage}\n" for stage in names)
    before: dict[str, Node] = {}
    after: dict[str, Node] = {}
    for stage, name in names.items():
        files = {**FILES, **cases[name].files}
        edited = {path: node for path, node in {**files, **cases[name].edit}.items() if node is not None}
        before |= {f"{stage}/{path}": node for path, node in files.items()}
        after |= {f"{stage}/{path}": node for path, node in edited.items()}
    world.start()
    world.steps(Build(text, before))
    steps = world.steps(Build(text, after))
    there = world.stages(steps)
    fresh = world.stages(world.steps(Build(text, after), fresh=True), fresh=True)
    last = {one.node.stage: one for one in sorted(steps, key=lambda one: one.node.index)}
    wrong = []
    for stage, name in names.items():
        found = differences(there[stage], fresh[stage], world.base)
        told = last[stage]
        hit = told.outcome == events.HIT
        if hit != cases[name].hit or (hit and not told.reason.startswith("nothing it read has changed")):
            found.append(f"{told.outcome}: {told.reason}")
        wrong += [f"{name}: {line}" for line in found]
    world.check()
    assert not wrong, "\n".join(["", *wrong])


@pytest.mark.parametrize(
    "cases", [CONTENT, STAT, LISTED, WRITTEN, STEPS], ids=["content", "stat", "listed", "written", "steps"]
)
def test_a_step_hits_unless_what_it_learned_has_changed(world: World, cases: Mapping[str, Case]) -> None:
    play(world, cases)


def test_a_step_on_a_layer_that_is_kept_as_a_patch(world: World) -> None:
    with mock.patch.object(packing, "MANY", 16):
        play(world, PATCHED)
