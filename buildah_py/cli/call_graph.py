"""Graph of stages as text for people, for Graphviz and for Mermaid."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from buildah_py.cli.tables import count, one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildah_py.buildfile.stage_graph import GraphedStage, StageGraph

FORMATS: Final = ("text", "json", "dot", "mermaid")
_WORDS: Final = {"from": "FROM", "copy": "COPY", "mount": "mount"}


def as_data(graph: StageGraph) -> dict[str, object]:
    """Return the graph as plain data; edges name nodes by their places."""
    return {"nodes": [node._asdict() for node in graph.nodes], "edges": [edge._asdict() for edge in graph.edges]}


def lines(graph: StageGraph, form: str) -> list[str]:
    """Return the graph as `text`, `dot` or `mermaid`."""
    writers: dict[str, Callable[[StageGraph], list[str]]] = {"text": _text, "dot": _dot, "mermaid": _mermaid}
    return writers[form](graph)


def _text(graph: StageGraph) -> list[str]:
    found = []
    for place, node in enumerate(graph.nodes):
        if node.kind == "stage":
            found.append(f"{one_line(node.name)}{' (target)' if node.target else ''}: {count(node.steps, 'step')}")
            found += (
                f"  {_WORDS[edge.kind]:<5} {one_line(graph.nodes[edge.source].name)}"
                for edge in graph.edges
                if edge.target == place
            )
    return found


def _dot(graph: StageGraph) -> list[str]:
    found = ["digraph stages {", "  rankdir=LR;", '  node [shape=box, style=rounded, fontname="sans-serif"];']
    for place, node in enumerate(graph.nodes):
        style = {"image": ", shape=cylinder, style=solid", "context": ", shape=folder, style=solid"}.get(node.kind, "")
        bold = ", penwidth=2" if node.target else ""
        label = "\\n".join(map(_quoted, _label(node)))
        found.append(f'  n{place} [label="{label}"{style}{bold}];')
    for edge in graph.edges:
        style = "" if edge.kind == "from" else f' [style=dashed, label="{_WORDS[edge.kind]}"]'
        found.append(f"  n{edge.source} -> n{edge.target}{style};")
    return [*found, "}"]


def _mermaid(graph: StageGraph) -> list[str]:
    found = ["flowchart LR"]
    shapes = {"image": ("[(", ")]"), "context": ("[/", "/]"), "stage": ("(", ")")}
    for place, node in enumerate(graph.nodes):
        begin, end = shapes[node.kind]
        label = "<br>".join(map(_entities, _label(node)))
        found.append(f'    n{place}{begin}"{label}"{end}')
    for edge in graph.edges:
        arrow = "-->" if edge.kind == "from" else f"-. {_WORDS[edge.kind]} .->"
        found.append(f"    n{edge.source} {arrow} n{edge.target}")
    found += [f"    style n{place} stroke-width:3px" for place, node in enumerate(graph.nodes) if node.target]
    return found


def _label(node: GraphedStage) -> list[str]:
    name = one_line(node.name)
    return [name, f"line {node.line}, {count(node.steps, 'step')}"] if node.kind == "stage" else [name]


def _quoted(text: str) -> str:
    """Give text for a string of Graphviz."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _entities(text: str) -> str:
    """Give text in which nothing means something to Mermaid, which spells entities with a number sign."""
    return re.sub(r"[^\w ,.:/@-]", lambda found: f"#{ord(found[0])};", text, flags=re.ASCII)
