"""Print the table of docs/scaling.md: what the model says, and what comes of playing it through."""

from __future__ import annotations

from buildah_py.baking.durations import Graph
from buildah_py.baking.shards import share_out
from tests.scaling import model, simulation
from tests.scaling.monorepo import Monorepo, monorepo

AT_ONCE = 4


def dealt(repo: Monorepo, count: int) -> list[list[int]]:
    """Share a monorepo's targets out as `--shards` does."""
    targets = {f"{number:06}": ends for number, ends in enumerate(repo.targets)}
    plan = share_out(Graph(repo.needs, repo.seconds), targets, count, AT_ONCE)
    return [[int(name) for name in share.targets] for share in plan.shares]


def rows(targets: int, machines: int) -> list[tuple[str, model.Estimate, simulation.Played]]:
    """Reckon and play each way to bake a monorepo."""
    repo, costs = monorepo(targets), model.Costs()
    shares = dealt(repo, machines)
    one = simulation.cluster(repo, 1, AT_ONCE, model.NO_COSTS)
    return [
        ("one machine", model.one_machine(repo, AT_ONCE), one),
        ("shards", model.shards(repo, shares, AT_ONCE), simulation.shards(repo, shares, AT_ONCE, model.NO_COSTS)),
        (
            "claims",
            model.claims(repo, machines, AT_ONCE, costs),
            simulation.claims(repo, machines, AT_ONCE, costs),
        ),
        (
            "cluster",
            model.cluster(repo, machines, AT_ONCE, costs),
            simulation.cluster(repo, machines, AT_ONCE, costs),
        ),
    ]


def table() -> list[str]:
    """Give the lines of the table."""
    found = []
    for targets, machines in ((40, 3), (200, 10), (1000, 100)):
        for name, said, played in rows(targets, machines):
            figures = " | ".join(f"{value:.0f}" for value in (*said, played.seconds))
            count = 1 if name == "one machine" else machines
            found.append(f"| {targets} | {count} | {name} | {figures} | {played.twice} |")
    return found


if __name__ == "__main__":
    print("\n".join(table()))
