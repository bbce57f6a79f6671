"""Containers in the log of `--debug`: how each is made, and a file to run it again from."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py import debug

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildah_py.sandbox import ContainerSpec
    from buildah_py.store import Store


def logged(store: Store, shape: Callable[[ContainerSpec], ContainerSpec]) -> Callable[[ContainerSpec], ContainerSpec]:
    """Give what also logs the container that `shape` makes, on layers of `store`."""

    def shape_and_log(container: ContainerSpec) -> ContainerSpec:
        shaped = shape(container)
        _log_plan(store, shaped)
        return shaped

    return shape_and_log


def _log_plan(store: Store, container: ContainerSpec) -> None:
    """Log how a container is made; write its plan beside the logs of this build's steps."""
    import shlex

    from buildah_py.sandbox import plan, plan_file

    for line in plan.describe(plan_file.by_paths(container)):
        debug.log("container: %s", line)
    directory = store.path("logs", store.lease.name)
    path = os.path.abspath(os.path.join(directory, f"{container.name}.plan.json"))
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(plan_file.render(container, os.path.abspath(store.root)))
    except OSError as error:  # which is no reason to fail
        debug.log("container: its plan cannot be written: %s", error)
        return
    debug.log("container: to run it again: pybuild debug-run %s", shlex.quote(path))
