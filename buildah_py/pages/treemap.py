"""Treemap: rectangles as large as what they stand for, as one drawing of any width."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.pages.text import line, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildah_py.query.space import Area

_WIDTH: Final = 1000.0  # per mille of whatever width it is drawn in
_HEIGHT: Final = 380.0  # pixels
_HUES: Final = 8


class Rect(NamedTuple):
    """A rectangle, by its upper left corner."""

    x: float
    y: float
    width: float
    height: float


def squarify(sizes: Sequence[float], into: Rect) -> list[Rect]:
    """Divide a rectangle in proportion to sizes (none negative), near to squares where the largest come first."""
    total = sum(sizes)
    if total <= 0 or into.width <= 0 or into.height <= 0:
        return [Rect(into.x, into.y, 0, 0) for _ in sizes]
    scale = into.width * into.height / total
    found: list[Rect] = []
    left = list(sizes)
    while left:
        side = min(into.width, into.height)
        row = [left.pop(0) * scale]
        while left and _worst([*row, left[0] * scale], side) <= _worst(row, side):
            row.append(left.pop(0) * scale)
        thick = sum(row) / side if side else 0.0
        at = 0.0
        for area in row:
            long = area / thick if thick else 0.0
            if into.width >= into.height:
                found.append(Rect(into.x, into.y + at, thick, long))
            else:
                found.append(Rect(into.x + at, into.y, long, thick))
            at += long
        if into.width >= into.height:
            into = Rect(into.x + thick, into.y, max(0.0, into.width - thick), into.height)
        else:
            into = Rect(into.x, into.y + thick, into.width, max(0.0, into.height - thick))
    return found


def treemap(layers: Sequence[Sequence[Area]], names: Sequence[str]) -> str:
    """Draw layers, and in each its directories; what later layers hide is hatched. "" where there is no file."""
    totals = [sum(area.bytes for area in areas) for areas in layers]
    return "".join(_drawn(layers, totals, names)) if any(totals) else ""


def _drawn(layers: Sequence[Sequence[Area]], totals: Sequence[int], names: Sequence[str]) -> Iterator[str]:
    order = sorted(range(len(layers)), key=lambda place: -totals[place])
    homes = dict(zip(order, squarify([totals[place] for place in order], Rect(0, 0, _WIDTH, _HEIGHT)), strict=True))
    yield (
        f'<svg class="chart treemap" height="{_HEIGHT:.0f}" role="img" '
        'aria-label="Layers and their directories by size">\n'
        '<defs><pattern id="hatch" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        '<rect width="7" height="7" class="waste"/><rect width="2.5" height="7" class="stripe"/></pattern></defs>\n'
    )
    for place, areas in enumerate(layers):
        for area, rect in zip(areas, squarify([area.bytes for area in areas], homes[place]), strict=True):
            if rect.width * rect.height >= 1:
                yield _tile(area, rect, place, names[place])
    yield "</svg>\n"


def _tile(area: Area, rect: Rect, layer: int, name: str) -> str:
    path = f"/{area.path.strip('/')}" if area.path else "other directories"
    made = f"#{layer} {name}"
    wasted = f", {size(area.wasted)} of it in vain" if area.wasted else ""
    told = f"{path}: {size(area.bytes)}{wasted}"
    hatched = ""
    if area.wasted and area.bytes:
        part = area.wasted / area.bytes
        hatched = f'<rect y="{100 - 100 * part:.2f}%" width="100%" height="{100 * part:.2f}%" class="wasted"/>'
    label = ""
    if rect.width > 55 and rect.height > 19:
        label = f'<text class="on" x="7" y="16">{line(path, 60)}</text>'
        if rect.height > 36:
            label += (
                f'<text class="onfaint" x="7" y="31">{size(area.bytes)}{" hatched: in vain" if wasted else ""}</text>'
            )
    return (
        f'<svg x="{rect.x / 10:.3f}%" y="{rect.y:.1f}" width="{rect.width / 10:.3f}%" height="{rect.height:.1f}" '
        f'overflow="hidden"><title>{line(told, 200)}\n{line(made, 200)}</title>'
        f'<rect class="tile layer-{layer % _HUES}" width="100%" height="100%"/>{hatched}{label}</svg>\n'
    )


def _worst(areas: Sequence[float], side: float) -> float:
    """Say how far from square the worst of the rectangles is that stand in one row along that side."""
    total = sum(areas)
    if not total or not side or not min(areas):
        return float("inf")
    return max(side * side * max(areas) / (total * total), total * total / (side * side * min(areas)))


def swatch(layer: int) -> str:
    """Give a layer's colour as a small square."""
    return (
        '<svg class="swatch" viewBox="0 0 10 10" aria-hidden="true"><rect width="10" height="10" rx="2.5" '
        f'class="layer-{layer % _HUES}"/></svg>'
    )
