"""Report of a build as Markdown that fits the summary of a CI job: a table, and a Gantt chart for Mermaid."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Final

from buildah_py.pages.report import sentence, title_of
from buildah_py.pages.text import count, seconds, size
from buildah_py.pages.timeline import WORDS, critical_path, lanes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from buildah_py.history.builds import PastBuild, PastStep
    from buildah_py.pages.report import Extras

_MOST_ROWS: Final = 100
_MOST_BARS: Final = 60
_TEXT: Final = 100
_REASON: Final = 160
_MARKS: Final = {"hit": "⚪", "ran": "🔵", "failed": "🔴", "cancelled": "⚫"}
_TAGS: Final = {"hit": "done, ", "ran": "active, ", "failed": "crit, "}


def summary(build: PastBuild, found: Extras) -> str:
    """Give the report."""
    return "".join(_parts(build, found))


def _parts(build: PastBuild, found: Extras) -> Iterator[str]:
    path = critical_path(build.steps)
    yield f"### {_cell(title_of(build))}\n\n{sentence(build).replace('<b>', '**').replace('</b>', '**')}\n\n"
    if build.error:
        yield f"{_block(build.error)}\n"
    yield from _table(build, path)
    for step, output in found.output.items():
        yield f"<details open><summary>last lines of step {step}</summary>\n\n{_block(output)}</details>\n\n"
    if any(step.seconds >= 0.001 for step in build.steps):
        yield from _gantt(build, path)
    if build.warnings:
        yield f"<details><summary>{count(len(build.warnings), 'warning')}</summary>\n\n"
        yield "".join(f"- {_cell(text)}\n" for _, text in build.warnings) + "\n</details>\n\n"
    if found.layers is not None:
        yield from _layers(found)


def _table(build: PastBuild, path: Collection[int]) -> Iterator[str]:
    shown = [step for step in build.steps if step.outcome not in ("hit", "")]
    yield "| # | stage | step | outcome | time | CPU | memory | layer |\n|--:|---|---|---|--:|--:|--:|--:|\n"
    for step in shown[:_MOST_ROWS]:
        reason = f"<br>{_cell(step.reason, _REASON)}" if step.reason else ""
        cells = (
            str(step.id),
            _cell(step.stage),
            f"<code>{_cell(step.text, _TEXT)}</code>",
            f"{_MARKS.get(step.outcome, '')} {WORDS.get(step.outcome, step.outcome)}{reason}",
            f"**{seconds(step.seconds)}**" if step.id in path else seconds(step.seconds),
            seconds(step.cpu) if step.cpu else "",
            size(step.memory) if step.memory else "",
            size(step.bytes) if step.bytes else "",
        )
        yield f"| {' | '.join(cells)} |\n"
    hits, missed = (sum(step.outcome == one for step in build.steps) for one in ("hit", ""))
    for number, what in ((hits, "cached"), (missed, "not reached"), (max(0, len(shown) - _MOST_ROWS), "further")):
        if number:
            yield f"| | | {count(number, f'{what} step')} | {_MARKS['hit'] if what == 'cached' else ''} | | | | |\n"
    yield "\nTimes in bold are on the critical path.\n\n" if shown else "\n"


def _gantt(build: PastBuild, path: Collection[int]) -> Iterator[str]:
    """Draw the longest steps and what the build waited for; Mermaid takes milliseconds for a date."""
    longest = sorted(build.steps, key=lambda step: (step.id not in path, -step.seconds))[:_MOST_BARS]
    wanted = {step.id for step in longest if step.outcome and (step.seconds >= 0.001 or step.outcome != "hit")}
    if not wanted:
        return
    yield "```mermaid\ngantt\n    dateFormat x\n    axisFormat %M:%S\n"
    for lane in lanes(build.steps):
        own = [step for step in lane.steps if step.id in wanted]
        if own:
            yield f"    section {_word(lane.name, 40)}\n"
        for step in own:
            yield _task(step, critical=step.id in path)
    yield "```\n\n"


def _task(step: PastStep, *, critical: bool) -> str:
    start, end = (round(1000 * time) for time in (step.start, step.end))
    tag = _TAGS.get(step.outcome, "")
    crit = "crit, " if critical and "crit" not in tag else ""
    return f"    {_word(step.text, 48)} :{crit}{tag}s{step.id}, {start}, {max(end, start + 1)}\n"


def _layers(found: Extras) -> Iterator[str]:
    assert found.layers is not None
    total, wasted = (sum(getattr(layer, what) for layer in found.layers.layers) for what in ("size", "wasted"))
    told = f", {size(wasted)} of it in vain" if wasted else ""
    yield f"<details><summary>{count(len(found.layers.layers), 'layer')}, {size(total)}{told}</summary>\n\n"
    yield "| # | made by | size | in vain |\n|--:|---|--:|--:|\n"
    for place, layer in enumerate(found.layers.layers[:_MOST_ROWS]):
        waste = size(layer.wasted) if layer.wasted else ""
        yield f"| {place} | <code>{_cell(layer.created_by, _TEXT)}</code> | {size(layer.size)} | {waste} |\n"
    yield "\n</details>\n"


def _cell(text: str, width: int = 300) -> str:
    """Give text as one cell of a table, in which nothing is Markdown, HTML, a link or somebody's name."""
    shown = "".join(one if one.isprintable() else repr(one)[1:-1] for one in " ".join(text.split()))
    shown = escape(shown if len(shown) <= width else f"{shown[: width - 1]}…", quote=False)
    return re.sub(r"[\\`*_{}\[\]()~|@:#\"'$]", lambda found: f"&#{ord(found[0])};", shown)


def _block(text: str) -> str:
    """Give text as a block, whose fence is longer than any in it."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    shown = "".join(one if one.isprintable() or one == "\n" else repr(one)[1:-1] for one in text)
    return f"{fence}\n{shown}\n{fence}\n"


def _word(text: str, width: int) -> str:
    """Give text of which nothing means something to Mermaid."""
    shown = " ".join(re.sub(r"[^\w /.,=+*-]", " ", text, flags=re.ASCII).split())
    return (shown if len(shown) <= width else f"{shown[: width - 3]}...") or "-"
