"""Page of `pybuild why`: stage by stage what hits and what misses, with the words marked that make the difference."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from buildah_py.cache.differences import UNKNOWN
from buildah_py.pages.page import page
from buildah_py.pages.report import FILTER, folded
from buildah_py.pages.text import count, facts, line, marked, moment, safe, seconds, with_code

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildah_py.cache.differences import Difference
    from buildah_py.explain.report import Report, StepReport

_OPEN_FILES: Final = 12
_FILTER_FROM: Final = 10  # steps
_WIDTH: Final = 80
_DIGEST: Final = 71  # characters
_KINDS: Final = {"hit": "hit", "same": "hit", "follows": "then", "unknown": "then"}
"""Colours of verdicts; all others are those of a failure."""
_WORDS: Final = {"unknown": "not known yet", "follows": "follows"}


def why_page(report: Report, about: Sequence[tuple[str, str]], now: float | None = None) -> str:
    """Give the whole page. `about` are facts on the build (text), `now` is when it was looked at."""
    title = "Why the builds differ" if report.against else "Why steps hit or miss"
    return page(title, "".join(_head(title, report, about, now)), _sections(report), kind="why")


def _head(title: str, report: Report, about: Sequence[tuple[str, str]], now: float | None) -> Iterator[str]:
    yield f"<h1>{title}</h1>\n"
    missing = [step for step in report.steps if _is_bad(step)]
    dull = sum(_KINDS.get(step.verdict) == "hit" for step in report.steps)
    word = "are the same" if report.against else "hit"
    if not missing and dull == len(report.steps):
        yield f'<p class="lead"><b>All {count(dull, "step")}</b> {word}.</p>\n'
    else:
        first = next((step for step in report.steps if _KINDS.get(step.verdict) != "hit"), None)
        jump = f' <a href="#step-{_anchor(first)}">The first that does not</a>' if first else ""
        yield f'<p class="lead"><b>{dull} of {count(len(report.steps), "step")}</b> {word}.{jump}</p>\n'
    found: dict[str, int] = {}
    for step in report.steps:
        found[step.verdict] = found.get(step.verdict, 0) + 1
    tiles = [(str(number), _WORDS.get(verdict, verdict)) for verdict, number in found.items()]
    spent = sum(step.nearest.seconds for step in report.steps if step.nearest and _KINDS.get(step.verdict) != "hit")
    if spent >= 0.1:
        tiles.append((seconds(spent), "took those that do not hit"))
    items = "".join(f"<li><b>{number}</b><span>{safe(text)}</span></li>" for number, text in tiles)
    yield f'<ul class="tiles">{items}</ul>\n'
    made = [step.nearest.made for step in report.steps if step.nearest and step.nearest.made]
    against = f"<code>{safe(report.against)}</code>" if report.against else ""
    if not against and made:
        against = f"the records of this store; the latest is of {moment(max(made) / 1e9)}"
    yield facts(
        [
            *((name, f"<code>{safe(value)}</code>" if value else "") for name, value in about),
            ("compared with", against),
            ("looked at", moment(time.time() if now is None else now)),
        ]
    )


def _sections(report: Report) -> Iterator[str]:
    if report.facts:
        yield "<section><h2>The builds as wholes</h2>\n" + "".join(_table(report.facts, against=True)) + "</section>\n"
    against = bool(report.against)
    stages: dict[str, list[StepReport]] = {}
    for step in report.steps:
        stages.setdefault(step.stage, []).append(step)
    yield "<section><h2>Steps</h2>\n" + (FILTER if len(report.steps) >= _FILTER_FROM else "")
    for name, own in stages.items():
        dull = sum(_KINDS.get(step.verdict) == "hit" for step in own)
        word = "the same" if against else "hit"
        told = f"all {word}" if dull == len(own) else f"{dull} {word}"
        yield (
            f'<details class="stage" open><summary>{line(name) or "the image"}<span class="meta"><span>'
            f'{count(len(own), "step")}</span><span>{told}</span></span></summary>\n<ol class="steps">\n'
        )
        yield from folded(
            own,
            lambda step: _KINDS.get(step.verdict) == "hit",
            lambda step: _step(step, against=against),
            f"{word} step" if against else "hit",
        )
        yield "</ol></details>\n"
    yield "</section>\n"
    if any(step.verdict == "follows" for step in report.steps):
        yield (
            '<p class="dim small">A step that only follows from others hits after all where those make the same '
            "content as before.</p>\n"
        )
    if report.note:
        yield f"<p>{with_code(report.note)}</p>\n"


def _step(step: StepReport, *, against: bool) -> str:
    kind = _KINDS.get(step.verdict, "failed")
    place = f"{step.number}/{step.total}" if step.total else str(step.number)
    number = f"#{step.id}" if step.id else ""
    took = seconds(step.nearest.seconds) if step.nearest and step.nearest.seconds else ""
    where = ":".join(step.place.rpartition("/")[2].rsplit(":", 1))
    word = safe(_WORDS.get(step.verdict, step.verdict))
    head = (
        f'<li id="step-{_anchor(step)}" class="{kind}"><div class="head"><span class="what">'
        f'<span class="dim">{number}</span> <code>{safe(step.text)}</code></span>'
        f'<span class="end"><span class="pill">{word}</span>{took}</span></div>\n'
    )
    parts = [head]
    if step.reason:
        parts.append(f"<p>{with_code(step.reason)}</p>\n")
    meta = [f"step {place}", safe(where)]
    if step.nearest is not None and kind != "hit" and step.nearest.made:
        meta.append(_nearest(step))
    parts.append('<p class="meta">' + "".join(f"<span>{one}</span>" for one in meta if one) + "</p>\n")
    shown = [one for one in step.differences if one.kind != UNKNOWN]
    if shown:
        parts += _table(shown, against=against)
    parts.append("</li>\n")
    return "".join(parts)


def _nearest(step: StepReport) -> str:
    record = step.nearest
    assert record is not None
    of = "" if record.text == step.text else f" of <code>{line(record.text, _WIDTH)}</code>"
    by = f" by pybuild {safe(record.pybuild)}" if record.pybuild else ""
    source = f" in {safe(record.source)}" if record.source else ""
    return f"compared with the record{of}{source} made {moment(record.made / 1e9)}{by}"


def _table(differences: Sequence[Difference], *, against: bool) -> Iterator[str]:
    before, now = ("there", "here") if against else ("before", "now")
    names = f"<th>{before}</th><th>{now}</th></tr>\n"
    plain = [one for one in differences if not one.files]
    if plain:
        yield f'<table class="tall"><tr class="names"><th>ingredient</th>{names}'
        for one in plain:
            yield _row(one.what, one.before, one.after, before, now)
        yield "</table>\n"
    for one in differences:
        if one.files:
            is_open = " open" if len(one.files) <= _OPEN_FILES else ""
            yield (
                f'<details{is_open}><summary class="small dim">{with_code(one.what)}: '
                f"{count(len(one.files), 'difference')}</summary>\n"
            )
            yield f'<table class="tall"><tr class="names"><th>file</th>{names}'
            for file in one.files:
                added, removed = file.what == "added", file.what == "removed"
                name = file.path if added or removed or file.what == "content" else f"{file.path} ({file.what})"
                old = None if added else file.before or file.what
                new = None if removed else file.after or file.what
                yield _row(name, old, new, before, now)
            yield "</table></details>\n"


def _row(what: str, before: str | None, after: str | None, *names: str) -> str:
    if before is not None and after is not None and not before.startswith("sha256:"):
        shown: tuple[str | None, ...] = marked(before, after)
    else:
        shown = tuple(None if value is None else _short(value) for value in (before, after))
    cells = "".join(
        f'<td class="dim" data-name="{name}">none</td>'
        if value is None
        else f'<td class="value code" data-name="{name}">{value}</td>'
        for name, value in zip(names, shown, strict=True)
    )
    return f'<tr><td class="wide"><code>{safe(what)}</code></td>{cells}</tr>\n'


def _short(value: str) -> str:
    if value.startswith("sha256:") and len(value) == _DIGEST:
        return f'<span title="{safe(value)}">{safe(value[:19])}…</span>'
    return safe(value)


def _is_bad(step: StepReport) -> bool:
    return _KINDS.get(step.verdict) is None


def _anchor(step: StepReport) -> str:
    """Name a step for links; those of the other build alone have no id."""
    if step.id:
        return str(step.id)
    stage = "".join(one if one.isalnum() else "-" for one in step.stage)
    return f"other-{stage}-{step.number}"
