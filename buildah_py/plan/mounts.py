"""RUN --mount: from what was written to what a step mounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.plan.steps import MountStep

if TYPE_CHECKING:
    from buildah_py.buildfile.stage import MountUse

SECRETS = "/run/secrets"
_FILE_MODES = {"secret": 0o400, "ssh": 0o600}


def plan_mount(mount: MountUse, place: int | None) -> MountStep:
    """Plan one mount; its tree, where it shows one, is input number `place` of the node."""
    spec, target = mount.spec, mount.target
    if spec.type == "secret" and not target and not spec.env:
        target = f"{SECRETS}/{spec.id.rpartition('/')[2]}"
    return MountStep(
        type=spec.type,
        target=target,
        source=spec.source,
        input=place,
        readonly=spec.readonly,
        id=spec.id or (target if spec.type == "cache" else ""),
        sharing=spec.sharing,
        size=spec.size or None,
        mode=_FILE_MODES.get(spec.type) if spec.mode is None else spec.mode,
        uid=spec.uid or 0,
        gid=spec.gid or 0,
        required=spec.required,
        env=spec.env or "",
    )
