"""RUN --mount: from what was written to what a step mounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.buildfile.mounts import read_mount, target_of
from buildah_py.plan.graph import Input
from buildah_py.plan.steps import MountStep

if TYPE_CHECKING:
    from buildah_py.buildfile import tree
    from buildah_py.plan.stage import StageFold

SECRETS = "/run/secrets"
_FILE_MODES = {"secret": 0o400, "ssh": 0o600}


def plan_mount(fold: StageFold, mount: tree.Mount, place: int) -> tuple[MountStep, Input | None]:
    """Plan one mount; its tree, where it shows one, will be input number `place` of the node."""
    spec = read_mount(mount, lambda text: fold.expand_text(text, mount.span, fold.environment))
    shown: Input | None = None
    if spec.from_:
        name = fold.expand_text(spec.from_, mount.span, fold.environment) if fold.planner.extensions else spec.from_
        shown = fold.planner.origin_by_name(fold, name, mount.span)
    elif spec.type == "bind":
        shown = Input()
    if spec.type in _FILE_MODES:
        target = spec.target or ("" if spec.env or spec.type == "ssh" else f"{SECRETS}/{spec.id.rpartition('/')[2]}")
    else:
        target = target_of(spec, fold.config.working_dir or "/", fold.source)
    return (
        MountStep(
            type=spec.type,
            target=target,
            source=spec.source,
            input=place if shown is not None else None,
            readonly=spec.readonly,
            id=spec.id or (target if spec.type == "cache" else ""),
            sharing=spec.sharing,
            size=spec.size or None,
            mode=_FILE_MODES.get(spec.type) if spec.mode is None else spec.mode,
            uid=spec.uid or 0,
            gid=spec.gid or 0,
            required=spec.required,
            env=spec.env or "",
        ),
        shown,
    )
