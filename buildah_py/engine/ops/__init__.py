"""An operation for each kind of step: it names the digests of the step's inputs, and executes it."""

from __future__ import annotations

from buildah_py.engine.ops.op import NOTHING_USED, InputList, Op, Task, Usage
from buildah_py.plan.steps import CaptureStep, CopyStep, RunStep, WorkdirStep

__all__ = ["NOTHING_USED", "InputList", "Op", "Task", "Usage", "make_op"]


def make_op(task: Task, *, ahead: bool = False, opened: bool = True) -> Op:
    """Make the operation of a step.

    `ahead` says that no record of it is to be found, so that it may be executed before its inputs are known; `opened`
    that something else of the build will look at the files of its layer.
    """
    step = task.node.step
    if isinstance(step, RunStep):
        from buildah_py.engine.ops.run import RunOp

        return RunOp(task, step)
    if isinstance(step, CaptureStep):
        from buildah_py.engine.ops.capture import CaptureOp

        return CaptureOp(task, step.run)
    if isinstance(step, CopyStep):
        from buildah_py.engine.ops.copy import CopyOp

        return CopyOp(task, step, ahead=ahead, opened=opened)
    assert isinstance(step, WorkdirStep), step
    from buildah_py.engine.ops.workdir import WorkdirOp

    return WorkdirOp(task, step)
