"""Looking for a history that goes wrong, and making it short."""

from __future__ import annotations

import re
from typing import NamedTuple

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded

from .histories import History, watched_histories
from .histories import histories as random_histories
from .world import World, WrongError

BLOCK = 50
"""Histories of one seed."""


class Manner(NamedTuple):
    """How to hunt: with at most so many edits, make what fails short, pass over what a regular expression finds.

    With `watched`, little but files is edited.
    """

    turns: int = 3
    shrink: bool = True
    known: str = ""
    watched: bool = False


def hunt(world: World, seed: int, *, histories: int, manner: Manner | None = None) -> None:
    """Play so many random histories; the same ones for the same seed. Raises WrongError for the shortest that fails."""

    manner = manner or Manner()

    def play(history: History) -> None:
        try:
            history.play(world)
        except WrongError as error:
            if not manner.known or not re.search(manner.known, "\n".join(error.found)):
                raise

    phases = (Phase.generate, Phase.shrink) if manner.shrink else (Phase.generate,)
    chosen = settings(
        max_examples=histories,
        database=None,
        deadline=None,
        phases=phases,
        suppress_health_check=tuple(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
    )
    chosen_histories = (watched_histories if manner.watched else random_histories)(manner.turns)
    seeded(seed)(chosen(given(chosen_histories)(play)))()


class Found(NamedTuple):
    """Outcome of a seed: how many builds were compared, how many hits were observed, how many commands answered."""

    seed: int
    builds: int
    observed: int
    answered: int
    wrong: str


def block(work: tuple[int, Manner]) -> Found:
    """Hunt with a seed."""
    seed, manner = work
    with World() as world:
        try:
            hunt(world, seed, histories=BLOCK, manner=manner)
        except WrongError as error:
            return Found(seed, world.builds, world.observed, world.answered, str(error))
        return Found(seed, world.builds, world.observed, world.answered, "")
