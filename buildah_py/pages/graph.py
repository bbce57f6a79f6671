"""Graph of a build's stages: a row for each, with lines from what it was made of, as one drawing of any width."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.pages.text import count, line, seconds, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildah_py.history.builds import PastBuild, PastStep

BASE: Final = "base"
UNNAMED: Final = "the image"
_ROW: Final = 50  # pixels
_TRACK: Final = 13
_MOST_TRACKS: Final = 9
_MOST_NAME: Final = 30


class StageNode(NamedTuple):
    """A stage or a base image with the numbers of its steps. `needs` are the names of others: first what it is FROM."""

    name: str
    kind: str
    needs: tuple[str, ...]
    steps: int
    hits: int
    seconds: float
    bytes: int
    outcome: str


class Arc(NamedTuple):
    """A line from row `start` to row `end`, in the track so far from the rows; `copies` unless it is FROM."""

    start: int
    end: int
    track: int
    copies: bool


def stage_nodes(steps: Sequence[PastStep]) -> list[StageNode]:
    """Give the stages and base images, each behind all that it needs."""
    homes = {step.id: step.text.removeprefix("FROM ") if step.kind == "from" else step.stage for step in steps}
    groups: dict[tuple[str, str], list[PastStep]] = {}
    for step in steps:
        groups.setdefault((BASE if step.kind == "from" else "stage", homes[step.id]), []).append(step)
    names = {key: key[1] or UNNAMED for key in groups}
    kinds = {step.id: BASE if step.kind == "from" else "stage" for step in steps}
    found = []
    for key, own in groups.items():
        needs: dict[tuple[str, str], None] = {}
        for step in own:
            for one in step.depends:
                other = (kinds[one], homes[one]) if one in kinds else key
                if other != key:
                    needs[other] = None
        ends = {step.outcome for step in own}
        outcome = next((one for one in ("failed", "cancelled", "ran") if one in ends), "hit" if ends == {"hit"} else "")
        found.append(
            (
                key,
                StageNode(
                    names[key],
                    key[0],
                    tuple(f"{kind}:{names[kind, name]}" for kind, name in needs),
                    len(own),
                    sum(step.outcome == "hit" for step in own),
                    sum(step.seconds for step in own),
                    sum(step.bytes for step in own),
                    outcome,
                ),
            )
        )
    return _sorted([node for _, node in found])


def by_stage(steps: Sequence[PastStep]) -> dict[str, list[PastStep]]:
    """Sort steps by what a page calls their stage: base images first, then each stage behind what it needs."""
    bases = [step for step in steps if step.kind == "from"]
    found: dict[str, list[PastStep]] = {"base images": bases} if bases else {}
    for node in stage_nodes(steps):
        if node.kind != BASE:
            found[node.name] = []
    for step in steps:
        if step.kind != "from":
            found[step.stage or UNNAMED].append(step)
    return found


def arcs(nodes: Sequence[StageNode]) -> list[Arc]:
    """Give the lines between rows, in tracks in which no two share a row; short ones are next to the rows."""
    rows = {f"{node.kind}:{node.name}": place for place, node in enumerate(nodes)}
    wanted = sorted(
        ((rows[need], place, bool(order)) for place, node in enumerate(nodes) for order, need in enumerate(node.needs)),
        key=lambda one: (one[1] - one[0], one[0]),
    )
    taken: list[list[tuple[int, int]]] = []
    found = []
    for start, end, copies in wanted:
        for track in range(len(taken) + 1):
            if track == len(taken):
                taken.append([])
            if all(end <= other[0] or start >= other[1] for other in taken[track]):
                break
        taken[track].append((start, end))
        found.append(Arc(start, end, min(track, _MOST_TRACKS - 1), copies))
    return found


def graph(build: PastBuild) -> str:
    """Draw the graph; "" where there is but one stage."""
    nodes = stage_nodes(build.steps)
    if sum(node.kind != BASE for node in nodes) < 2:
        return ""
    return "".join(_drawn(nodes))


def _drawn(nodes: Sequence[StageNode]) -> Iterator[str]:
    lines = arcs(nodes)
    left = 16 + _TRACK * (1 + max((arc.track for arc in lines), default=0))
    height = len(nodes) * _ROW - 6
    most = max(node.seconds for node in nodes) or 1.0
    yield f'<svg class="chart graph" height="{height}" role="img" aria-label="Graph of {count(len(nodes), "stage")}">\n'
    for arc in lines:
        x, y1, y2 = left - _TRACK * (arc.track + 1), arc.start * _ROW + 15, arc.end * _ROW + 15
        bend = min(14, (y2 - y1) // 2)
        kind = " copies" if arc.copies else ""
        yield (
            f'<path class="edge{kind}" d="M{left} {y1}H{x + 8}Q{x} {y1} {x} {y1 + bend}'
            f'V{y2 - bend}Q{x} {y2} {x + 8} {y2}H{left}"/>\n'
        )
    for row, node in enumerate(nodes):
        y = row * _ROW
        kind = "from" if node.kind == BASE and node.outcome == "hit" else node.outcome or "none"
        facts = [
            "base image" if node.kind == BASE else f"{count(node.steps, 'step')}, {_cached(node)}",
            seconds(node.seconds) if node.seconds >= 0.0005 else "",
            size(node.bytes) if node.bytes else "",
        ]
        needs = ", ".join(one.partition(":")[2] for one in node.needs)
        told = " · ".join(filter(None, facts))
        title = f"{node.name}\n{told}" + (f"\nmade of {needs}" if needs else "")
        shown = "\n".join(line(one, 300) for one in title.split("\n"))
        width = 100 * node.seconds / most
        yield (
            f'<g class="{kind}"><title>{shown}</title>'
            f'<circle class="node" cx="{left}" cy="{y + 15}" r="5.5"/>'
            f'<text class="strong" x="{left + 16}" y="{y + 14}">{line(node.name, _MOST_NAME)}</text>'
            f'<text class="faint" x="{left + 16}" y="{y + 29}">{told}</text>'
            f'<svg x="{left + 16}" y="{y + 34}" width="100%" height="4" overflow="hidden">'
            f'<rect class="of" width="{max(0.4, width * 0.7):.2f}%" height="3" rx="1.5"/></svg></g>\n'
        )
    yield "</svg>\n"


def _cached(node: StageNode) -> str:
    return "all cached" if node.hits == node.steps else f"{node.hits} cached"


def _sorted(nodes: Sequence[StageNode]) -> list[StageNode]:
    """Put each node behind what it needs, and as near to that as can be."""
    known = {f"{node.kind}:{node.name}": node for node in nodes}
    found: dict[str, StageNode] = {}
    stack = [(name, False) for name in reversed(known)]
    entered: set[str] = set()
    while stack:
        name, ready = stack.pop()
        if ready:
            found[name] = known[name]
        elif name not in entered:
            entered.add(name)
            stack.append((name, True))
            stack += [(need, False) for need in reversed(known[name].needs)]
    return list(found.values())
