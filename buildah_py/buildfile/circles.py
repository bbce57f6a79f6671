"""Stages that need each other in a circle."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildah_py.buildfile.source import Span


def find_circle(edges: Sequence[Sequence[tuple[int, Span]]]) -> tuple[int, Span] | None:
    """Find a circle among stages, of which `edges` has those that each takes files from, and where.

    Gives the stage at which the search began, and the place that closes the circle.
    """
    done: set[int] = set()
    for start in range(len(edges)):
        if start in done:
            continue
        done.add(start)
        path = {start}
        stack = [(start, iter(edges[start]))]
        while stack:
            stage, needs = stack[-1]
            for other, span in needs:
                if other in path:
                    return start, span
                if other not in done:
                    done.add(other)
                    path.add(other)
                    stack.append((other, iter(edges[other])))
                    break
            else:
                path.discard(stage)
                stack.pop()
    return None
