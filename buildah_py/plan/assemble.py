"""The finished image config: the planned one, completed with what execution told."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from buildah_py.errors import ImageError
from buildah_py.image import timestamp
from buildah_py.image.config import History

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildah_py.image.config import ImageConfig
    from buildah_py.plan.graph import Plan

COMMENT = "pybuild"


class MadeLayer(NamedTuple):
    """The layer of a node: its diff_id, and when the step first made that (nanoseconds since 1970)."""

    diff_id: str
    created: int


def finish_config(plan: Plan, made: Mapping[int, MadeLayer]) -> ImageConfig:
    """Add history and layers. The image is as old as its newest layer, so that equal builds give equal images.

    No entry of the history is older than the one before it. A time of the base that is not a time is left out.
    """
    config = plan.config.with_complete_history(created=plan.config.created)
    newest, created = _base_time(config)
    entries, diff_ids = [], list(config.diff_ids)
    for item in plan.history:
        if item.node is not None:
            layer = made[item.node]
            if newest is None or layer.created > newest:
                newest, created = layer.created, timestamp.to_text(layer.created)
            diff_ids.append(layer.diff_id)
        entries.append(History(created, item.created_by, comment=COMMENT, empty_layer=item.node is None))
    return config.with_diff_ids(diff_ids).with_entries(entries).with_created(created)


def _base_time(config: ImageConfig) -> tuple[int | None, str]:
    """When the base was made, in nanoseconds since 1970 and as it spells that."""
    try:
        return timestamp.from_text(config.created), config.created
    except ImageError:
        return None, ""
