"""Page of one build: its timeline, its stages, its steps, what its image is made of, and what was warned of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from buildah_py.pages.graph import by_stage, graph
from buildah_py.pages.page import page
from buildah_py.pages.text import count, facts, line, moment, safe, seconds, size, with_code
from buildah_py.pages.timeline import WORDS, critical_path, facts_of, legend, timeline
from buildah_py.pages.trend import section

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from buildah_py.history.builds import PastBuild, PastStep
    from buildah_py.history.trends import Trend
    from buildah_py.query.image import LayersReport
    from buildah_py.query.space import Area

_Kind = TypeVar("_Kind")

_FOLDED_FROM: Final = 3  # cached steps in a row
_OPEN_STAGES: Final = 12
FILTER: Final = (
    '<input class="filter" type="search" placeholder="Filter the steps" aria-label="Filter the steps" hidden>\n'
)
"""The script shows it."""
_SHORT: Final = 0.005  # seconds, which nobody has waited for
_FILTER_FROM: Final = 10  # steps


class Extras(NamedTuple):
    """Further things to show of a build.

    `layers` and `areas` are those of its image, None and empty where that is not here; `output` the last lines that a
    failed step printed, by its id; `trend` this build with those before it.
    """

    layers: LayersReport | None = None
    areas: Sequence[Sequence[Area]] = ()
    output: Mapping[int, str] = {}
    trend: Trend | None = None


def report_page(build: PastBuild, found: Extras) -> str:
    """Give the page."""
    return page(title_of(build), "".join(_head(build, found)), _sections(build, found), kind="build")


def title_of(build: PastBuild) -> str:
    """Say what was built."""
    return build.names[0] if build.names else build.target or build.file.rpartition("/")[2] or build.id


def sentence(build: PastBuild) -> str:
    """Say how it ended, as HTML."""
    word = {"done": "Built", "failed": "Failed", "cancelled": "Cancelled"}.get(build.outcome, build.outcome)
    own = [step for step in build.steps if step.kind != "from"]
    hits = sum(step.outcome == "hit" for step in own)
    after = "in" if build.outcome == "done" else "after"
    if own and hits == len(own):
        return f"{safe(word)} {after} <b>{seconds(build.seconds)}</b>: all {count(hits, 'step')} cached"
    return f"{safe(word)} {after} <b>{seconds(build.seconds)}</b>: {hits} of {count(len(own), 'step')} cached"


def timeline_part(build: PastBuild) -> str:
    """Give what a notebook shows: how the build ended, and its timeline."""
    from buildah_py.pages.style import SCOPED

    names = " ".join(f"<code>{safe(name)}</code>" for name in build.names)
    return (
        f'<div class="pb"><style>{SCOPED}</style>\n<section>{names}\n<p class="lead">{sentence(build)}</p>\n'
        f"{legend(build)}{timeline(build, links=False)}</section></div>"
    )


def _head(build: PastBuild, found: Extras) -> Iterator[str]:
    kind = {"done": "hit", "failed": "failed"}.get(build.outcome, "none")
    word = {"done": "built", "failed": "failed", "cancelled": "cancelled"}.get(build.outcome, build.outcome)
    yield f'<h1>{safe(title_of(build))} <span class="pill {kind}">{safe(word)}</span></h1>\n'
    yield f'<p class="lead">{sentence(build)}</p>\n'
    cpu, memory = sum(step.cpu for step in build.steps), max((step.memory for step in build.steps), default=0)
    executed = sum(step.outcome == "ran" for step in build.steps)
    tiles = [(seconds(build.seconds), "in all"), (str(executed), f"{'step' if executed == 1 else 'steps'} executed")]
    if cpu:
        tiles.append((seconds(cpu), "CPU time of commands"))
    if memory:
        tiles.append((size(memory), "most memory of a step"))
    if found.layers:
        layers = found.layers.layers
        tiles.append((size(sum(one.size for one in layers)), f"in {count(len(layers), 'layer')}"))
    items = "".join(f"<li><b>{number}</b><span>{text}</span></li>" for number, text in tiles)
    yield f'<ul class="tiles">{items}</ul>\n'
    yield facts(
        [
            ("began", moment(build.created)),
            ("build file", f"<code>{safe(build.file)}</code>" if build.file else ""),
            ("context", f"<code>{safe(build.context)}</code>" if build.context else ""),
            ("target", f"<code>{safe(build.target)}</code>" if build.target else ""),
            ("platform", safe(build.platform)),
            ("names", " ".join(f"<code>{safe(name)}</code>" for name in build.names[1:] and build.names)),
            ("image", f"<code>{safe(build.image)}</code>" if build.image else ""),
            ("build", f"<code>{safe(build.id)}</code>"),
        ]
    )


def _sections(build: PastBuild, found: Extras) -> Iterator[str]:
    path = critical_path(build.steps)
    known = {step.id: step for step in build.steps}
    if build.error:
        yield f'<section><h2><span class="pill failed">error</span></h2>\n<pre>{safe(build.error)}</pre></section>\n'
    if path:
        waited = seconds(sum(known[one].seconds for one in path))
        yield (
            f'<section><h2>Timeline</h2>\n<p class="dim small">The critical path is {waited} '
            f"long. A bar leads to its step, and tells more where one points at it.</p>\n"
            f"{legend(build)}{timeline(build)}</section>\n"
        )
    if drawn := graph(build):
        yield (
            '<section><h2>Stages</h2>\n<p class="dim small">A line leads from a stage '
            "down to what is FROM it, a dashed one to what copies out of it. Bars are the times.</p>"
            f'\n<div class="map">{drawn}</div></section>\n'
        )
    if found.trend is not None:
        yield section(found.trend)
    yield "<section><h2>Steps</h2>\n" + "".join(_steps(build, path, found.output)) + "</section>\n"
    if build.warnings:
        items = "".join(f"<li>{with_code(text)}</li>\n" for _, text in build.warnings)
        yield f'<section><h2>{count(len(build.warnings), "warning")}</h2>\n<ul class="plain">{items}</ul></section>\n'
    if build.caches:
        items = "".join(f"<li>{_cache(one)}</li>\n" for one in build.caches)
        yield f'<section><h2>Shared caches</h2>\n<ul class="plain">{items}</ul></section>\n'
    if found.layers is not None:
        from buildah_py.pages.layers import sections

        yield from sections(found.layers, found.areas)
    elif build.image:
        yield (
            '<section><h2>Layers</h2>\n<p class="dim">The files of this image are not in the store (any more).</p>'
            "</section>\n"
        )


def _cache(one: Mapping[str, object]) -> str:
    name = f"<code>{safe(str(one.get('cache', '')))}</code>"
    if "blobs" in one:
        return f"{name}: {one['blobs']} blobs sent, {size(_number(one['bytes']))}; it had {one['known']} already"
    read = _number(one.get("records")) + _number(one.get("layers"))
    return f"{name}: {one.get('hits')} steps spared, {size(read)} read"


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _steps(build: PastBuild, path: Collection[int], output: Mapping[int, str]) -> Iterator[str]:
    if len(build.steps) >= _FILTER_FROM:
        yield FILTER
    stages = by_stage(build.steps)
    for name, own in stages.items():
        hits = sum(step.outcome == "hit" for step in own)
        is_base, all_cached = own[0].kind == "from", hits == len(own)
        is_open = " open" if len(stages) <= _OPEN_STAGES or not all_cached else ""
        told = [
            count(len(own), "image" if is_base else "step"),
            "" if is_base else "all cached" if all_cached else f"{hits} cached",
            seconds(sum(step.seconds for step in own)),
            size(made) if (made := sum(step.bytes for step in own)) else "",
        ]
        spans = "".join(f"<span>{one}</span>" for one in told if one)
        yield (
            f'<details class="stage"{is_open}><summary>{line(name)}<span class="meta">{spans}</span></summary>\n'
            '<ol class="steps">\n'
        )
        yield from folded(
            own,
            lambda step: step.outcome == "hit",
            lambda step: _step(step, path, output),
            "cached step",
        )
        yield "</ol></details>\n"


def folded(
    steps: Sequence[_Kind], is_dull: Callable[[_Kind], bool], show: Callable[[_Kind], str], what: str
) -> Iterator[str]:
    """Show steps, and fold those that are dull where some of them follow each other; `what` a fold has so many of."""
    at = 0
    while at < len(steps):
        end = at
        while end < len(steps) and is_dull(steps[end]):
            end += 1
        if end - at >= _FOLDED_FROM:
            inner = "".join(map(show, steps[at:end]))
            yield (
                f'<li class="fold"><details><summary>{count(end - at, what)}</summary>\n'
                f'<ol class="steps">\n{inner}</ol></details></li>\n'
            )
        else:
            yield from map(show, steps[at:end])
        if end < len(steps):
            yield show(steps[end])
        at = end + 1


def _step(step: PastStep, path: Collection[int], output: Mapping[int, str]) -> str:
    kind = "from" if step.kind == "from" and step.outcome == "hit" else step.outcome or "none"
    told = [with_code(one) for one in facts_of(step)]
    if step.line:
        told.append(f"line {step.line}")
    if step.id in path and step.seconds >= _SHORT:
        told.append('<span class="flag">critical path</span>')
    meta = "".join(f"<span>{one}</span>" for one in told)
    printed = f"<pre>{safe(output[step.id])}</pre>" if step.id in output else ""
    word, time = safe(WORDS.get(step.outcome, step.outcome)), seconds(step.seconds) if step.outcome else ""
    return (
        f'<li id="step-{step.id}" class="{safe(kind)}"><div class="head"><span class="what">'
        f'<span class="dim">#{step.id}</span> <code>{safe(step.text)}</code></span>'
        f'<span class="end"><span class="pill">{word}</span>{time}</span></div>'
        + (f'<p class="meta">{meta}</p>' if meta else "")
        + f"{printed}</li>\n"
    )
