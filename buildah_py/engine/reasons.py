"""Why a step is executed: which records may be used at all, and how the step differs from the nearest one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.engine.results import chain_above, chain_below
from buildah_py.plan.steps import BaseStep, CaptureStep, CopyStep, RunStep

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from buildah_py.cache import Cache, Record
    from buildah_py.cache.explain import Explanation
    from buildah_py.cache.ingredients import About, Ingredients
    from buildah_py.engine.executions import Execution
    from buildah_py.plan import Node

_MAX_TEXT = 4096


class LookUp(NamedTuple):
    """Which records count: none with `no_cache`, none in `stages`, none made longer than `ttl` nanoseconds ago.

    `ttl_text` is how the user wrote that.
    """

    no_cache: bool = False
    stages: frozenset[str] = frozenset()
    ttl: int | None = None
    ttl_text: str = ""

    def forbidden(self, stage: str) -> bool:
        """Whether every step of a stage is to be executed."""
        return self.no_cache or (bool(self.stages) and stage.partition("#")[0] in self.stages)

    def is_too_old(self, made: int) -> bool:
        """Whether what was made then (ns since 1970) no longer counts."""
        return self.ttl is not None and made < time.time_ns() - self.ttl


def describe(
    node: Node, nodes: Sequence[Node], execution: Execution | None, *, on: str = "", content: str = ""
) -> About:
    """Say what is known of a step beside what enters its key."""
    from buildah_py import __version__
    from buildah_py.cache.ingredients import About, Below, InputNote
    from buildah_py.sources.urls import redact

    step = node.step.run if isinstance(node.step, CaptureStep) else node.step
    below = Below()
    if node.parent is not None:
        parent = nodes[node.parent]
        if isinstance(parent.step, BaseStep):
            below = Below(name=parent.step.name, image=parent.step.image)
        else:
            below = Below(stage=parent.stage, number=parent.number, text=parent.text[:_MAX_TEXT])
    return About(
        stage=node.stage,
        number=node.number,
        text=node.text[:_MAX_TEXT],
        arguments=step.arguments if isinstance(step, RunStep) else (),
        sources=" ".join(map(redact, step.sources)) if isinstance(step, CopyStep) else "",
        inputs={
            name: InputNote(one.where, one.context, one.bases)
            for name, one in (execution.lists() if execution else {}).items()
        },
        below=below,
        on=on,
        chain=chain_above(node.step, on, content) if content else "",
        pybuild=__version__,
    )


class Reason:
    """Why `node`, which runs on the file system with the chain digest `on`, is executed.

    `texts` are stage and text of all steps of the build.
    """

    def __init__(
        self,
        cache: Cache,
        lookup: LookUp,
        node: Node,
        nodes: Sequence[Node],
        on: str,
        texts: Collection[tuple[str, str]],
    ) -> None:
        self._cache = cache
        self._lookup = lookup
        self._node = node
        self._nodes = nodes
        self._on = on
        self._texts = texts
        self._nearest: Record | None = None
        self._candidates: Sequence[Record] | None = None
        self._key = ""

    def find(self, execution: Execution, key: str) -> Explanation:
        """Say why there is no record of `key` that could be used."""
        found = explain_miss(
            self._cache, self._lookup, self.ingredients(execution), key, self.lists(execution), self._texts
        )
        self._nearest, self._candidates, self._key = found.nearest, found.candidates, key
        return found

    def earlier(self) -> Iterator[Record]:
        """Give the results that the step has had before, of any ingredients: those most like it first.

        A copy's are only those of this very key: where what it selects is another, so is what it makes.
        """
        if self._nearest is not None and (self._nearest.key == self._key or not isinstance(self._node.step, CopyStep)):
            yield self._nearest
        if isinstance(self._node.step, CopyStep):
            return
        if self._candidates is None:
            about = describe(self._node, self._nodes, None, on=self._on)
            near = self._cache.near(about, str(self._node.step.canonical()["op"]))
            self._candidates = [record for record, own in near if own]
        yield from self._candidates

    def ingredients(self, execution: Execution, content: str = "") -> Ingredients:
        """Give all that can be compared, with what it led to once that is known."""
        from buildah_py.cache.ingredients import Ingredients

        about = describe(self._node, self._nodes, execution, on=self._on, content=content)
        below = chain_below(self._node.step, self._on)
        return Ingredients(below, self._node.step.canonical(), dict(execution.inputs()), about)

    def lists(self, execution: Execution) -> Mapping[str, Callable[[], bytes]]:
        """Give what inputs hold, by the digests that stand for it in the key."""
        digests = execution.inputs()
        return {digests[name]: one.pack for name, one in execution.lists().items()}

    @property
    def near(self) -> str | None:
        """The layer that the record led to which the step was compared with."""
        return self._nearest.diff_id if self._nearest is not None else None

    def is_same(self, chain: str) -> bool:
        """Whether the step led to what the record that it was compared with had led to."""
        return self._nearest is not None and self._nearest.about.chain == chain


def explain_miss(
    cache: Cache,
    lookup: LookUp,
    wanted: Ingredients,
    key: str | None,
    lists: Mapping[str, Callable[[], bytes]],
    texts: Collection[tuple[str, str]],
) -> Explanation:
    """Say why there is no record of `key` (None where it is not known) that could be used."""
    from buildah_py.cache.explain import Explanation, explain

    known, usable = (None if key is None else cache.known(key)) or (None, True)
    stage = wanted.about.stage
    if lookup.forbidden(stage):
        option = "--no-cache" if lookup.no_cache else f"--no-cache-filter {stage.partition('#')[0] or '0'}"
        return Explanation(option, known)
    if known is not None:
        if lookup.is_too_old(known.made):
            age = shown_age(time.time_ns() - known.made)
            return Explanation(f"older than --cache-ttl {lookup.ttl_text}: made {age} ago", known)
        if not usable:
            return Explanation(f"its record from {known.source} has no signature that counts", known)
        return Explanation("the layer of its record is missing", known)
    return explain(cache, wanted, key, lists, texts)


def shown_age(nanoseconds: int) -> str:
    """Show a time span in one number."""
    seconds = nanoseconds / 1e9
    for size, name in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s"
