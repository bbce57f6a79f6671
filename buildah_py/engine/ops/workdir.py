"""WORKDIR: a directory where there is none yet."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from buildah_py.engine.ops.op import NOTHING_USED
from buildah_py.errors import NotFound
from buildah_py.layers.entry import DIR
from buildah_py.layers.stamps import NO_STAMPS
from buildah_py.layers.tree import resolve

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildah_py.engine.ops.op import InputList, Task
    from buildah_py.layers.inventory import Captured
    from buildah_py.layers.tree import Tree
    from buildah_py.plan.steps import WorkdirStep


class WorkdirOp:
    """Makes the directory and its parents, 0755 and owned by the stage's user, as BuildKit does."""

    usage = NOTHING_USED
    learned = None

    def __init__(self, task: Task, step: WorkdirStep) -> None:
        self._task = task
        self._step = step

    def inputs(self) -> Mapping[str, str]:
        """Nothing but the file system below, which the key starts from."""
        return {}

    def lists(self) -> Mapping[str, InputList]:
        """None."""
        return {}

    def execute(self, staged: str, _near: str | None = None) -> tuple[Captured, str]:
        """Write the missing directories as a layer."""
        from buildah_py.copy.layout import Layout

        view = self._task.below()
        file_systems, stamps = self._task.worker.file_systems, NO_STAMPS
        path = resolve(view, self._step.path)
        fs = os.path.join(staged, "fs")
        file_systems.make_root(fs, self._task.parent.layers)
        with file_systems.writer(fs) as writer:
            existing = view.entry(path)
            if existing is None:
                layout = Layout(view)
                now = time.time_ns()
                layout.make_dirs(path, 0o755, self._owner(view), now)
                layout.write(writer)
                stamps = layout.stamps(now)
            elif existing.kind != DIR:
                raise NotFound(
                    f"WORKDIR {self._step.path}: /{path} is there and is not a directory",
                    hint="a step before it, or the base image, has made a file of that name",
                )
            return writer.finish()._replace(stamps=stamps), fs

    def _owner(self, view: Tree) -> tuple[int, int]:
        """Find the stage's user; root where there is none of that name: only a RUN needs one that exists.

        Without any file system below there is nothing to look into, which is an error.
        """
        if not self._step.user:
            return 0, 0
        from buildah_py.copy.owner import parse_owner

        try:
            return parse_owner(self._step.user, view)
        except NotFound as error:
            if not self._task.parent.layers:
                raise
            self._task.worker.reporter.warn(f"WORKDIR {self._step.path} belongs to root: {error.message}")
            return 0, 0
