"""ENV --from-run: a command whose standard output is the result; what it wrote to files is thrown away."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.engine.ops.command import Command
from buildah_py.engine.ops.run import RunOp
from buildah_py.errors import PybuildError
from buildah_py.layers.tree import read
from buildah_py.plan.steps import OUTPUT

if TYPE_CHECKING:
    from buildah_py.engine.results import Result
    from buildah_py.layers.inventory import Captured
    from buildah_py.store import Store

_MOST = 64 * 1024
"""Most bytes that a command may print to become a variable."""


class CaptureOp(RunOp):
    """The command of an ENV --from-run."""

    def execute(self, staged: str, _near: str | None = None) -> tuple[Captured, str]:
        """Run the command, and make a layer of what it printed. Raises StepFailed."""
        printed: list[bytes] = []

        def keep(data: bytes) -> None:
            printed.append(data)
            if sum(map(len, printed)) > _MOST:
                raise PybuildError(f"the command printed more than {_MOST >> 10} KiB", hint="print only the value")

        self._confirm()
        with Command(self._task, self._step, staged) as command:
            self.usage = command.run(keep)
        fs = os.path.join(staged, "fs")
        os.mkdir(fs, 0o755)
        with self._worker.file_systems.writer(fs) as writer:
            writer.add_file(OUTPUT, b"".join(printed))
            return writer.finish(), fs


def read_output(store: Store, result: Result) -> str:
    """Give what the command of a CaptureStep printed."""
    return read(store.view(result.layers), OUTPUT, _MOST).decode("utf-8", "surrogateescape")
