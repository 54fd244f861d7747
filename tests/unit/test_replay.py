"""What the line would have done under another policy or seat count."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from lessor_daemon.directory.policy import Group
from lessor_daemon.directory.replay import Run, Spread, replay

URGENT = {"team": "release"}


def run(asked: int, lasted: int = 10, *, seats: int = 1, urgent: bool = False) -> Run:
    """Times in seconds."""
    return Run(asked * 1000, seats, lasted * 1000, URGENT if urgent else {})


def waits(runs: list[Run], seats: int = 1, *policy: Group) -> list[float | None]:
    return [None if one is None else one / 1000 for one in replay(runs, seats, policy)]


def release(*, head_start: int = 0, reserve: int = 0, cap: int | None = None) -> Group:
    return Group("release", "team", "release", head_start * 1000, reserve, cap)


def test_the_line_is_served_in_the_order_of_asking() -> None:
    assert waits([run(0), run(1), run(2)]) == [0, 9, 18]


def test_more_seats_shorten_the_waits() -> None:
    assert waits([run(0), run(1), run(2)], 2) == [0, 0, 8]


def test_runs_may_be_given_in_any_order() -> None:
    assert waits([run(2), run(0), run(1)]) == [18, 0, 9]


def test_a_head_start_overtakes_those_who_came_less_than_that_before() -> None:
    runs = [run(0), run(1), run(4, urgent=True)]
    assert waits(runs, 1, release(head_start=2)) == [0, 9, 16]
    assert waits(runs, 1, release(head_start=5)) == [0, 19, 6]


def test_a_group_below_its_reserve_is_served_first() -> None:
    runs = [run(0), run(1), run(9, urgent=True)]
    assert waits(runs, 1, release(reserve=1)) == [0, 19, 1]


def test_a_group_at_its_cap_waits_and_blocks_nobody() -> None:
    runs = [run(0, urgent=True), run(1, urgent=True), run(2)]
    assert waits(runs, 2, release(cap=1)) == [0, 9, 0]


def test_seats_gather_for_one_who_needs_several() -> None:
    runs = [run(0), run(0, 20), run(1, seats=2), run(2)]
    assert waits(runs, 2) == [0, 0, 19, 28]


def test_more_seats_than_there_are_never_start_and_block_nobody() -> None:
    assert waits([run(0, seats=3), run(1)], 2) == [None, 0]


def test_a_spread_tells_the_median_the_slow_ones_and_the_most() -> None:
    spread = Spread.of([1000 * second for second in range(1, 101)])
    assert (spread.p50_ms, spread.p95_ms, spread.most_ms) == (50_000, 95_000, 100_000)
    assert Spread.of([]) == Spread(0, 0, 0, 0)


@given(
    st.lists(
        st.builds(
            run,
            st.integers(0, 50),
            st.integers(1, 20),
            seats=st.integers(1, 3),
            urgent=st.booleans(),
        ),
        max_size=30,
    ),
    st.integers(3, 5),
)
def test_never_more_seats_than_there_are_and_everybody_is_served(
    runs: list[Run], seats: int
) -> None:
    found = replay(runs, seats, (release(head_start=5, reserve=1),))
    began = [one.asked_ms + (wait or 0) for one, wait in zip(runs, found, strict=True)]
    assert None not in found
    for moment in began:
        spans = zip(began, runs, strict=True)
        used = sum(one.seats for at, one in spans if at <= moment < at + one.lasted_ms)
        assert used <= seats
