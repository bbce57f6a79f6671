"""RUN: a command in a container on the parent's layers; what it wrote is the layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.cache.keys import BEFORE
from buildah_py.cache.selections import selection_key
from buildah_py.engine.ops.op import NOTHING_USED, InputList
from buildah_py.engine.results import before

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildah_py.engine.ops.op import Task
    from buildah_py.layers.inventory import Captured
    from buildah_py.plan.steps import MountStep, RunStep


class RunOp:
    """A RUN."""

    def __init__(self, task: Task, step: RunStep) -> None:
        self._task = task
        self._worker = task.worker
        self._step = step
        self._digests: dict[str, str] | None = None
        self._lists: dict[str, InputList] = {}
        self.usage = NOTHING_USED
        self.learned: tuple[str, bytes] | None = None

    def inputs(self) -> Mapping[str, str]:
        """Return the content that bind mounts show; of secrets and agents that may be missing, whether they are there.

        Of a step that sees what others have left outside of the file system, all steps before it count; on a machine
        that cannot do all that others can, what it cannot do.
        """
        if self._digests is None:
            reach = self._worker.reach
            self._digests = dict(self._worker.machine)
            if self._step.reads_state:
                self._digests[BEFORE] = before(self._task.parent, filter(None, self._task.trees)) or ""
            for mount in self._step.mounts:
                if mount.input is not None:
                    self._digests[f"mount {mount.target}"] = self._shown_digest(mount)
                elif mount.type == "secret" and (lent := reach.lent(mount.id, required=mount.required)):
                    self._digests[f"secret {mount.id}"] = lent
                elif mount.type == "ssh" and not mount.required:
                    name = mount.id or "default"
                    self._digests[f"ssh {name}"] = "given" if name in reach.agents else "not given"
        return self._digests

    @property
    def is_answered(self) -> bool:
        """Whether it is known what mounts show of other stages and images, so that nobody has to look."""
        keys = [key for mount in self._step.mounts if (key := self._question(mount))]
        return all(self._worker.cache.selections.find(key) is not None for key in keys)

    def lists(self) -> Mapping[str, InputList]:
        """Return the lists of the files that bind mounts show."""
        for mount in self._step.mounts:
            if mount.input is not None and f"mount {mount.target}" not in self._lists:
                self._look(mount)
        return self._lists

    def _shown_digest(self, mount: MountStep) -> str:
        """Return the digest of what a mount shows, without a look where the answer is known."""
        key = self._question(mount)
        return (self._worker.cache.selections.find(key) if key else None) or self._look(mount)

    def _look(self, mount: MountStep) -> str:
        from buildah_py.engine.ops.run_mounts import shown

        selection, key = shown(self._task, mount), self._question(mount)
        digest = selection.digest()
        self._lists[f"mount {mount.target}"] = InputList(selection.where, not key, selection.bases(), selection.packed)
        if key:
            self._worker.cache.selections.save(key, digest, selection.where)
        return digest

    def _question(self, mount: MountStep) -> str:
        """Name what a mount shows; "" for a build context, which is what it is now."""
        tree = None if mount.input is None else self._task.trees[mount.input]
        return selection_key(tree.chain, [mount.source or "/"]) if tree is not None else ""

    def execute(self, staged: str, _near: str | None = None) -> tuple[Captured, str]:
        """Run the command. Raises StepFailed with its status where that is not 0."""
        from buildah_py.engine.observing import observed_mounts, plain_key
        from buildah_py.engine.ops.command import Command, UnobservedError

        self._confirm()
        slots = self._task.parent.slots or observed_mounts(self._task.node)
        key = plain_key(self._task, self._task.parent.plain, self.inputs()) if slots else ""
        try:
            with Command(self._task, self._step, staged, observed=key) as command:
                self.usage = command.run()
        except UnobservedError as error:
            self._worker.reporter.warn(f"{self._task.node.place}: {error.message}; it is executed again")
            with Command(self._task, self._step, self._worker.store.stage()) as command:
                self.usage = command.run()
        captured, tree = command.captured()
        if (observation := command.learned(captured)) is not None:
            self.learned = key, observation.pack()
        return captured, tree

    def _confirm(self) -> None:
        """Look at what only a shared cache has said. Raises SourceChanged where that is not so."""
        for mount in self._step.mounts:
            if self._worker.cache.selections.only_said(self._question(mount)):
                self._look(mount)
