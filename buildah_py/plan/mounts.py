"""RUN --mount: from what was written to what a step mounts."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from buildah_py.plan.graph import Input
from buildah_py.plan.steps import MountStep

if TYPE_CHECKING:
    from buildah_py.buildfile import tree
    from buildah_py.plan.stage import StageFold


def plan_mount(fold: StageFold, mount: tree.Mount, place: int) -> tuple[MountStep, Input | None]:
    """Plan one mount; its tree, where it shows one, will be input number `place` of the node."""
    from buildah_py.buildfile.mounts import read_mount

    variables = fold.variables()
    spec = read_mount(mount, lambda text: fold.expand_text(text, mount.span, variables), fold.source)
    shown: Input | None = None
    if spec.from_:
        shown = fold.planner.origin_by_name(fold, spec.from_, mount.span)
    elif spec.type == "bind":
        shown = Input()
    target = posixpath.normpath(posixpath.join("/", fold.config.workdir or "/", spec.target)) if spec.target else ""
    return (
        MountStep(
            type=spec.type,
            target=target,
            source=spec.source or "",
            input=place if shown is not None else None,
            readonly=spec.readonly,
            id=spec.id or (target if spec.type == "cache" else ""),
            sharing=spec.sharing or "",
            size=spec.size,
            mode=spec.mode,
            uid=spec.uid,
            gid=spec.gid,
            required=spec.required,
            env=spec.env or "",
        ),
        shown,
    )
