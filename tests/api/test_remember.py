"""Outcomes of commands are put down where nothing that it depends on may have changed unseen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from buildah_py.api.build import build
from buildah_py.api.request import BuildRequest
from buildah_py.frozen import replace
from buildah_py.repeat.answer import find_answer
from buildah_py.repeat.command import CommandLine

if TYPE_CHECKING:
    from pathlib import Path

MILLISECOND = 1_000_000


@pytest.mark.root
@pytest.mark.parametrize("name", ["a", "Buildfile", ".dockerignore", "."])
def test_what_was_written_only_just_may_change_and_keep_its_times(tmp_path: Path, name: str) -> None:
    root, context = tmp_path / "state", tmp_path / "context"
    context.mkdir()
    (context / "Buildfile").write_text("FROM scratch\nCOPY . /\n")
    (context / "a").write_text("a")
    (context / ".dockerignore").write_text("b")
    request = BuildRequest(context=str(context), names=("it",), environ={"PYBUILD_ROOT": str(root)})
    build(request, lambda _: None)
    (context / name).chmod((context / name).stat().st_mode)  # which sets its ctime, after those of the others
    written = (context / name).stat().st_ctime_ns
    for later, is_known in ((10, False), (1000, True)):
        command = CommandLine(f"{name}-{later}", written + later * MILLISECOND)
        assert build(replace(request, command=command), lambda _: None).ran == 0
        assert (find_answer(str(root), command.identity) is not None) is is_known
