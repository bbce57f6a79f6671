"""Shares of a bake: which of several runners builds which targets.

The time of a share is reckoned as what any schedule of its steps keeps to that leaves nothing idle while a step is
ready: W/p + (1 - 1/p) C, with W the seconds of its steps, each counted once, C those of its longest way, and p the
steps that a runner executes at once (R. L. Graham, Bounds for certain multiprocessing anomalies, 1966).

Targets are dealt out in two ways, of which the better one is taken. The first takes them in the order of the times that
they would take alone, the longest first, and puts each into the share that is the shortest with it. With T(t) the time
of a target t alone, T the sum of these and M shares, no share takes longer then than

    T/M + (1 - 1/M) max T(t)

For the time of a share does not grow when targets leave it, and two sets of targets take no longer together than one
after the other. So when the last target t was put into what became the longest share, that share took no longer with it
than any other one would have, and so at most as long as the shortest share before, which was at most a mean
(T - T(t))/M, and T(t) more. Steps that targets share make it shorter, and the bound does not count on them.

The second counts on them: targets stand in the order of the steps that they need, so that those of one base are
neighbours, and are cut into M pieces, the longest of which is as short as cuts of that order allow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from buildah_py.baking.durations import Graph

STEPS_AT_ONCE: Final = 4
"""How many steps a runner is reckoned to execute at once: equal for all, whatever they have."""
MOST: Final = 10_000
_HALVINGS: Final = 30


class Share(NamedTuple):
    """Targets of one runner: `seconds` is their time, `path` the longest way among their steps, `work` all of these."""

    targets: tuple[str, ...]
    seconds: float
    path: float
    work: float


_NOTHING: Final = Share((), 0.0, 0.0, 0.0)


class ShardPlan(NamedTuple):
    """The shares of all runners. `bound` is what none of them exceeds, `least` what no way of sharing falls below."""

    shares: tuple[Share, ...]
    bound: float
    least: float

    @property
    def seconds(self) -> float:
        """How long all takes: as long as the longest share."""
        return max(share.seconds for share in self.shares)


def share_out(graph: Graph, targets: Mapping[str, Collection[int]], count: int, at_once: int) -> ShardPlan:
    """Deal targets, each with the steps that its images end with, out to `count` runners of `at_once` steps.

    The same for the same arguments, in whatever order the targets come.
    """
    deal = _Deal(graph, targets, count, at_once)
    alone = deal.alone
    shares = min(deal.each_to_the_shortest(), deal.neighbours(), key=_worth)
    total = sum(one.seconds for one in alone.values())
    longest = max((one.seconds for one in alone.values()), default=0.0)
    every = sum(graph.seconds[step] for step in sorted(frozenset().union(*deal.closures.values())))
    path = max((one.path for one in alone.values()), default=0.0)
    bound = total / count + (1 - 1 / count) * longest
    shares = [share._replace(targets=tuple(sorted(share.targets))) for share in shares]
    return ShardPlan(tuple(shares), bound, max(path, every / (count * at_once)))


def _worth(shares: Sequence[Share]) -> tuple[float, float]:
    return max(share.seconds for share in shares), sum(share.work for share in shares)


class _Deal:
    """Targets about to be dealt out, with the steps of each and the share that it would be alone."""

    def __init__(self, graph: Graph, targets: Mapping[str, Collection[int]], count: int, at_once: int) -> None:
        self._graph = graph
        self._count = count
        self._at_once = at_once
        ways = graph.before()
        self.closures = {name: graph.closure(targets[name]) for name in sorted(targets)}
        self.alone: dict[str, Share] = {}
        for name, steps in self.closures.items():
            path = max((ways[step] for step in steps), default=0.0)
            self.alone[name] = self._with(_NOTHING, Share((name,), 0.0, path, 0.0), steps)

    def each_to_the_shortest(self) -> list[Share]:
        """Put the longest targets first, each where that makes the shortest share."""
        steps: list[frozenset[int]] = [frozenset()] * self._count
        shares = [_NOTHING] * self._count
        for name in sorted(self.alone, key=lambda one: (-self.alone[one].seconds, one)):
            tried = [
                self._with(share, self.alone[name], self.closures[name] - own)
                for share, own in zip(shares, steps, strict=True)
            ]
            best = min(range(self._count), key=lambda place: (tried[place].seconds, shares[place].seconds, place))
            shares[best], steps[best] = tried[best], steps[best] | self.closures[name]
        return shares

    def neighbours(self) -> list[Share]:
        """Cut the targets, in the order of their steps, into pieces whose longest is as short as it can be."""
        order = sorted(self.closures, key=lambda name: (sorted(self.closures[name]), name))
        low = max((one.seconds for one in self.alone.values()), default=0.0)
        best = self._cut(order, low)
        high = low
        while best is None:
            high *= 2
            best = self._cut(order, high)
        for _ in range(_HALVINGS if high > low else 0):
            middle = (low + high) / 2
            found = self._cut(order, middle)
            if found is None:
                low = middle
            else:
                best, high = found, middle
        return best

    def _cut(self, order: Sequence[str], most: float) -> list[Share] | None:
        """Fill one share after the other up to `most` seconds; None where they do not hold all targets."""
        shares, steps = [_NOTHING], frozenset[int]()
        for name in order:
            tried = self._with(shares[-1], self.alone[name], self.closures[name] - steps)
            if shares[-1].targets and tried.seconds > most:
                if len(shares) == self._count:
                    return None
                tried, steps = self.alone[name], frozenset()
                shares.append(tried)
            shares[-1], steps = tried, steps | self.closures[name]
        return shares + [_NOTHING] * (self._count - len(shares))

    def _with(self, share: Share, target: Share, new: Collection[int]) -> Share:
        """Put a target into a share, in which these of its steps are new."""
        # Sums are made in one order, so that they are the same to the last bit on all machines.
        work = share.work + sum(self._graph.seconds[step] for step in sorted(new))
        path = max(share.path, target.path)
        seconds = work / self._at_once + (1 - 1 / self._at_once) * path
        return Share((*share.targets, *target.targets), seconds, path, work)
