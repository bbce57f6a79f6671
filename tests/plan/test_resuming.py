"""Plans that depend on what a step prints: they end there, and go on with the value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from buildah_py.buildfile import parse
from buildah_py.errors import BuildFileError
from buildah_py.image import config as image_config
from buildah_py.image import platform
from buildah_py.plan import NeedsValue, Plan, PlanOptions, make_plan
from buildah_py.plan.steps import BaseStep, CaptureStep, RunStep, WorkdirStep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildah_py.plan import Node

OPTIONS = PlanOptions(
    resolve=lambda *_: image_config.new(platform.parse("linux/amd64")),
    platform="linux/amd64",
    build_platform="linux/amd64",
)


def plan(text: str, *values: str) -> Plan | NeedsValue:
    return make_plan(parse(f"# syntax=pybuild/1\n{text}", "Buildfile"), OPTIONS, values)


def kinds(nodes: Sequence[Node]) -> list[type]:
    return [type(node.step) for node in nodes]


def test_a_plan_ends_where_a_value_is_needed() -> None:
    text = "FROM base\nRUN one\nENV --from-run A first\nRUN two $A\nENV --from-run B second $A\nWORKDIR /$A/$B\n"
    begun = plan(text)
    assert isinstance(begun, NeedsValue)
    assert kinds(begun.nodes) == [BaseStep, RunStep, CaptureStep]
    assert begun.stages == {"": 3}
    assert begun.nodes[-1].text == "ENV --from-run A first"
    assert begun.nodes[-1].parent == 1
    further = plan(text, "1\n\n")
    assert isinstance(further, NeedsValue)
    assert further.nodes[:3] == begun.nodes
    assert kinds(further.nodes[3:]) == [RunStep, CaptureStep]
    for node in further.nodes[3:]:
        step = node.step.run if isinstance(node.step, CaptureStep) else node.step
        assert isinstance(step, RunStep)
        assert dict(step.env)["A"] == "1", "without its last newlines"
    assert further.nodes[3].parent == 1, "what the command wrote is thrown away"
    whole = plan(text, "1\n\n", "\n2")
    assert isinstance(whole, Plan)
    assert whole.nodes[:5] == further.nodes
    assert [node.step for node in whole.nodes[5:]] == [WorkdirStep("/1/\n2", "")]
    assert whole.stages == {"": 6}
    assert whole.config.environment()["B"] == "\n2"
    assert [item.created_by for item in whole.history if "ENV" in item.created_by] == ["ENV A=1", "ENV B=\n2"]


def test_what_is_planned_follows_the_value() -> None:
    text = "FROM base\nENV --from-run A x\nIF $A == yes\nENV --from-run B y\nRUN then\nELSE\nRUN otherwise\nEND\n"
    for value, expected in (("yes", NeedsValue), ("no", Plan)):
        assert isinstance(plan(text, value), expected)
    done = plan(text, "yes", "")
    assert isinstance(done, Plan)
    assert done.config.environment()["B"] == ""


def test_stages_before_the_one_that_needs_a_value_are_whole() -> None:
    text = "FROM base AS a\nENV --from-run A x\nFROM base AS b\nCOPY --from=a /x /y\nENV --from-run B x\nRUN two\n"
    begun, further, whole = plan(text), plan(text, "1"), plan(text, "1", "2")
    assert isinstance(begun, NeedsValue)
    assert isinstance(further, NeedsValue)
    assert isinstance(whole, Plan)
    assert begun.nodes == further.nodes[: len(begun.nodes)] == whole.nodes[: len(begun.nodes)]
    assert further.nodes == whole.nodes[: len(further.nodes)]
    assert [node.stage for node in whole.nodes if isinstance(node.step, CaptureStep)] == ["a", "b"]


def test_faults_behind_a_value_are_found_with_it() -> None:
    text = "FROM base\nENV --from-run A x\nEXPOSE $A\n"
    assert isinstance(plan(text), NeedsValue)
    with pytest.raises(BuildFileError, match="nope"):
        plan(text, "nope")
    assert isinstance(plan(text, "80"), Plan)
