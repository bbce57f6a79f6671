"""A chart of times as SVG: a bar for each builder of each row, on a logarithmic scale."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_COLOURS: Final = ("#2563eb", "#f59e0b", "#10b981", "#a855f7", "#64748b")
_BAR, _GAP, _LEFT, _WIDTH, _RIGHT, _TOP = 12, 10, 190, 560, 70, 46


def chart(title: str, names: Sequence[str], rows: Sequence[tuple[str, Mapping[str, float]]]) -> str:
    """Draw rows of seconds by the names of builders; a builder that lacks a row has no bar in it."""
    times = [seconds for _, found in rows for seconds in found.values()]
    low, high = math.floor(math.log10(min(times))), math.ceil(math.log10(max(times)))
    scale = _WIDTH / max(1, high - low)
    height = _TOP + sum(len(names) * _BAR + _GAP for _ in rows) + 24
    width = _LEFT + _WIDTH + _RIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">',
        f'<g font-family="sans-serif" font-size="11"><rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="8" y="18" font-size="14">{escape(title)}</text>',
    ]
    for number, name in enumerate(names):
        x = _LEFT + number * 110
        parts.append(f'<rect x="{x}" y="26" width="10" height="10" fill="{_colour(number)}"/>')
        parts.append(f'<text x="{x + 14}" y="35">{escape(name)}</text>')
    for power in range(low, high + 1):
        x = round(_LEFT + (power - low) * scale)
        parts.append(f'<line x1="{x}" y1="{_TOP}" x2="{x}" y2="{height - 20}" stroke="#ddd"/>')
        parts.append(f'<text x="{x}" y="{height - 6}" text-anchor="middle">{10.0**power:g} s</text>')
    y = _TOP + _GAP // 2
    for label, found in rows:
        middle = y + len(names) * _BAR / 2 + 4
        parts.append(f'<text x="{_LEFT - 8}" y="{middle:.0f}" text-anchor="end">{escape(label)}</text>')
        for number, name in enumerate(names):
            if name in found:
                length = max(1.0, (math.log10(found[name]) - low) * scale)
                parts.append(
                    f'<rect x="{_LEFT}" y="{y}" width="{length:.0f}" height="{_BAR - 2}" fill="{_colour(number)}"/>'
                )
                parts.append(f'<text x="{_LEFT + length + 4:.0f}" y="{y + 9}">{_shown(found[name])}</text>')
            y += _BAR
        y += _GAP
    return "\n".join([*parts, "</g></svg>\n"])


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _shown(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
