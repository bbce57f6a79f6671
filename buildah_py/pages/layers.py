"""Page of an image's layers: what takes its space, and what of that it carries for nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.pages.page import page
from buildah_py.pages.text import count, facts, line, safe, size
from buildah_py.pages.treemap import swatch, treemap

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildah_py.query.image import LayersReport
    from buildah_py.query.space import Area

_MOST_NAME = 160


def layers_page(name: str, image: str, report: LayersReport, areas: Sequence[Sequence[Area]]) -> str:
    """Give the page of the image `image` that is called `name`."""
    total, wasted = (sum(getattr(layer, what) for layer in report.layers) for what in ("size", "wasted"))
    head = (
        f'<h1>{safe(name)}</h1>\n<p class="lead"><b>{size(total)}</b> in {count(len(report.layers), "layer")}, '
        f"{f'<b>{size(wasted)}</b> of it in vain' if wasted else 'nothing of it in vain'}</p>\n"
    ) + facts([("image", f"<code>{safe(image)}</code>")])
    return page(name, head, sections(report, areas), kind="layers")


def sections(report: LayersReport, areas: Sequence[Sequence[Area]]) -> Iterator[str]:
    """Give the sections about layers, for any page."""
    if drawn := treemap(areas, [layer.created_by for layer in report.layers]):
        yield (
            "<section><h2>Where the bytes are</h2>\n"
            '<p class="dim small">Layers by their colours, in each its directories. Hatched is what later '
            "layers overwrite or delete: an image carries it for nothing.</p>\n"
            f'<div class="map">{drawn}</div></section>\n'
        )
    yield "<section><h2>Layers</h2>\n" + "".join(_layers(report)) + "</section>\n"
    if report.largest:
        items = [(f"/{file.path}", file.size, f"layer #{file.layer}", file.layer) for file in report.largest]
        yield f"<section><h2>Largest files</h2>\n{_bars(items)}</section>\n"
    if report.hidden:
        hidden = [
            (f"/{one.path}", one.bytes, f"{one.times} times" if one.times > 1 else "", -1) for one in report.hidden
        ]
        yield (
            '<section><h2>In vain</h2>\n<p class="dim small">Files that later layers overwrite or delete. '
            f"Remove them in the RUN that makes them.</p>\n{_bars(hidden)}</section>\n"
        )


def _layers(report: LayersReport) -> Iterator[str]:
    most = max((layer.size for layer in report.layers), default=1) or 1
    yield '<ul class="bars">\n'
    for place, layer in enumerate(report.layers):
        changes = ", ".join(
            f"{number:,} {what}"
            for number, what in ((layer.added, "added"), (layer.changed, "changed"), (layer.removed, "removed"))
            if number
        )
        waste = f'<span class="flag">{size(layer.wasted)} below it in vain</span>' if layer.wasted else ""
        told = "".join(f"<span>{one}</span>" for one in (changes, f"{size(layer.disk)} on disk") if one) + waste
        made = line(layer.created_by.removesuffix(" # pybuild"), _MOST_NAME)
        yield (
            f'<li><div class="head"><span class="what">{swatch(place)}<span class="dim">#{place}</span> '
            f'<code>{made}</code></span><span class="end">{size(layer.size)}</span></div>'
            f'{_bar(layer.size / most, f"layer-{place % 8}")}<p class="meta">{told}</p></li>\n'
        )
    yield "</ul>\n"


def _bars(items: Sequence[tuple[str, int, str, int]]) -> str:
    most = max((number for _, number, _, _ in items), default=1) or 1
    return (
        '<ul class="bars">\n'
        + "".join(
            f'<li><div class="head"><span class="what"><code>{safe(name)}</code> <span class="dim">{safe(more)}</span>'
            f'</span><span class="end">{size(number)}</span></div>'
            f"{_bar(number / most, f'layer-{place % 8}' if place >= 0 else 'wasted')}</li>\n"
            for name, number, more, place in items
        )
        + "</ul>\n"
    )


def _bar(share: float, kind: str) -> str:
    return (
        '<svg aria-hidden="true"><rect class="well" width="100%" height="100%" rx="3"/>'
        f'<rect class="{kind}" width="{max(0.4, 100 * share):.2f}%" height="100%" rx="3"/></svg>'
    )
