"""When a client watches between renewals, and what it makes of watches that do not work."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from lessor.errors import NoAnswer
from lessor.listening import FIRST_MS, LONGEST_LEAD_MS, LONGEST_MS, MOST_SKIPPED, Listening
from lessor_protocol import lease
from lessor_protocol.errors import Problem
from lessor_protocol.watch import WatchAnswer

if TYPE_CHECKING:
    from lessor.server import Server
    from lessor_protocol.lease import LeaseState

TTL_MS = 30_000
PACE_MS = TTL_MS // 4


def held(sent_ms: int, ttl_ms: int = TTL_MS) -> LeaseState:
    state = lease.sent(lease.begin(0, wait_ms=None, connect_timeout_ms=1_000), sent_ms)
    return lease.granted(state, sent_ms, ttl_ms=ttl_ms, renew_after_ms=ttl_ms // 4)


class Answering:
    """A server whose watches end as told, at once."""

    def __init__(self, outcome: object) -> None:
        self.outcome = outcome

    def watch(self, *_: object) -> WatchAnswer:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return cast("WatchAnswer", self.outcome)


def periods_skipped(listening: Listening, after: int) -> int:
    """How many renewals pass before the next watch."""
    for skipped in range(200):
        if listening.wait_ms(held((after + skipped) * PACE_MS), (after + skipped) * PACE_MS):
            return skipped
    return -1


def begun() -> Listening:
    listening = Listening()
    assert listening.wait_ms(held(0), 0) == 0
    return listening


def hear(listening: Listening, outcome: object) -> WatchAnswer | None:
    return listening.hear(cast("Server", Answering(outcome)), bytes(16), "", 7_000, 1 << 61)


def test_a_short_run_never_watches_and_a_longer_one_until_shortly_before_its_renewal() -> None:
    listening = begun()
    assert listening.begins_ms(0) == FIRST_MS
    assert listening.wait_ms(held(0), FIRST_MS - 1) == 0
    assert listening.wait_ms(held(0), FIRST_MS) == PACE_MS - FIRST_MS - LONGEST_LEAD_MS
    assert listening.wait_ms(held(0), PACE_MS - LONGEST_LEAD_MS - 1) == 0
    assert listening.begins_ms(FIRST_MS) == lease.NEVER


def test_a_long_pace_is_watched_in_pieces() -> None:
    assert begun().wait_ms(held(0, 600_000), FIRST_MS) == LONGEST_MS


def test_nobody_watches_while_renewing_fails_or_nothing_is_held() -> None:
    failing = lease.failed(lease.sent(held(0), PACE_MS), PACE_MS, reason="no answer")
    assert begun().wait_ms(failing, PACE_MS + 1) == 0
    lost = lease.lost(held(0), code="lease_ended", reason="")
    assert begun().wait_ms(lost, FIRST_MS) == 0


def test_watches_that_do_not_come_through_are_tried_less_and_less_often() -> None:
    for outcome in (NoAnswer("cut"), Problem("draining", ""), WatchAnswer([], [])):
        listening = begun()
        after = 1
        skipped = []
        for _ in range(8):
            after += periods_skipped(listening, after)
            assert hear(listening, outcome) is None
            skipped.append(periods_skipped(listening, after + 1) + 1)
            after += 1
        assert skipped == [1, 2, 4, 8, 16, MOST_SKIPPED, MOST_SKIPPED, MOST_SKIPPED]


def test_a_server_that_does_not_know_watches_is_not_asked_again() -> None:
    listening = begun()
    assert hear(listening, Problem("method_not_allowed", "")) is None
    assert periods_skipped(listening, 2) == -1


def test_what_is_told_is_handed_on() -> None:
    told = WatchAnswer([], [{"code": "finish"}])
    assert hear(begun(), told) is told
