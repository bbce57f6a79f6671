"""Monorepos of any size, made by chance: bases, runtimes on them, libraries, services, and what each takes."""

from __future__ import annotations

import random
from typing import NamedTuple


class Monorepo(NamedTuple):
    """Steps by numbers: what each needs, all before it, what it takes (seconds), and the last steps of each target."""

    needs: tuple[tuple[int, ...], ...]
    seconds: tuple[float, ...]
    targets: tuple[tuple[int, ...], ...]

    def part(self, targets: list[int]) -> Monorepo:
        """Give what some of the targets need, with numbers of its own."""
        wanted = {step for target in targets for step in self.targets[target]}
        for step in reversed(range(len(self.needs))):
            if step in wanted:
                wanted.update(self.needs[step])
        numbers = {step: number for number, step in enumerate(sorted(wanted))}
        return Monorepo(
            tuple(tuple(numbers[one] for one in self.needs[step]) for step in sorted(wanted)),
            tuple(self.seconds[step] for step in sorted(wanted)),
            tuple(tuple(numbers[step] for step in self.targets[target]) for target in targets),
        )


def monorepo(targets: int, seed: int = 1) -> Monorepo:
    """Make one: a tenth of the targets are bases of others, and one in three has two branches that end in one step."""
    chance = random.Random(seed)
    needs: list[tuple[int, ...]] = []
    seconds: list[float] = []

    def step(mean: float, *on: int) -> int:
        needs.append(on)
        seconds.append(chance.lognormvariate(0, 0.8) * mean)
        return len(needs) - 1

    base = step(30)
    ends: list[tuple[int, ...]] = [(base,)]
    parents = [base]
    while len(ends) < targets:
        on = chance.choice(parents)
        last = step(1, on)
        for _ in range(chance.randint(1, 3)):
            last = step(20, last)
        if chance.random() < 1 / 3:
            other = step(20, on)
            last = step(1, last, other)
        ends.append((last,))
        if len(parents) < max(2, targets // 10) and chance.random() < 0.3:
            parents.append(last)
    return Monorepo(tuple(needs), tuple(seconds), tuple(ends))
