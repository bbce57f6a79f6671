"""Chart of the last builds of one thing: a column for each, as high as it took long, above the part that was cached."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from buildah_py.pages.text import safe, seconds
from buildah_py.pages.timeline import swatches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildah_py.history.builds import PastBuild
    from buildah_py.history.trends import Trend

_WORDS: Final = {"hit": "all steps cached", "ran": "some executed", "failed": "failed", "cancelled": "cancelled"}
_TOP: Final = 20  # pixels
_HIGH: Final = 84
_GAP: Final = 10
_SHARE: Final = 26
_LEAST: Final = 2
_FEWEST: Final = 12  # places for columns, so that few are not wide


def section(trend: Trend) -> str:
    """Give the section of a page; nothing where there is one build alone."""
    return "".join(_section(trend)) if len(trend.builds) > 1 else ""


def _section(trend: Trend) -> Iterator[str]:
    cached = f", <b>{100 * trend.hits // trend.steps}%</b> of the steps cached" if trend.steps else ""
    yield (
        f'<section><h2>The last {len(trend.builds)} builds</h2>\n<p class="dim small">'
        f"Usually <b>{seconds(trend.usual)}</b>{cached}. A column is as high as a build took long; below it, "
        "the part of its steps that was cached. The last column is this build.</p>\n"
    )
    kinds = set(map(_kind, trend.builds))
    yield swatches((kind, text) for kind, text in _WORDS.items() if kind in kinds)
    yield from _drawn(trend)
    yield "</section>\n"


def _drawn(trend: Trend) -> Iterator[str]:
    longest = max(build.seconds for build in trend.builds) or 1.0
    below = _TOP + _HIGH + _GAP
    yield f'<svg class="chart" height="{below + _SHARE + 2}" role="img" aria-label="Durations of the last builds">\n'
    for share in (1.0, 0.5):
        y = _TOP + round(_HIGH * (1 - share))
        yield f'<line class="grid" x1="0" x2="100%" y1="{y}" y2="{y}"/>'
        yield f'<text class="faint" x="0" y="{y - 4}">{seconds(longest * share)}</text>\n'
    places = max(_FEWEST, len(trend.builds))
    wide = 88 / places
    for number, build in enumerate(trend.builds, places - len(trend.builds)):
        x, width = f"{12 + number * wide:.3f}%", f"{wide * 0.72:.3f}%"
        high = max(_LEAST, round(_HIGH * build.seconds / longest))
        own = build.count("hit") + build.count("ran")
        share = round(_SHARE * build.count("hit") / own) if own else 0
        at = f'x="{x}" width="{width}"'
        yield (
            f'<g class="{safe(_kind(build))}"><title>{safe(_told(build))}</title>'
            f'<rect class="of" {at} y="{_TOP + _HIGH - high}" height="{high}" rx="2"/>'
            f'<rect class="well" {at} y="{below}" height="{_SHARE}" rx="2"/></g>'
            f'<g class="hit"><rect class="of" {at} y="{below + _SHARE - share}" height="{share}" rx="2"/></g>\n'
        )
    yield "</svg>\n"


def _told(build: PastBuild) -> str:
    hits, ran = build.count("hit"), build.count("ran")
    when = datetime.fromtimestamp(build.created, UTC)
    ended = f"{build.outcome} in {seconds(build.seconds)}, {hits} of {hits + ran} cached"
    return f"{build.id}, {when:%Y-%m-%d %H:%M} UTC: {ended}"


def _kind(build: PastBuild) -> str:
    return ("ran" if build.count("ran") else "hit") if build.outcome == "done" else build.outcome
