"""How long those in line will probably wait."""

from __future__ import annotations

from lessor_daemon.leasing.estimate import LEAST_SESSIONS, MOST_PLACES, Use, estimate_waits

MINUTE = 60_000
ALIKE = [Use(1, 10 * MINUTE)] * 20


def minutes(
    past: list[Use], running: list[Use], seats: int, places: int
) -> list[tuple[float, float]]:
    found = estimate_waits(past, running, seats, places)
    return [(one.p50_ms / MINUTE, one.p90_ms / MINUTE) for one in found]


def test_sessions_that_are_all_alike_leave_no_doubt() -> None:
    running = [Use(1, 4 * MINUTE), Use(1, 8 * MINUTE)]
    assert minutes(ALIKE, running, 2, 4) == [(2, 2), (6, 6), (12, 12), (16, 16)]


def test_too_little_history_gives_no_estimate_rather_than_a_guess() -> None:
    assert minutes(ALIKE[: LEAST_SESSIONS - 1], [], 1, 1) == []
    assert minutes([], [], 1, 1) == []


def test_sessions_that_differ_give_a_range() -> None:
    past = [Use(1, length * MINUTE) for length in range(1, 41)]
    ((p50, p90),) = minutes(past, [Use(1, 0)], 1, 1)
    assert 10 < p50 < 30
    assert p50 < p90 <= 40


def test_a_holder_runs_on_like_those_that_got_as_old() -> None:
    past = [Use(1, MINUTE)] * 50 + [Use(1, 60 * MINUTE)] * 5
    assert minutes(past, [Use(1, 2 * MINUTE)], 1, 1) == [(58, 58)]


def test_a_holder_older_than_all_before_does_not_promise_its_end_at_once() -> None:
    ((p50, p90),) = minutes(ALIKE, [Use(1, 90 * MINUTE)], 1, 1)
    assert 45 < p50 < 180, "as long again, about"
    assert p90 > 5 * 90, "and nobody knows"


def test_who_stands_further_back_never_waits_shorter() -> None:
    past = [Use(1 + length % 3, length * MINUTE) for length in range(1, 41)]
    waits = minutes(past, [Use(3, MINUTE)], 3, 50)
    assert waits == sorted(waits)


def test_the_estimate_tells_how_much_it_rests_on() -> None:
    (one,) = estimate_waits(ALIKE, [], 1, 1)
    assert one.sessions == 20


def test_the_same_situation_gets_the_same_answer() -> None:
    past = [Use(1, length * MINUTE) for length in range(1, 41)]
    assert minutes(past, [Use(1, 0)], 1, 9) == minutes(past, [Use(1, 0)], 1, 9)


def test_places_far_behind_get_none() -> None:
    assert len(minutes(ALIKE, [], 1, 10_000)) == MOST_PLACES


def test_a_license_without_seats_gives_none() -> None:
    assert minutes(ALIKE, [], 0, 3) == []
