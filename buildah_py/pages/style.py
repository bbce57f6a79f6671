"""Style sheet of all pages, light and dark, and the one small script: a filter of the steps."""

from __future__ import annotations

from typing import Final

_RULES: Final = """
* { box-sizing: border-box; }
a { color: var(--link); text-decoration-thickness: .06em; text-underline-offset: .18em; }
a:focus-visible, summary:focus-visible, input:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; border-radius: .3rem; }
header { margin-bottom: 1.5rem; }
.brand { display: flex; align-items: center; gap: .5rem; font-size: .8rem; letter-spacing: .06em; color: var(--dim); margin: 0 0 1.6rem; }
.brand svg { width: 1.15rem; height: 1.15rem; flex: none; }
h1 { font-size: clamp(1.5rem, 5vw, 2.15rem); line-height: 1.15; letter-spacing: -.02em; font-weight: 680; margin: 0 0 .35rem; overflow-wrap: anywhere; }
h2 { font-size: 1.08rem; letter-spacing: -.01em; font-weight: 650; margin: 0 0 .2rem; }
h3 { font-size: .95rem; font-weight: 650; margin: 1.2rem 0 .4rem; }
p { margin: .3rem 0; }
.lead { font-size: 1.05rem; color: var(--dim); margin: 0; }
.lead b { color: var(--ink); font-weight: 650; }
.dim { color: var(--dim); }
.small { font-size: .86rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .9rem; padding: 1.15rem 1.25rem 1.25rem; margin: 1rem 0; box-shadow: var(--shadow); }
.pill { display: inline-block; font-size: .72rem; font-weight: 650; line-height: 1; padding: .32em .6em; border-radius: 1em; white-space: nowrap; color: color-mix(in srgb, var(--of) 72%, var(--ink)); background: color-mix(in srgb, var(--of) 13%, transparent); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.2rem, 1fr)); gap: .75rem; list-style: none; margin: 1.3rem 0 1rem; padding: 0; }
.tiles li { background: var(--card); border: 1px solid var(--line); border-radius: .9rem; padding: .8rem 1rem .75rem; box-shadow: var(--shadow); }
.tiles b { display: block; font-size: 1.42rem; line-height: 1.2; letter-spacing: -.02em; font-weight: 650; font-variant-numeric: tabular-nums; }
.tiles span { font-size: .82rem; color: var(--dim); }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 15rem), 1fr)); gap: .55rem 1.5rem; margin: .9rem 0 0; font-size: .9rem; }
.facts dt { color: var(--dim); font-size: .78rem; }
.facts dd { margin: 0; overflow-wrap: anywhere; }
code, pre, .code { font: .87em/1.5 ui-monospace, SFMono-Regular, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
code, .code { overflow-wrap: anywhere; white-space: pre-wrap; }
pre { background: var(--well); border-radius: .5rem; padding: .7rem .85rem; margin: .5rem 0 0; white-space: pre-wrap; overflow-wrap: anywhere; max-height: 24rem; overflow-y: auto; }
mark { background: var(--mark); color: inherit; border-radius: .2em; padding: 0 .08em; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1rem; list-style: none; margin: .55rem 0 .9rem; padding: 0; font-size: .8rem; color: var(--dim); }
.legend li { display: flex; align-items: center; gap: .4rem; }
.legend svg { width: .8rem; height: .8rem; flex: none; }
svg.chart { display: block; width: 100%; overflow: visible; }
svg text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: var(--ink); }
svg .faint { fill: var(--dim); font-size: 11px; }
svg .strong { font-weight: 620; font-size: 12.5px; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .well { fill: var(--well); }
svg .of { fill: var(--of); }
svg .busy { fill: #000; opacity: .2; }
svg .critical { stroke: var(--critical); stroke-width: 3; stroke-linecap: round; fill: none; }
svg .way { stroke: var(--critical); stroke-width: 1.5; stroke-dasharray: 2 3; fill: none; }
svg .edge { stroke: var(--edge); stroke-width: 1.75; fill: none; }
svg .copies { stroke-dasharray: 4 3; }
svg .node { fill: var(--card); stroke: var(--of); stroke-width: 3; }
svg a:hover rect, svg a:focus rect { filter: brightness(1.12); }
svg a:focus-visible { outline: 2px solid var(--link); outline-offset: 1px; }
svg .on { fill: #fff; font-size: 11.5px; font-weight: 520; pointer-events: none; }
svg .onfaint { fill: #fff; opacity: .86; font-size: 11px; pointer-events: none; }
svg .tile { stroke: var(--card); stroke-width: 1.5; }
.hit { --of: var(--hit); }
.ran { --of: var(--ran); }
.failed { --of: var(--failed); }
.cancelled, .none, .other { --of: var(--none); }
.from, .pull { --of: var(--pull); }
.export { --of: var(--export); }
.then { --of: var(--export); }
.critical { --of: var(--critical); }
.layer-0 { --of: var(--layer-0); }
.layer-1 { --of: var(--layer-1); }
.layer-2 { --of: var(--layer-2); }
.layer-3 { --of: var(--layer-3); }
.layer-4 { --of: var(--layer-4); }
.layer-5 { --of: var(--layer-5); }
.layer-6 { --of: var(--layer-6); }
.layer-7 { --of: var(--layer-7); }
svg [class*="layer-"] { fill: var(--of); }
svg .wasted { fill: url(#hatch); }
svg .waste { fill: #000; opacity: .3; }
svg .stripe { fill: #fff; opacity: .3; }
.bars svg .wasted { fill: var(--critical); }
.swatch { display: inline-block; width: .7rem; height: .7rem; margin-right: .45rem; vertical-align: baseline; }
.bars svg.swatch { display: inline-block; width: .7rem; height: .7rem; margin: 0 .45rem 0 0; }
.map { margin-top: .9rem; border-radius: .5rem; overflow: hidden; }
ol.steps { list-style: none; margin: 0; padding: 0; }
ol.steps > li { border-top: 1px solid var(--line); padding: .6rem 0 .6rem .8rem; position: relative; scroll-margin-top: 1rem; }
ol.steps > li:first-child { border-top: 0; }
ol.steps > li::before { content: ""; position: absolute; left: 0; top: .8rem; bottom: .8rem; width: 3px; border-radius: 3px; background: var(--of, transparent); }
ol.steps > li:target { background: color-mix(in srgb, var(--of, var(--link)) 9%, transparent); border-radius: .4rem; }
ol.steps > li.fold { padding-top: .35rem; padding-bottom: .35rem; }
.head { display: grid; grid-template-columns: 1fr auto; gap: .15rem .9rem; align-items: start; }
.head > .what { font-weight: 560; min-width: 0; }
.what > .dim { font-weight: 400; }
.head > .end { display: flex; gap: .6rem; align-items: baseline; font-variant-numeric: tabular-nums; font-size: .88rem; white-space: nowrap; }
.meta { color: var(--dim); font-size: .84rem; margin: .2rem 0 0; overflow-wrap: anywhere; }
.meta > span + span::before { content: " · "; }
.flag { color: var(--critical); font-weight: 600; }
details > summary { cursor: pointer; border-radius: .3rem; }
details.stage { border-top: 1px solid var(--line); padding: .15rem 0; }
details.stage:first-of-type { border-top: 0; }
details.stage > summary { padding: .6rem 0; font-weight: 620; list-style-position: outside; margin-left: 1.1rem; }
details.stage > summary .meta { font-weight: 400; margin-left: .5rem; }
details.stage > ol { margin: 0 0 .6rem; }
li.fold > details > summary { color: var(--dim); font-size: .88rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .89rem; margin: .5rem 0 0; }
th { text-align: left; font-weight: 560; color: var(--dim); font-size: .78rem; white-space: nowrap; }
th, td { border-bottom: 1px solid var(--line); padding: .4rem .8rem .4rem 0; vertical-align: top; }
tr:last-child td { border-bottom: 0; }
td.number, th.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td.value { background: var(--well); padding: .35rem .55rem; border-left: .35rem solid var(--card); width: 36%; }
td.wide { overflow-wrap: anywhere; }
.bars { list-style: none; margin: .6rem 0 0; padding: 0; font-size: .89rem; }
.bars li { margin: .45rem 0; }
.bars svg { display: block; width: 100%; height: .38rem; margin-top: .2rem; }
.bars .head { font-size: inherit; }
ul.plain { margin: .5rem 0 0; padding: 0 0 0 1.1rem; }
ul.plain li { margin: .3rem 0; overflow-wrap: anywhere; }
.filter { display: block; width: 100%; font: inherit; font-size: .95rem; color: inherit; background: var(--well); border: 1px solid var(--line); border-radius: .5rem; padding: .45rem .7rem; margin: .7rem 0 .3rem; }
.filter[hidden], .hidden { display: none; }
footer { color: var(--dim); font-size: .84rem; margin: 1.6rem 0 0; }
@media (max-width: 40rem) {
section { padding: 1rem .95rem; }
ol.steps .head { grid-template-columns: 1fr; }
table.tall, .tall tbody, .tall tr, .tall td { display: block; width: 100%; border: 0; padding: .1rem 0; }
table.tall thead, .tall tr.names { display: none; }
.tall tr { border-top: 1px solid var(--line); padding: .4rem 0; }
.tall td.value { border: 0; border-radius: .35rem; padding: .35rem .55rem; margin: .15rem 0; }
.tall td[data-name]::before { content: attr(data-name); display: block; color: var(--dim); font: .74rem system-ui, sans-serif; }
}
@media print {
section, .tiles li { box-shadow: none; break-inside: avoid; }
}
"""

_COLOURS: Final = """
.pb { color: var(--ink); font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
color-scheme: light dark; --ink: #1b2027; --dim: #626c79; --paper: #f5f6f8; --card: #ffffff; --well: #f0f2f5; --line: #e2e6eb;
--link: #2358c9; --hit: #3b8a69; --ran: #3d6fdd; --failed: #cf3f3a; --none: #9aa4af; --pull: #8a5fd0; --export: #bb7a1c;
--critical: #e2570b; --layer-0: #3f6fb5; --layer-1: #28857a; --layer-2: #8a63b8; --layer-3: #a5682f; --layer-4: #4f8a45; --layer-5: #b0557a;
--layer-6: #5a6f86; --layer-7: #83702a; --edge: #a9b3bf; --mark: #ffe08a; --shadow: 0 1px 2px rgb(20 30 50 / 5%), 0 6px 18px rgb(20 30 50 / 4%); }
@media (prefers-color-scheme: dark) {
.pb { --ink: #e6e9ee; --dim: #97a1ae; --paper: #0e1217; --card: #161b22; --well: #1f262f; --line: #29313b; --link: #8ab0ff;
--hit: #41976f; --ran: #4f7fe6; --failed: #e5635c; --none: #6b7683; --pull: #9a74de; --export: #c58a35; --critical: #ff9350;
--layer-0: #3d67a3; --layer-1: #2b7d73; --layer-2: #7a59a3; --layer-3: #9c6733; --layer-4: #46783e; --layer-5: #994b6b;
--layer-6: #536579; --layer-7: #7f6c28; --edge: #56616e; --mark: #6b5410; --shadow: none; }
}
"""

_BODY: Final = """
body.pb { margin: 0 auto; max-width: 68rem; padding: 1.6rem 1rem 4rem; background: var(--paper); color: var(--ink);
font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; -webkit-text-size-adjust: 100%; }
@media (min-width: 48rem) { body.pb { padding: 2.4rem 2rem 5rem; } }
"""

SCRIPT: Final = """
for (const field of document.querySelectorAll('.filter')) {
  const list = field.parentElement;
  field.hidden = false;
  field.addEventListener('input', () => {
    const words = field.value.toLowerCase();
    for (const step of list.querySelectorAll('li[id]')) {
      step.classList.toggle('hidden', !step.textContent.toLowerCase().includes(words));
    }
    for (const fold of list.querySelectorAll('details')) {
      if (words) fold.open = true;
      fold.classList.toggle('hidden', words && !fold.querySelector('li[id]:not(.hidden)'));
    }
  });
}
const open = () => {
  const found = location.hash && document.getElementById(location.hash.slice(1));
  for (let at = found; at; at = at.parentElement) if (at.tagName === 'DETAILS') at.open = true;
  if (found) found.scrollIntoView();
};
addEventListener('hashchange', open);
open();
"""
"""Without it all can be read: folds open by themselves, and the field is hidden."""


def _scoped(rules: str) -> str:
    """Have rules apply to what is inside of `.pb` alone: a notebook has a style of its own."""
    found = []
    for rule in rules.strip().split("\n"):
        selectors, brace, body = rule.partition(" {")
        if brace and not rule.startswith("@"):
            selectors = ", ".join(f".pb {one}" for one in selectors.split(", "))
        found.append(f"{selectors}{brace}{body}")
    return "\n".join(found)


SCOPED: Final = _COLOURS + _scoped(_RULES)
"""The rules that a part of a page needs elsewhere, inside of an element of the class `pb`."""
STYLE: Final = f"{SCOPED}{_BODY}"
