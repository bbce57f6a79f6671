"""Which times are content: windows of clocks that jump, ranges of seconds, and the digests that follow from them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildah_py.layers.entry import FILE, SECOND, Entry
from buildah_py.layers.inventory import Inventory
from buildah_py.layers.stamps import (
    ALL_GIVEN,
    CLOCK,
    CONTENT,
    GIVEN,
    NO_STAMPS,
    Stamps,
    all_given_but,
    classify,
    read_stamps,
    window,
)

SECONDS = st.sets(st.integers(-9, 9))
STAMPS = st.builds(lambda *kinds: classify(dict(zip((CLOCK, GIVEN, CONTENT), kinds, strict=True))), *[SECONDS] * 3)


def test_a_window_is_what_a_steady_clock_showed() -> None:
    stamps = window(100 * SECOND + 7, 103 * SECOND + 9, 3 * SECOND + 2)
    assert stamps == Stamps(((100, 103),))
    assert [stamps.of(second * SECOND) for second in (99, 100, 103, 104)] == [CONTENT, CLOCK, CLOCK, CONTENT]


@pytest.mark.parametrize("jump", [-5000, 5000])
def test_a_clock_that_was_set_meanwhile_makes_two_windows(jump: int) -> None:
    """Ten seconds passed, and the clock was set after three of them: what lies between was never shown."""
    stamps = window(9000 * SECOND, (9010 + jump) * SECOND, 10 * SECOND)
    for second in (9000, 9003, 9003 + jump, 9010 + jump):
        assert stamps.of(second * SECOND) == CLOCK
    assert stamps.of((9000 + jump // 2) * SECOND) == CONTENT


def test_a_small_correction_of_the_clock_makes_one_window() -> None:
    assert window(50 * SECOND, 52 * SECOND, 3 * SECOND) == Stamps(((49, 53),))


@given(SECONDS, SECONDS, SECONDS)
def test_what_is_several_things_is_content_first(clock: set[int], brought: set[int], content: set[int]) -> None:
    stamps = classify({CLOCK: clock, GIVEN: brought, CONTENT: content})
    for second in clock | brought | content:
        expected = CONTENT if second in content else CLOCK if second in clock else GIVEN
        assert stamps.of(second * SECOND + 5) == expected


@given(SECONDS, SECONDS)
def test_of_a_context_all_is_given_but_what_was_there(content: set[int], clock: set[int]) -> None:
    stamps = all_given_but(content, clock)
    for second in range(-12, 13):
        expected = CONTENT if second in content else CLOCK if second in clock else GIVEN
        assert stamps.of(second * SECOND) == expected
    assert stamps.holds_all == (not content)


@given(STAMPS)
def test_plain_data_gives_the_stamps_again(stamps: Stamps) -> None:
    assert read_stamps(stamps.to_data()) == stamps


@pytest.mark.parametrize(
    "raw", [None, [], ["1..2"], ["1..2", 3], ["2..1", ""], ["1..5,5..6", ""], ["1", ""], ["", "x"]]
)
def test_other_data_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match=r"range|order"):
        read_stamps(raw)


def test_times_that_are_content_count_in_whole_seconds() -> None:
    def digest(mtime: int, stamps: Stamps = NO_STAMPS) -> str:
        return Inventory([Entry("f", FILE, 0o644, mtime=mtime)]).content_digest(stamps)

    assert digest(5 * SECOND) == digest(5 * SECOND + 9) != digest(6 * SECOND)
    here = Stamps(((5, 6),))
    assert digest(5 * SECOND, here) == digest(6 * SECOND, here) == digest(3, ALL_GIVEN)
    assert digest(7 * SECOND, here) == digest(7 * SECOND) != digest(5 * SECOND, here)
