"""The model of docs/scaling.md, held to what comes of playing bakes through, and to the table that stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scaling import model, simulation
from tests.scaling.__main__ import AT_ONCE, dealt, rows, table
from tests.scaling.monorepo import Monorepo, monorepo

SLACK = 1 + 1e-9
PAGE = Path(__file__).parents[2] / "docs/scaling.md"


@pytest.mark.parametrize(("targets", "machines"), [(40, 3), (200, 10), (1000, 100)])
def test_the_model_says_what_comes_of_it(targets: int, machines: int) -> None:
    for name, said, played in rows(targets, machines):
        assert said.least <= played.seconds * SLACK, name
        assert played.seconds <= said.most * SLACK, name
        assert said.likely == pytest.approx(played.seconds, rel=0.1), name


@settings(max_examples=40)
@given(st.integers(2, 60), st.integers(1, 8), st.integers(1, 4), st.integers(0, 1000))
def test_bounds_hold_for_every_monorepo(targets: int, machines: int, at_once: int, seed: int) -> None:
    repo, costs = monorepo(targets, seed), model.Costs()
    for way in (model.cluster, model.claims):
        said = way(repo, machines, at_once, costs)
        played = getattr(simulation, way.__name__)(repo, machines, at_once, costs)
        assert said.least <= played.seconds * SLACK
        assert played.seconds <= said.most * SLACK
        assert said.least <= said.likely <= said.most * SLACK
        assert set(played.executed) == {1}


def test_machines_that_die_cost_what_they_were_at() -> None:
    repo, costs = monorepo(200), model.Costs()
    whole = simulation.cluster(repo, 10, AT_ONCE, costs)
    played = simulation.cluster(repo, 10, AT_ONCE, costs, [(whole.seconds / 3, 4)])
    assert 0 < played.twice <= AT_ONCE
    assert min(played.executed) == 1
    assert played.seconds >= whole.seconds * 0.99


def test_a_simulation_by_hand() -> None:
    """Two steps on one base, on two machines: the second fetches the base."""
    repo = Monorepo(((), (0,), (0,)), (10.0, 4.0, 6.0), ((1,), (2,)))
    costs = model.Costs(dispatch=1, fetch=2, send=3, claim=0, poll=0)
    assert simulation.cluster(repo, 2, 1, costs).seconds == (1 + 10 + 3) + max(1 + 6 + 3, 1 + 2 + 4 + 3)
    assert simulation.cluster(repo, 1, 1, model.NO_COSTS).seconds == 20
    assert simulation.shards(repo, [[0], [1]], 1, model.NO_COSTS) == (16.0, (2, 1, 1))
    assert model.one_machine(repo, 1).likely == 20
    assert model.one_machine(repo, 2) == (16, 16, 18)


def test_shares_are_those_of_the_program() -> None:
    repo = monorepo(200)
    assert sorted(one for targets in dealt(repo, 10) for one in targets) == list(range(200))


def test_the_page_has_the_table() -> None:
    text = PAGE.read_text()
    for row in table():
        assert row in text, f"`python -m tests.scaling` prints other figures: {row}"
    assert len(re.findall(r"^\| (?:\d+|one) \|", text, re.MULTILINE)) >= 12
