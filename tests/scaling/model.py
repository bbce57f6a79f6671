"""The model of docs/scaling.md: how long a bake takes, by formulas. Nothing is played through here."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.scaling.monorepo import Monorepo


class Costs(NamedTuple):
    """Seconds beside a step itself: handing it to another machine, fetching its layers, sending its own.

    `claim` is asking for a claim, `poll` the time between two looks at what others have done.
    """

    dispatch: float = 0.05
    fetch: float = 0.5
    send: float = 0.5
    claim: float = 0.1
    poll: float = 1.0


NO_COSTS = Costs(0, 0, 0, 0, 0)


class Estimate(NamedTuple):
    """Seconds that a bake cannot be below, that it will take, and that it will not exceed."""

    least: float
    likely: float
    most: float


class Overhead(NamedTuple):
    """Seconds that each step takes longer: in any case, most of the time, and at the worst."""

    least: float = 0.0
    likely: float = 0.0
    most: float = 0.0


NO_OVERHEAD = Overhead()


def estimate(repo: Monorepo, places: int, overhead: Overhead = NO_OVERHEAD) -> Estimate:
    """Reckon with a bake whose steps are executed in so many places, each with an overhead.

    Where no place is idle while a step is ready, it takes at most W/P + (1 - 1/P) C, with W the seconds of all steps, C
    those of the longest way and P places (Graham, 1966).
    """
    work, path = _work(repo, overhead.most)
    most = work / places + (1 - 1 / places) * path
    return Estimate(remaining(repo, places, overhead.least), remaining(repo, places, overhead.likely), most)


def remaining(repo: Monorepo, places: int, overhead: float) -> float:
    """Return the most, over all times t, of t + R(t)/P; no bake is faster, and good ones hardly slower.

    R(t) are the seconds of steps that are left at t where each begins as soon as it can, with a place for every one:
    no schedule has less left then, and P places do P of them in a second. For t = 0 this is W/P, for the end of the
    longest way C.
    """
    lasting = [seconds + overhead for seconds in repo.seconds]
    ends = _ends(repo, lasting)
    changes = sorted(
        [(end - seconds, 1) for end, seconds in zip(ends, lasting, strict=True)] + [(end, -1) for end in ends]
    )
    left, active, now = sum(lasting), 0, 0.0
    found = left / places
    for at, change in changes:
        left -= active * (at - now)
        now, active = at, active + change
        found = max(found, now + left / places)
    return found


def _work(repo: Monorepo, overhead: float) -> tuple[float, float]:
    lasting = [seconds + overhead for seconds in repo.seconds]
    return sum(lasting), max(_ends(repo, lasting), default=0.0)


def _ends(repo: Monorepo, lasting: Sequence[float]) -> list[float]:
    ends: list[float] = []
    for needs, seconds in zip(repo.needs, lasting, strict=True):
        ends.append(seconds + max((ends[one] for one in needs), default=0.0))
    return ends


def one_machine(repo: Monorepo, at_once: int) -> Estimate:
    """Reckon with one machine."""
    return estimate(repo, at_once)


def cluster(repo: Monorepo, machines: int, at_once: int, costs: Costs) -> Estimate:
    """Reckon with a cluster: each step is handed over, may find its layers elsewhere, and sends its own."""
    own = costs.dispatch + costs.send
    return estimate(repo, machines * at_once, Overhead(own, own + costs.fetch, own + costs.fetch))


def claims(repo: Monorepo, machines: int, at_once: int, costs: Costs) -> Estimate:
    """Reckon with runners that claim steps; at the worst, what others have done is seen only at the next look."""
    own = costs.claim + costs.send
    return estimate(repo, machines * at_once, Overhead(own, own + costs.fetch, own + costs.fetch + costs.poll))


def shards(repo: Monorepo, dealt: Sequence[Sequence[int]], at_once: int) -> Estimate:
    """Reckon with shares, each of which is a machine's own: the longest of them counts."""
    found = [estimate(repo.part(list(targets)), at_once) for targets in dealt if targets]
    return Estimate(*(max(values) for values in zip(*found, strict=True)))
