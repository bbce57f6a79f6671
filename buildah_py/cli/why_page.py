"""The report of `pybuild why` as one page that needs nothing else: no scripts, no fonts, nothing from elsewhere."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from buildah_py.cache.differences import UNKNOWN
from buildah_py.cli.tables import count, one_line
from buildah_py.cli.why_text import nearest
from buildah_py.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildah_py.cache.differences import Difference
    from buildah_py.explain.report import Report, StepReport

_OPEN_FILES: Final = 12
_LABELS: Final = {
    "hit": "hit",
    "same": "same",
    "miss": "miss",
    "differs": "differs",
    "follows": "follows",
    "unknown": "unknown",
    "only here": "only here",
    "only there": "only there",
}
_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2128; --dim: #646d78; --paper: #ffffff; --band: #f4f6f8;
  --line: #dbe0e6; --good: #1a7f47; --bad: #b3261e; --then: #8a5a00; --code: #eef1f4; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e7ec; --dim: #98a2ad; --paper: #14181d; --band: #1b2026;
  --line: #323942; --good: #58c98a; --bad: #ff8a80; --then: #e2b04a; --code: #232a32; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 64rem; padding: 2rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; }
p { margin: .25rem 0; }
.dim { color: var(--dim); }
.counts { display: flex; flex-wrap: wrap; gap: .5rem; margin: 1rem 0 1.5rem; padding: 0; list-style: none; }
.counts li { border: 1px solid var(--line); border-radius: .5rem; padding: .25rem .75rem; background: var(--band); }
ol.steps { list-style: none; margin: 0; padding: 0; }
ol.steps > li { border: 1px solid var(--line); border-left: .3rem solid var(--dim); border-radius: .4rem;
  margin: .6rem 0; padding: .6rem .9rem; }
ol.steps > li.good { border-left-color: var(--good); }
ol.steps > li.bad { border-left-color: var(--bad); }
ol.steps > li.then { border-left-color: var(--then); }
.head { display: flex; gap: .75rem; align-items: baseline; }
.head .what { flex: 1; min-width: 0; }
.verdict { font-size: .8rem; font-weight: 650; text-transform: uppercase; letter-spacing: .04em; white-space: nowrap; }
.good .verdict { color: var(--good); } .bad .verdict { color: var(--bad); } .then .verdict { color: var(--then); }
code, td.value { font: .86em/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere;
  white-space: pre-wrap; }
.head code { font-weight: 600; }
.reason { margin-top: .3rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: .6rem 0 .2rem; font-size: .93rem; }
th { text-align: left; font-weight: 600; color: var(--dim); font-size: .8rem; }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .6rem .25rem 0; vertical-align: top; }
tr:last-child td { border-bottom: 0; }
td.value { background: var(--code); padding: .25rem .45rem; border-left: .3rem solid var(--paper); width: 34%; }
summary { cursor: pointer; color: var(--dim); font-size: .93rem; margin-top: .4rem; }
footer { margin-top: 2rem; }
"""


def page(report: Report) -> str:
    """Give the whole page. Whatever comes from build files, names and records is escaped."""
    return "".join(_parts(report))


def _parts(report: Report) -> Iterator[str]:
    name = "Why steps differ" if report.against else "Why steps hit or miss"
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    yield (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name} · pybuild</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{name}</h1>\n"
    )
    if report.against:
        yield f"<p>Compared with the build in <code>{_text(report.against)}</code>.</p>\n"
    yield _counts(report)
    if report.facts:
        yield '<section><h2 class="dim">The builds as wholes</h2>\n'
        yield from _table(report.facts, against=True)
        yield "</section>\n"
    yield '<ol class="steps">\n'
    for step in report.steps:
        yield from _step(step, against=bool(report.against))
    yield "</ol>\n"
    if any(step.verdict == "follows" for step in report.steps):
        yield (
            '<p class="dim">A step that only follows from others hits after all where those make the same content as '
            "before.</p>\n"
        )
    if report.note:
        yield f"<p>{_text(report.note)}</p>\n"
    yield f'<footer class="dim">pybuild {_text(__version__)}</footer>\n</body>\n</html>\n'


def _counts(report: Report) -> str:
    found: dict[str, int] = {}
    for step in report.steps:
        found[step.verdict] = found.get(step.verdict, 0) + 1
    items = "".join(f"<li><strong>{number}</strong> {_LABELS[verdict]}</li>" for verdict, number in found.items())
    return f'<ul class="counts"><li>{count(len(report.steps), "step")}</li>{items}</ul>\n'


def _step(step: StepReport, *, against: bool) -> Iterator[str]:
    kind = {"hit": "good", "same": "good", "follows": "then", "unknown": "then"}.get(step.verdict, "bad")
    place = f"{step.stage} {step.number}".strip() + (f"/{step.total}" if step.total else "")
    number = f"#{step.id} " if step.id else ""
    yield (
        f'<li class="{kind}"><div class="head"><span class="dim">{_text(number + place)}</span>'
        f'<span class="what"><code>{_text(step.text)}</code></span>'
        f'<span class="verdict">{_LABELS[step.verdict]}</span></div>\n'
    )
    if step.reason:
        yield f'<p class="reason">{_text(step.reason)}</p>\n'
    if step.nearest is not None and kind != "good":
        yield f'<p class="dim">Nearest record: {escape(nearest(step))}</p>\n'
    shown = [one for one in step.differences if one.kind != UNKNOWN]
    if shown:
        yield from _table(shown, against=against)
    yield "</li>\n"


def _table(differences: Sequence[Difference], *, against: bool) -> Iterator[str]:
    heads = "<th>there</th><th>here</th>" if against else "<th>before</th><th>now</th>"
    plain = [one for one in differences if not one.files]
    if plain:
        yield f'<div class="scroll"><table><tr><th>ingredient</th>{heads}</tr>\n'
        for one in plain:
            yield _row(one.what, one.before, one.after)
        yield "</table></div>\n"
    for one in differences:
        if one.files:
            is_open = " open" if len(one.files) <= _OPEN_FILES else ""
            yield f"<details{is_open}><summary>{_text(one.what)}: {count(len(one.files), 'difference')}</summary>\n"
            yield f'<div class="scroll"><table><tr><th>file</th>{heads}</tr>\n'
            for file in one.files:
                added, removed = file.what == "added", file.what == "removed"
                before, after = (
                    ("" if added else file.before or file.what),
                    ("" if removed else file.after or file.what),
                )
                name = file.path if added or removed or file.what == "content" else f"{file.path} ({file.what})"
                yield _row(name, None if added else before, None if removed else after)
            yield "</table></div></details>\n"


def _row(what: str, before: str | None, after: str | None) -> str:
    cells = "".join(
        '<td class="dim">none</td>' if value is None else f'<td class="value">{_text(value)}</td>'
        for value in (before, after)
    )
    return f"<tr><td><code>{_text(what)}</code></td>{cells}</tr>\n"


def _text(value: str) -> str:
    """Escape for a page, line by line: control characters and bytes that are not text are written out."""
    return escape("\n".join(map(one_line, value.split("\n"))))
