"""No renderer prints a workflow command where GitHub's runner reads what it prints."""

from __future__ import annotations

from io import StringIO

import pytest

from buildah_py.progress import events
from buildah_py.progress.choose import renderer


@pytest.mark.parametrize("mode", ["plain", "quiet", "json"])
@pytest.mark.parametrize("runner", ["", "true"])
def test_workflow_commands_of_steps(mode: str, runner: str) -> None:
    err = StringIO()
    with renderer(mode, err=err, out=StringIO(), env={"GITHUB_ACTIONS": runner}) as sink:
        sink(events.BuildStarted(1))
        sink(events.StepStarted(1, "", 1, 1, "RUN ::x"))
        sink(events.StepOutput(1, events.STDOUT, b"::set-output name=a::b\n a ##[add-mask]x\n"))
        sink(events.StepDone(1, events.FAILED, "##[debug]"))
        sink(events.Warning("::warning::x"))
    lines = err.getvalue().splitlines()
    assert len(lines) > 2
    own = ["::group::#1 [1/1] RUN ::x", "::endgroup::"] if runner and mode == "plain" else []
    obeyed = [line for line in lines if line.lstrip().startswith("::") or "##[" in line]
    assert obeyed[: len(own)] == own
    del obeyed[: len(own)]
    assert bool(obeyed) is (not runner and mode != "json")
