"""Changes to an image that its build file described, by the command line: layers made one, history, times, labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from buildah_py.api.output_options import SQUASH_NEW
from buildah_py.image import timestamp
from buildah_py.layers.entry import SECOND
from buildah_py.plan.assemble import COMMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildah_py.api.output_options import ShapeOptions
    from buildah_py.image.config import ImageConfig

    Squash = Callable[[Sequence[str], int], str]
    """Makes one layer of those from a place on; its diff_id."""
    Leave = Callable[[Sequence[str], int], list[str]]
    """Leaves paths out of the layers from a place on; all layers then."""

IDENTITY_LABEL: Final = "io.pybuild.version"


def shape(
    config: ImageConfig,
    base: ImageConfig,
    options: ShapeOptions,
    *,
    squash: Squash,
    leave: Leave,
    labels: Mapping[str, str],
    epoch: int | None = None,
) -> tuple[ImageConfig, int]:
    """Give the image as it is asked for, and how many of its layers are those of `base`, on which it was built.

    `labels` were given on the command line, and stay. No time is later than `epoch` (seconds since 1970).
    """
    base_layers = len(base.diff_ids)
    if options.timestamp is not None:
        config = _dated(config, timestamp.to_text(options.timestamp * SECOND), _entries(base))
    if options.without:
        config = config.with_diff_ids(leave(config.diff_ids, base_layers))
    if options.squash:
        first = base_layers if options.squash == SQUASH_NEW else 0
        if len(config.diff_ids) - first > 1:
            config = _squashed(config, squash(config.diff_ids, first), first, _entries(base))
        base_layers = min(base_layers, first)
    for name in options.unset_env:
        config = config.without_env(name)
    for name in options.unset_labels:
        if name not in labels:
            config = config.without_label(name)
    if options.identity_label:
        from buildah_py.version import __version__

        config = config.with_labels({IDENTITY_LABEL: __version__})
    if options.omit_history:
        config = config.without_history()
    if epoch is not None:
        config = config.clamped(epoch * SECOND)
    return config, base_layers


def _entries(base: ImageConfig) -> int:
    """How many entries of an image's history are those of its base."""
    return len(base.with_complete_history().history)


def _dated(config: ImageConfig, created: str, base_history: int) -> ImageConfig:
    def date(place: int, entry: dict[str, Any]) -> dict[str, Any]:
        return entry if place < base_history else {**entry, "created": created}

    return config.with_changed_history(date).with_created(created)


def _squashed(config: ImageConfig, diff_id: str, first: int, base_history: int) -> ImageConfig:
    """Say that one layer stands for those from `first` on; what made them stays in the history."""
    merged = len(config.diff_ids) - first
    kept = base_history if first else 0

    def empty(place: int, entry: dict[str, Any]) -> dict[str, Any]:
        return entry if place < kept else {**entry, "empty_layer": True}

    squashed = config.with_changed_history(empty).with_diff_ids(config.diff_ids[:first])
    return squashed.with_layer(diff_id, f"SQUASH {merged} layers # {COMMENT}", created=config.created, comment=COMMENT)
