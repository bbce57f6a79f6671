"""Timeline of a build: its steps in lanes of stages, with what had to be waited for, as one drawing of any width."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.pages.graph import by_stage
from buildah_py.pages.text import count, line, seconds, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from buildah_py.history.builds import PastBuild, PastStep

WORDS: Final = {
    "hit": "cached",
    "ran": "executed",
    "failed": "failed",
    "cancelled": "cancelled",
    "": "not reached",
}
_PHASES: Final = {
    "prepare": ("other", "read and planned"),
    "steps": ("", "steps"),
    "image": ("other", "image put together"),
    "outputs": ("export", "outputs written"),
    "durable": ("other", "written to the disk"),
    "cache": ("other", "room made in the store"),
    "sent": ("export", "cache exported, room made in the store"),
}
_PULLS: Final = ("pulling", "fetching", "unpacking", "importing", "loading", "cloning", "adding")
_EXPORTS: Final = ("writing", "pushing", "sending", "packing", "compressing", "exporting", "saving")
_HEAD: Final = 22  # pixels
_LABEL: Final = 19
_BAR: Final = 20
_LANE: Final = 54
_LEAST: Final = 0.35  # per cent, of a bar
_MOST_LANES: Final = 24
_TICKS: Final = 6
_MOST_LABEL: Final = 26


class Lane(NamedTuple):
    """Steps that are drawn in one line, in the order of time."""

    name: str
    steps: tuple[PastStep, ...]


class Bar(NamedTuple):
    """Place of a step in the drawing: `x` and `width` in per cent of its width, `y` in pixels from above."""

    x: float
    width: float
    y: int


def critical_path(steps: Sequence[PastStep]) -> tuple[int, ...]:
    """Return the ids of the steps that the build waited for, the first one first.

    Backwards from the step that ended last, it is that of what each one needed which ended last.
    """
    known = {step.id: step for step in steps if step.outcome}
    at = max(known.values(), key=lambda step: (step.end, step.id), default=None)
    found: list[int] = []
    while at is not None:
        found.append(at.id)
        needed = [known[one] for one in at.depends if one in known and one < at.id]
        at = max(needed, key=lambda step: (step.end, step.id), default=None)
    return tuple(reversed(found))


def lanes(steps: Sequence[PastStep]) -> list[Lane]:
    """Sort steps into lanes: base images, then stages, each behind what it needs; many cached ones are one lane."""
    found = []
    for name, own in by_stage(steps).items():
        done = sorted((step for step in own if step.outcome), key=lambda step: step.start)
        if done:
            found.append(Lane(name, tuple(done)))
    bases = [found.pop(0)] if found and found[0].steps[0].kind == "from" else []
    if len(found) > _MOST_LANES:
        cached = [lane for lane in found if all(step.outcome == "hit" for step in lane.steps)]
        if len(cached) > 1:
            joined = tuple(sorted((step for lane in cached for step in lane.steps), key=lambda step: step.start))
            found = [lane for lane in found if lane not in cached]
            found.insert(0, Lane(f"{len(cached)} cached stages", joined))
    return bases + found


def place(found: Sequence[Lane], total: float, first: int) -> dict[int, Bar]:
    """Give each step its bar, by its id: none is too small to be seen, none leaves the drawing."""
    bars = {}
    for row, lane in enumerate(found):
        for step in lane.steps:
            width = min(100.0, max(_LEAST, 100 * step.seconds / total))
            x = min(100 * step.start / total, 100 - width)
            bars[step.id] = Bar(round(max(0.0, x), 3), round(width, 3), first + row * _LANE + _LABEL)
    return bars


def ticks(total: float) -> list[float]:
    """Return the times that a scale up to `total` seconds names: at most seven round ones."""
    step = 10.0**-3
    while True:
        for factor in (1, 2, 5):
            if total / (step * factor) <= _TICKS:
                return [place * step * factor for place in range(int(total / (step * factor)) + 1)]
        step *= 10


def timeline(build: PastBuild, *, links: bool = True) -> str:
    """Draw it. With `links`, bars lead to the elements `step-ID`."""
    return "".join(_drawn(build, links=links))


def legend(build: PastBuild) -> str:
    """Explain the colours that the timeline has."""
    kinds = {_kind(step) for step in build.steps if step.outcome}
    exported = any(_phase(build, one.name)[0] == "export" for one in build.phases)
    shown = [
        ("from", "base image, pulled", "from" in kinds or any(_moving(one.what) == "pull" for one in build.transfers)),
        ("hit", "cached", "hit" in kinds),
        ("ran", "executed (the dark part: CPU)", "ran" in kinds),
        ("failed", "failed", "failed" in kinds),
        ("none", "cancelled", "cancelled" in kinds),
        ("export", "exported", exported),
    ]
    path = (
        '<li><svg viewBox="0 0 10 10" aria-hidden="true"><line class="critical" x1="1" x2="9" y1="5" y2="5"/></svg>'
        "critical path: what the build waited for</li>"
    )
    return swatches(((name, text) for name, text, wanted in shown if wanted), path if kinds else "")


def swatches(shown: Iterable[tuple[str, str]], more: str = "") -> str:
    """Explain colours, by the classes that have them; `more` items follow as they are."""
    items = "".join(
        '<li><svg viewBox="0 0 10 10" aria-hidden="true"><rect width="10" height="10" rx="2.5" '
        f'class="{name} of"/></svg>{text}</li>'
        for name, text in shown
    )
    return f'<ul class="legend">{items}{more}</ul>\n'


def facts_of(step: PastStep, critical: Iterable[int] = ()) -> list[str]:
    """Say what is known of a step that was done, as pieces of text."""
    found = [step.reason] if step.reason else []
    if step.source:
        found.append(f"from {step.source}")
    if step.cpu:
        share = step.cpu / step.seconds if step.seconds else 0
        found.append(f"CPU {seconds(step.cpu)}" + (f" ({share:.1f} cores)" if share >= 0.05 else ""))
    if step.memory:
        found.append(f"memory {size(step.memory)}")
    if step.bytes:
        found.append(f"layer {size(step.bytes)}" if step.kind != "from" else f"layers {size(step.bytes)}")
    if step.id in critical:
        found.append("on the critical path")
    return found


def _drawn(build: PastBuild, *, links: bool) -> Iterator[str]:
    found = lanes(build.steps)
    total = max([build.seconds, 0.001, *(step.end for lane in found for step in lane.steps)])
    known = {step.id: step for step in build.steps}
    path = [one for one in critical_path(build.steps) if known[one].kind != "from" or _is_long(known[one], total)]
    first = _HEAD + _LANE * (2 if build.transfers else 1)
    height = first + len(found) * _LANE
    bars = place(found, total, first)
    yield (
        f'<svg class="chart timeline" height="{height}" role="group" '
        f'aria-label="Timeline of {count(len(bars), "step")} in {seconds(total)}">\n'
    )
    marks = ticks(total)
    for mark in marks:
        x = f"{100 * mark / total:.3f}%"
        yield f'<line class="grid" x1="{x}" x2="{x}" y1="{_HEAD - 4}" y2="{height}"/>'
        anchor = ' text-anchor="end"' if mark / total > 0.96 else ' text-anchor="middle"' if mark else ""
        yield f'<text class="faint" x="{x}" y="12"{anchor}>{_tick(mark, marks)}</text>\n'
    yield from _phases(build, total)
    if build.transfers:
        yield from _transfers(build, total)
    for row, lane in enumerate(found):
        top = first + row * _LANE
        is_base, hits = lane.steps[0].kind == "from", sum(step.outcome == "hit" for step in lane.steps)
        told = count(len(lane.steps), "image" if is_base else "step")
        if hits and not is_base:
            told += ", all cached" if hits == len(lane.steps) else f", {hits} cached"
        told += f" · {seconds(sum(step.seconds for step in lane.steps))}"
        yield f'<text class="strong" x="0" y="{top + 13}">{line(lane.name, _MOST_LABEL)}</text>'
        yield f'<text class="faint" x="100%" y="{top + 13}" text-anchor="end">{told}</text>'
        yield f'<rect class="well" x="0" y="{top + _LABEL}" width="100%" height="{_BAR}" rx="4"/>\n'
    yield from _way(path, bars)
    for lane in found:
        for step in lane.steps:
            yield _bar(step, bars[step.id], path, links=links)
    yield "</svg>\n"


def _is_long(step: PastStep, total: float) -> bool:
    return 100 * step.seconds >= _LEAST * total


def _way(path: Sequence[int], bars: Mapping[int, Bar]) -> Iterator[str]:
    """Draw how the critical path goes from lane to lane."""
    for before, after in pairwise(path):
        one, other = bars[before], bars[after]
        if one.y != other.y:
            x = f"{min(one.x + one.width, 100):.3f}%"
            low, high = sorted((one.y, other.y))
            yield f'<line class="way" x1="{x}" x2="{x}" y1="{low + _BAR}" y2="{high}"/>\n'


def _bar(step: PastStep, bar: Bar, path: Sequence[int], *, links: bool) -> str:
    kind = _kind(step)
    told = "\n".join([f"#{step.id} {step.text}", f"{WORDS.get(step.outcome, step.outcome)} in {seconds(step.seconds)}"])
    told = "\n".join([told, *facts_of(step, path)])
    shape = f'<rect class="{kind} of" x="{bar.x}%" y="{bar.y}" width="{bar.width}%" height="{_BAR}" rx="4"/>'
    if step.cpu and step.seconds:
        high = max(2, round(_BAR * min(1.0, step.cpu / step.seconds)))
        shape += (
            f'<rect class="busy" x="{bar.x}%" y="{bar.y + _BAR - high}" width="{bar.width}%" height="{high}" rx="2"/>'
        )
    if bar.width > 6:
        label = line(step.text, 90)
        shape += (
            f'<svg x="{bar.x}%" y="{bar.y}" width="{bar.width}%" height="{_BAR}"><text class="on" x="7" y="14">{label}'
            "</text></svg>"
        )
    if step.id in path:
        y = bar.y + _BAR + 4
        shape += f'<line class="critical" x1="{bar.x}%" x2="{round(bar.x + bar.width, 3)}%" y1="{y}" y2="{y}"/>'
    title = f"<title>{_title(told)}</title>"
    if not links:
        return f"<g>{title}{shape}</g>\n"
    name = line(f"step {step.id}: {step.text}", 80)
    return f'<a href="#step-{step.id}" aria-label="{name}">{title}{shape}</a>\n'


def _phases(build: PastBuild, total: float) -> Iterator[str]:
    shown = [one for one in build.phases if one.name in _PHASES]
    spent = sum(one.end - one.start for one in shown if one.name != "steps")
    yield f'<text class="strong" x="0" y="{_HEAD + 13}">the build</text>'
    yield (
        f'<text class="faint" x="100%" y="{_HEAD + 13}" text-anchor="end">{seconds(spent)} beside the steps</text>'
        f'<rect class="well" x="0" y="{_HEAD + _LABEL}" width="100%" height="{_BAR}" rx="4"/>\n'
    )
    for one in shown:
        kind, text = _phase(build, one.name)
        share = 100 * (one.end - one.start) / total
        if kind and share >= 0.1:
            x = min(100 * one.start / total, 100 - share)
            width = max(_LEAST, share)
            yield (
                f"<g><title>{text}: {seconds(one.end - one.start)}</title>"
                f'<rect class="{kind} of" x="{max(0.0, x):.3f}%" y="{_HEAD + _LABEL}" width="{width:.3f}%" '
                f'height="{_BAR}" rx="4"/></g>\n'
            )


def _phase(build: PastBuild, name: str) -> tuple[str, str]:
    """Give the colour of a phase, and what it is called."""
    sent = name == "cache" and any("blobs" in one for one in build.caches)
    return _PHASES.get("sent" if sent else name, ("", name))


def _transfers(build: PastBuild, total: float) -> Iterator[str]:
    """Draw what was moved, in a lane of its own: what is moved at once lies over each other."""
    top = _HEAD + _LANE
    moved = sum(one.done for one in build.transfers if one.unit == "bytes")
    yield f'<text class="strong" x="0" y="{top + 13}">pulled, packed, sent</text>'
    yield (
        f'<text class="faint" x="100%" y="{top + 13}" text-anchor="end">{size(moved)}</text>'
        f'<rect class="well" x="0" y="{top + _LABEL}" width="100%" height="{_BAR}" rx="4"/>\n'
    )
    for one in build.transfers:
        width = min(100.0, max(_LEAST, 100 * (one.end - one.start) / total))
        x = max(0.0, min(100 * one.start / total, 100 - width))
        amount = f", {size(one.done)}" if one.unit == "bytes" else f", {one.done} {line(one.unit)}"
        of = f" (for step {one.step})" if one.step else ""
        yield (
            f"<g><title>{line(one.what, 200)}{amount} in {seconds(one.end - one.start)}{of}</title>"
            f'<rect class="{_moving(one.what)} of" x="{x:.3f}%" y="{top + _LABEL}" width="{width:.3f}%" '
            f'height="{_BAR}" rx="4" opacity=".8"/></g>\n'
        )


def _moving(what: str) -> str:
    verb = what.partition(" ")[0]
    return "pull" if verb in _PULLS else "export" if verb in _EXPORTS else "other"


def _kind(step: PastStep) -> str:
    if step.kind == "from" and step.outcome == "hit":
        return "from"
    return step.outcome if step.outcome in ("hit", "ran", "failed", "cancelled") else "none"


def _title(text: str) -> str:
    return "\n".join(line(one, 200) for one in text.split("\n")[:12])


def _tick(mark: float, marks: Sequence[float]) -> str:
    if not mark:
        return "0"
    if marks[-1] < 1:
        return f"{mark * 1000:.0f} ms"
    if marks[-1] < 120:
        return f"{mark:g} s"
    return seconds(mark).removesuffix(" 00 s")
