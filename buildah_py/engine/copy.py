"""COPY and ADD: files of a context, a stage, an image or the build file itself into a layer."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from buildah_py.copy.select import select
from buildah_py.engine.executions import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from buildah_py.copy.materialise import Inline
    from buildah_py.copy.mode import Mode
    from buildah_py.copy.selection import Selection
    from buildah_py.engine.workshop import Result, Workshop
    from buildah_py.layers.inventory import Captured
    from buildah_py.plan import Node
    from buildah_py.plan.steps import CopyStep


class CopyExecution:
    """A COPY or ADD onto the file system `parent`, from the tree of `inputs`."""

    usage = Usage()

    def __init__(
        self, workshop: Workshop, node: Node, step: CopyStep, parent: Result, inputs: Sequence[Result | None]
    ) -> None:
        self._workshop = workshop
        self._node = node
        self._step = step
        self._parent = parent
        self._origin = inputs[0]
        self._mode = _mode(step.chmod)
        self._selection: Selection | None = None

    def inputs(self) -> Mapping[str, str]:
        """The content that the sources select."""
        if not self._step.sources:
            return {}
        return {"sources": self._select().digest(chmod=self._mode, chown=bool(self._step.chown))}

    def execute(self, staged: str) -> tuple[Captured, str]:
        """Copy into a layer. Raises SourceChanged where a file is no longer what its digest in the key says."""
        from buildah_py.copy.materialise import Inline, materialise
        from buildah_py.copy.owner import parse_owner

        fs = os.path.join(staged, "fs")
        self._workshop.make_root(fs, self._parent.layers)
        view = self._workshop.view(self._parent.layers)
        now = time.time_ns()
        pieces: list[Selection | Inline] = [
            Inline(file.name, file.content, file.mode, now) for file in self._step.files
        ]
        if self._step.sources:
            pieces.append(self._select())
        with self._workshop.writer(fs) as writer:
            materialise(
                pieces,
                self._step.destination,
                view,
                writer,
                chown=parse_owner(self._step.chown, view) if self._step.chown else None,
                chmod=self._mode,
                link=self._step.link,
                unpack=self._step.add and self._step.unpack is not False,
                now=now,
            )
            return writer.finish(), fs

    def _select(self) -> Selection:
        if self._selection is None:
            source = self._node.inputs[0]
            with self._workshop.context_lock:
                tree = (
                    self._workshop.context(source.context)
                    if self._origin is None
                    else self._workshop.view(self._origin.layers)
                )
                self._selection = select(
                    tree, self._step.sources, exclude=self._step.exclude, parents=self._step.parents, where=source.name
                )
        return self._selection


def _mode(chmod: str) -> Mode | None:
    if not chmod:
        return None
    from buildah_py.copy.mode import parse_mode

    return parse_mode(chmod)
