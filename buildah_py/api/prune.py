"""Making room: what `pybuild prune` removes when it is asked, and what a build removes when a limit was set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.api.config import read_config
from buildah_py.buildfile.durations import parse_moment
from buildah_py.errors import ImageError, UsageError
from buildah_py.store.collect import Collected, Rules, collect, trim
from buildah_py.store.locks import living_leases
from buildah_py.store.sizes import parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildah_py.store import Store, StoredImage

LIMITS = ("max_used_space", "min_free_space")
"""Sizes that a configuration can set. In the environment they are called PYBUILD_MAX_USED_SPACE and so on."""


def parse_filters(filters: Sequence[str], now: int) -> Rules:
    """Parse `--filter`: `until=24h`, `until=2026-01-31T12:00:00Z`, `label=KEY[=VALUE]`, `label!=KEY[=VALUE]`.

    Raises UsageError.
    """
    before = None
    labels: list[tuple[str, str | None, bool]] = []
    for text in filters:
        name, _, value = text.partition("=")
        if name == "until" and value:
            moment = parse_moment(value, now, f"--filter until={value}")
            before = moment if before is None else min(before, moment)
        elif name in ("label", "label!") and value:
            key, equals, wanted = value.partition("=")
            labels.append((key, wanted if equals else None, name == "label"))
        else:
            raise UsageError(
                f"--filter {text} means nothing", hint="there are until=24h, label=KEY[=VALUE] and label!=KEY[=VALUE]"
            )
    return Rules(before=before, matching=_labelled(labels) if labels else None)


def _labelled(labels: Sequence[tuple[str, str | None, bool]]) -> Callable[[StoredImage], bool]:
    from buildah_py.image import config as image_config

    def matching(image: StoredImage) -> bool:
        try:
            there = image_config.from_bytes(image.config).labels
        except ImageError:  # it has none that anybody could know
            there = {}
        return all((key in there and (value is None or there[key] == value)) == wanted for key, value, wanted in labels)

    return matching


def hold_builds(rules: Rules, store: Store) -> Rules:
    """Have the layers of all stages, and the cache mounts, stay that builds of images with a name went through.

    With them, building again is all hits.
    """
    from buildah_py.api.recorded import read_needs

    listed = store.manifest_lists.images()
    layers: set[str] = set()
    mounts: set[str] = set()
    for image in store.images.all():
        named = image.names or image.id in listed or store.images.platform_names(image.id)
        data = store.images.build_of(image.id) if named else None
        if data is not None:
            needs = read_needs(data, image.names)
            layers.update(needs.layers)
            mounts.update(needs.cache_mounts)
    return rules._replace(held=frozenset(layers), held_mounts=frozenset(mounts))


def cached_layers(store: Store) -> frozenset[str]:
    """Return the layers that steps are known to have led to."""
    return frozenset(record.diff_id for record in store.records.all())


def limits(environ: Mapping[str, str]) -> dict[str, int]:
    """Return the limits that the environment sets, or a configuration file; in bytes. Raises UsageError."""
    configured = read_config(environ)
    found = {name: configured[key] for name in LIMITS if (key := name.replace("_", "-")) in configured}
    for name in LIMITS:
        if text := environ.get(f"PYBUILD_{name.upper()}"):
            found[name] = text
    return {name: parse_size(text) for name, text in found.items()}


def after_build(store: Store, environ: Mapping[str, str]) -> Collected | None:
    """Keep the store within its limits: always those of logs, the others where they are set. None if that is all.

    Nothing goes that this build has used.
    """
    trim(store, living_leases(store.path("leases")))
    found = limits(environ)
    if not found:
        return None
    return collect(store, Rules(keep=found.get("max_used_space"), min_free=found.get("min_free_space"), spare_own=True))
