"""Report of a build that is over, as a page or as Markdown: its record, and what the store still knows of its image."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.errors import NotFound
from buildah_py.history.trends import trend_of
from buildah_py.pages.report import Extras, report_page

if TYPE_CHECKING:
    from buildah_py.history.builds import PastBuild
    from buildah_py.store import Store

_MOST_FILES = 15
_TAIL = 6000  # bytes
_LINES = 40


def build_report(build: PastBuild, store: Store, *, markdown: bool = False) -> str:
    """Make the report of a build. Nothing is fetched for it."""
    if markdown:
        from buildah_py.pages.markdown import summary

        return summary(build, look(build, store))
    return report_page(build, look(build, store))


def look(build: PastBuild, store: Store) -> Extras:
    """Find what there is to show of a build beside its record."""
    output = {step.id: tail(path) for step in build.steps if step.outcome == "failed" and (path := build.log(step.id))}
    without = Extras(output=output, trend=trend_of(store.root, build))
    if not build.image:
        return without
    from buildah_py.query.image import open_image, report_layers
    from buildah_py.query.space import areas, is_here

    try:
        image = open_image(store, build.image)
    except NotFound:
        return without
    if not is_here(store, image):
        return without
    return without._replace(layers=report_layers(store, image, most=_MOST_FILES), areas=areas(store, image))


def tail(path: str) -> str:
    """Return the last lines of a step's output."""
    with open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
        lines = file.read().decode("utf-8", "backslashreplace").splitlines()
    return "\n".join(lines[-_LINES:])
