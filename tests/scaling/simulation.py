"""A bake played through, event by event: machines with places, steps that are handed out, executed and sent."""

from __future__ import annotations

import heapq
import random
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.scaling.model import Costs
    from tests.scaling.monorepo import Monorepo


class Played(NamedTuple):
    """How long it took, and how often a step was executed, by its number."""

    seconds: float
    executed: tuple[int, ...]

    @property
    def twice(self) -> int:
        """Executions beyond the first of each step."""
        return sum(max(0, count - 1) for count in self.executed)


class _State:
    """Steps that wait for others, and who has executed which."""

    def __init__(self, repo: Monorepo) -> None:
        self.repo = repo
        self.left = [len(needs) for needs in repo.needs]
        self.users: list[list[int]] = [[] for _ in repo.needs]
        for step, needs in enumerate(repo.needs):
            for one in needs:
                self.users[one].append(step)
        self.urgency = self._urgency()
        self.by = [-1] * len(repo.needs)
        self.executed = [0] * len(repo.needs)

    def _urgency(self) -> list[float]:
        behind = [0.0] * len(self.users)
        for step in range(len(self.users) - 1, -1, -1):
            behind[step] = self.repo.seconds[step] + max((behind[one] for one in self.users[step]), default=0.0)
        return behind

    def first(self) -> list[int]:
        """Give the steps that need nothing."""
        return [step for step, left in enumerate(self.left) if not left]

    def done(self, step: int) -> list[int]:
        """Note that a step is done; those that are ready now."""
        ready = []
        for one in self.users[step]:
            self.left[one] -= 1
            if not self.left[one]:
                ready.append(one)
        return ready


def cluster(
    repo: Monorepo, machines: int, at_once: int, costs: Costs, dies: Sequence[tuple[float, int]] = ()
) -> Played:
    """Play a scheduler that hands the most urgent step to a free place, best where its layers are.

    `dies` are times at which a machine is gone: what it was executing begins anew elsewhere.
    """
    state = _State(repo)
    free = [at_once] * machines
    ready = [(-state.urgency[step], step) for step in state.first()]
    heapq.heapify(ready)
    events: list[tuple[float, int, int, int]] = [(at, 1, -1, machine) for at, machine in dies]
    heapq.heapify(events)
    running: dict[int, int] = {}
    clock = end = 0.0
    while ready or running:
        while ready and any(free):
            _, step = heapq.heappop(ready)
            homes = [state.by[one] for one in repo.needs[step]]
            machine = next((home for home in homes if home >= 0 and free[home]), -1)
            if machine < 0:
                machine = max(range(machines), key=free.__getitem__)
            fetches = costs.fetch if any(home != machine for home in homes) else 0.0
            free[machine] -= 1
            running[step] = machine
            state.executed[step] += 1
            taken = costs.dispatch + fetches + repo.seconds[step] + costs.send
            heapq.heappush(events, (clock + taken, 0, step, machine))
        clock, kind, step, machine = heapq.heappop(events)
        if kind == 1:
            free[machine] = 0
            for lost in [one for one, at in running.items() if at == machine]:
                del running[lost]
                heapq.heappush(ready, (-state.urgency[lost], lost))
            continue
        if running.get(step) != machine:
            continue  # of a machine that is gone
        del running[step]
        free[machine] += 1
        state.by[step] = machine
        end = clock
        for one in state.done(step):
            heapq.heappush(ready, (-state.urgency[one], one))
    return Played(end, tuple(state.executed))


def claims(repo: Monorepo, machines: int, at_once: int, costs: Costs, seed: int = 1) -> Played:
    """Play runners that go through the whole graph, each in an order of its own, and take what nobody has claimed.

    Each of them looks at what others have done at times of its own; of what it did itself it knows at once.
    """
    chance = random.Random(seed)
    state = _State(repo)
    phase = [chance.random() * costs.poll for _ in range(machines)]
    free = [at_once] * machines
    known: list[list[float]] = [[0.0] * machines for _ in repo.needs]
    ready = set(state.first())
    events: list[tuple[float, int, int]] = [(0.0, machine, -1) for machine in range(machines)]
    end, left = 0.0, len(repo.needs)
    while left:
        clock, machine, step = heapq.heappop(events)
        if step >= 0:
            free[machine] += 1
            left -= 1
            end = max(end, clock)
            state.by[step] = machine
            for one in range(machines):
                known[step][one] = clock if one == machine else _next_look(clock, phase[one], costs.poll)
            ready.update(state.done(step))
            for one in range(machines):
                if one != machine:
                    heapq.heappush(events, (known[step][one], one, -1))
        while free[machine]:
            open_now = [one for one in ready if all(known[need][machine] <= clock for need in repo.needs[one])]
            if not open_now:
                break
            taken = max(open_now, key=lambda one: (state.urgency[one], one))
            ready.discard(taken)
            free[machine] -= 1
            state.executed[taken] += 1
            fetches = costs.fetch if any(state.by[need] != machine for need in repo.needs[taken]) else 0.0
            heapq.heappush(events, (clock + costs.claim + fetches + repo.seconds[taken] + costs.send, machine, taken))
    return Played(end, tuple(state.executed))


def _next_look(clock: float, phase: float, poll: float) -> float:
    if not poll:
        return clock
    ticks = int((clock - phase) / poll)
    at = phase + ticks * poll
    while at < clock:
        at += poll
    return at


def shards(repo: Monorepo, dealt: Sequence[Sequence[int]], at_once: int, costs: Costs) -> Played:
    """Play machines each of which builds its targets by itself."""
    longest = 0.0
    work = 0
    for targets in dealt:
        part = repo.part(list(targets))
        longest = max(longest, cluster(part, 1, at_once, costs).seconds) if targets else longest
        work += len(part.needs) if targets else 0
    return Played(longest, (work - len(repo.needs) + 1, *((1,) * (len(repo.needs) - 1))))
