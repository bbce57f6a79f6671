"""The file systems that nodes lead to: what stands for them in keys, and their layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.cache import base_chain, next_ancestry, next_chain
from buildah_py.cache.keys import digest_of
from buildah_py.frozen import dataclass
from buildah_py.layers.stamps import NO_STAMPS
from buildah_py.plan.steps import CaptureStep, CopyStep

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from buildah_py.cache import Record
    from buildah_py.layers.stamps import Stamps
    from buildah_py.plan.steps import Step


@dataclass(frozen=True, slots=True)
class Result:
    """A file system that a node led to: its chain digest, and its layers by diff_id, the lowest first.

    `stamps` tells for each layer which of its times are not content; all of a base image's are. `ancestry` stands for
    the keys of all steps that led here, those of stages that they copied or mounted from among them. `created` is when
    the top-most layer was first made, in nanoseconds since 1970. `slots` are the places of layers of which it can be
    observed what a RUN learns, and `plain` is the chain digest without their contents.
    """

    chain: str
    layers: tuple[str, ...]
    stamps: tuple[Stamps, ...] = ()
    ancestry: str = ""
    created: int = 0
    plain: str = ""
    slots: tuple[int, ...] = ()


def base_result(diff_ids: Sequence[str]) -> Result:
    """Give the file system of an image, or without layers that of scratch."""
    chain = base_chain(diff_ids)
    return Result(chain, tuple(diff_ids), (NO_STAMPS,) * len(diff_ids), chain, plain=chain)


_SLOT = "slot"
NOTHING = base_result(())
"""The file system of scratch."""


def result_of(step: Step, on: Result, inputs: Iterable[Result], record: Record) -> Result:
    """Give the file system that a step led to `on` another one, having read those of other stages."""
    chain = chain_above(step, on.chain, record.content)
    ancestry = next_ancestry(record.key, [on.ancestry, *(one.ancestry for one in inputs)])
    if isinstance(step, CaptureStep):
        return Result(chain, (record.diff_id,), (record.stamps,), ancestry, record.created, chain)
    layers, stamps = (*on.layers, record.diff_id), (*on.stamps, record.stamps)
    slots = (*on.slots, len(on.layers)) if isinstance(step, CopyStep) else on.slots
    return Result(chain, layers, stamps, ancestry, record.created, plain_above(step, on.plain, record.content), slots)


def plain_above(step: Step, on: str, content: str) -> str:
    """Give the chain digest of what a step leads to without what slots hold: of a COPY it is known before."""
    return next_chain(on, _SLOT if isinstance(step, CopyStep) else content)


def before(on: Result | None, inputs: Iterable[Result | None]) -> str | None:
    """Stand for all steps before one that runs `on` a file system and reads others; None where one is not known."""
    ancestries = [None if one is None else one.ancestry for one in (on, *inputs)]
    return None if None in ancestries else digest_of(["before", *ancestries])


def chain_below(step: Step, on: str) -> str:
    """Give the chain that a key starts from: none for COPY --link, which is independent of what lies below."""
    return NOTHING.chain if isinstance(step, CopyStep) and step.link else on


def chain_above(step: Step, on: str, content: str) -> str:
    """Give the chain digest of what a step leads to."""
    return next_chain(NOTHING.chain if isinstance(step, CaptureStep) else on, content)
