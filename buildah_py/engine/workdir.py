"""WORKDIR: a directory where there is none yet."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.copy.owner import parse_owner
from buildah_py.errors import PybuildError
from buildah_py.layers.writer import LayerWriter
from buildah_py.layers.entry import DIR
from buildah_py.layers.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildah_py.engine.workshop import Result, Workshop
    from buildah_py.layers.inventory import Captured
    from buildah_py.plan.steps import WorkdirStep


class WorkdirExecution:
    """Makes the directory and its parents, 0755 and owned by the stage's user, as BuildKit does."""

    def __init__(self, workshop: Workshop, step: WorkdirStep, parent: Result) -> None:
        self._workshop = workshop
        self._step = step
        self._parent = parent

    def inputs(self) -> Mapping[str, str]:
        """Nothing but the file system below, which the key starts from."""
        return {}

    def execute(self, staged: str) -> tuple[Captured, str]:
        """Write the missing directories as a layer."""
        view = self._workshop.view(self._parent.layers)
        path = resolve(view, self._step.path.strip("/"))
        fs = os.path.join(staged, "fs")
        self._workshop.make_root(fs, self._parent.layers)
        with LayerWriter(fs) as writer:
            uid, gid = parse_owner(self._step.user, view) if self._step.user else (0, 0)
            missing: list[str] = []
            walk = path
            while walk and view.entry(walk) is None:
                missing.append(walk)
                walk = walk.rpartition("/")[0]
            existing = view.entry(walk) if walk else None
            if existing is not None and existing.kind != DIR:
                raise PybuildError(f"WORKDIR {self._step.path}: /{walk} is there and is no directory")
            above = walk.split("/") if walk and missing else []
            for depth in range(1, len(above) + 1):
                entry = view.entry("/".join(above[:depth]))
                assert entry is not None
                writer.add_dir(
                    entry.path, mode=entry.mode, uid=entry.uid, gid=entry.gid, xattrs=entry.xattrs, mtime=entry.mtime
                )
            for directory in reversed(missing):
                writer.add_dir(directory, mode=0o755, uid=uid, gid=gid)
            return writer.finish(), fs
