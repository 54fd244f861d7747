"""The lease machine: single transitions, and what must hold after any sequence of events."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from lessor_protocol import lease, timing
from lessor_protocol.errors import HTTP_STATUS
from lessor_protocol.lease import LeaseState

TTL_MS = 30_000
RENEW_MS = 7_500


def held(now_ms: int = 0, *, ttl_ms: int = TTL_MS, spread: float = 0.0) -> LeaseState:
    state = lease.begin(now_ms, wait_ms=None, connect_timeout_ms=30_000, spread=spread)
    state = lease.sent(state, now_ms)
    return lease.granted(state, now_ms, ttl_ms=ttl_ms, renew_after_ms=timing.renew_after_ms(ttl_ms))


def refused(state: LeaseState, code: str, now_ms: int = 0) -> LeaseState:
    return lease.refused(state, now_ms, code=code, reason="because")


def test_the_deadline_counts_from_before_the_request_was_sent() -> None:
    state = lease.begin(0, wait_ms=None, connect_timeout_ms=30_000)
    state = lease.sent(state, 1_000)
    state = lease.granted(state, 9_000, ttl_ms=TTL_MS, renew_after_ms=RENEW_MS)
    assert state.deadline_ms == 1_000 + TTL_MS
    assert state.due_ms == 1_000 + RENEW_MS


@pytest.mark.parametrize("late_ms", [TTL_MS // 2 + 1, TTL_MS, 3 * TTL_MS])
def test_a_grant_with_less_than_half_its_time_left_is_asked_for_again(late_ms: int) -> None:
    state = lease.sent(lease.begin(0, wait_ms=None, connect_timeout_ms=30_000), 0)
    state = lease.granted(state, late_ms, ttl_ms=TTL_MS, renew_after_ms=RENEW_MS)
    assert lease.next_request(state, late_ms) == lease.SEND_ACQUIRE
    state = lease.sent(state, late_ms)
    state = lease.granted(state, late_ms + 5, ttl_ms=TTL_MS, renew_after_ms=RENEW_MS)
    assert (state.phase, state.deadline_ms) == (lease.HELD, late_ms + TTL_MS)


def test_a_grant_is_taken_as_it_is_at_the_end_of_the_wait() -> None:
    state = lease.sent(lease.begin(0, wait_ms=20_000, connect_timeout_ms=30_000), 0)
    state = lease.granted(state, 20_000, ttl_ms=TTL_MS, renew_after_ms=RENEW_MS)
    assert (state.phase, state.deadline_ms) == (lease.HELD, TTL_MS)


def test_who_asks_once_has_lost_a_grant_that_arrives_after_its_deadline() -> None:
    state = lease.sent(lease.begin(0, wait_ms=0, connect_timeout_ms=30_000), 0)
    state = lease.granted(state, TTL_MS, ttl_ms=TTL_MS, renew_after_ms=RENEW_MS)
    assert (state.phase, state.code) == (lease.LOST, lease.EXPIRED)


def test_a_renewal_answered_after_the_deadline_revives_nothing() -> None:
    state = lease.sent(held(), RENEW_MS)
    state = lease.passed(state, TTL_MS)
    assert state.phase == lease.LOST
    late = lease.renewed(state, TTL_MS + 1, ttl_ms=TTL_MS, renew_after_ms=RENEW_MS)
    assert late.phase == lease.LOST


def test_a_renewal_that_fails_after_the_deadline_does_not_change_why_the_lease_was_lost() -> None:
    state = lease.passed(lease.sent(held(), TTL_MS - 100), TTL_MS)
    late = lease.failed(state, TTL_MS + 50, reason="refused")
    assert (late.phase, late.code, late.sent_ms) == (lease.LOST, lease.EXPIRED, None)


def test_a_failed_renewal_is_repeated_after_a_thirtieth_of_the_ttl() -> None:
    state = lease.sent(held(), RENEW_MS)
    state = lease.failed(state, RENEW_MS + 10, reason="refused")
    assert state.due_ms == RENEW_MS + TTL_MS // 30
    assert state.deadline_ms == TTL_MS


@pytest.mark.parametrize("code", ["bad_gateway", "ResourceNotFound", "of_a_later_protocol"])
def test_a_code_that_this_protocol_does_not_know_says_nothing_about_a_held_lease(code: str) -> None:
    state = refused(lease.sent(held(), RENEW_MS), code, RENEW_MS)
    assert (state.phase, state.deadline_ms) == (lease.HELD, TTL_MS)
    assert lease.passed(state, TTL_MS + 1).phase == lease.LOST


@pytest.mark.parametrize("code", sorted(HTTP_STATUS))
def test_while_held_only_answers_that_may_pass_are_repeated(code: str) -> None:
    state = refused(lease.sent(held(), RENEW_MS), code, RENEW_MS)
    passing = {
        "rate_limited",
        "internal",
        "recovering",
        "draining",
        "store_unavailable",
        "unauthenticated",
        "forbidden",
    }
    assert state.phase == (lease.HELD if code in passing else lease.LOST)
    assert state.deadline_ms == TTL_MS


def test_without_a_wait_the_first_refusal_is_the_last() -> None:
    state = lease.sent(lease.begin(0, wait_ms=0, connect_timeout_ms=30_000), 0)
    assert refused(state, "seats_exhausted").phase == lease.REFUSED
    assert refused(state, "recovering").phase == lease.REFUSED
    failed = lease.failed(state, 0, reason="refused")
    assert (failed.phase, failed.code) == (lease.REFUSED, lease.UNREACHABLE)


def test_no_seat_is_waited_for_until_the_wait_is_over() -> None:
    state = lease.sent(lease.begin(0, wait_ms=5_000, connect_timeout_ms=30_000), 0)
    state = refused(state, "seats_exhausted")
    assert state.phase == lease.WAITING
    assert lease.wake_at_ms(state) == lease.LAST_RETRY_MS
    state = lease.passed(state, 5_000)
    assert (state.phase, state.code) == (lease.REFUSED, "seats_exhausted")


def test_the_retry_that_a_server_asks_for_never_passes_the_end_of_the_wait() -> None:
    state = lease.sent(lease.begin(0, wait_ms=5_000, connect_timeout_ms=30_000), 0)
    state = lease.queued(state, 0, retry_after_ms=1_000)
    state = lease.queued(lease.sent(state, 0), 0, retry_after_ms=60_000)
    assert state.due_ms == 5_000


def test_the_first_request_is_answered_at_once_and_the_next_is_held() -> None:
    state = lease.begin(0, wait_ms=60_000, connect_timeout_ms=30_000)
    assert lease.hold_ms(state, 0) == 0
    state = lease.queued(lease.sent(state, 0), 100, retry_after_ms=1_000)
    assert (state.due_ms, lease.hold_ms(state, 100)) == (100, lease.HOLD_MS)
    state = lease.queued(lease.sent(state, 100), 150, retry_after_ms=1_000)
    assert state.due_ms == 1_150, "a server that does not hold sets the pace"


def test_a_place_in_the_line_outlives_outages_each_shorter_than_the_connect_timeout() -> None:
    state = lease.sent(lease.begin(0, wait_ms=None, connect_timeout_ms=30_000), 0)
    state = lease.queued(state, 0, retry_after_ms=1_000)
    for outage_ms in range(100_000, 1_000_000, 100_000):
        for now_ms in range(outage_ms, outage_ms + 30_000, 2_000):
            state = lease.failed(lease.sent(state, now_ms), now_ms, reason="refused")
        state = lease.queued(lease.sent(state, now_ms), now_ms, retry_after_ms=1_000)
    assert state.phase == lease.WAITING


def test_no_server_for_the_connect_timeout_ends_the_wait_too() -> None:
    state = lease.sent(lease.begin(0, wait_ms=None, connect_timeout_ms=30_000), 0)
    state = lease.queued(state, 0, retry_after_ms=1_000)
    for now_ms in (100_000, 129_999):
        state = lease.failed(lease.sent(state, now_ms), now_ms, reason="refused")
        assert state.phase == lease.WAITING
    state = lease.failed(lease.sent(state, 130_000), 130_000, reason="refused")
    assert (state.phase, state.code) == (lease.REFUSED, lease.UNREACHABLE)


def test_no_server_within_the_connect_timeout_is_the_end() -> None:
    state = lease.begin(0, wait_ms=None, connect_timeout_ms=3_000)
    now_ms = 0
    attempts = 0
    while state.phase == lease.ACQUIRING:
        now_ms = max(now_ms, state.due_ms)
        state = lease.failed(lease.sent(state, now_ms), now_ms, reason="refused")
        attempts += 1
    assert (state.phase, state.code) == (lease.REFUSED, lease.UNREACHABLE)
    assert now_ms == 3_000
    assert 4 <= attempts <= 8


def test_the_first_answer_is_waited_for_no_longer_than_for_a_server_at_all() -> None:
    for wait_ms in (None, 0, 60_000):
        state = lease.begin(0, wait_ms=wait_ms, connect_timeout_ms=2_000)
        assert lease.attempt_timeout_ms(state, 500) == 1_500
        state = lease.begin(0, wait_ms=wait_ms, connect_timeout_ms=30_000)
        assert lease.attempt_timeout_ms(state, 500) == lease.ATTEMPT_TIMEOUT_MS


def test_the_only_try_has_time_for_an_answer_even_without_any_to_reach_a_server() -> None:
    state = lease.begin(0, wait_ms=0, connect_timeout_ms=0)
    assert lease.attempt_timeout_ms(state, 0) == lease.ONE_TRY_LEAST_MS


@pytest.mark.parametrize("code", ["revoked", "unknown_license", "license_expired", "invalid"])
def test_a_refusal_for_good_ends_even_an_endless_wait(code: str) -> None:
    state = lease.sent(lease.begin(0, wait_ms=None, connect_timeout_ms=30_000), 0)
    assert refused(state, code).phase == lease.REFUSED


def test_a_release_is_tried_for_a_while_and_then_left_to_the_server() -> None:
    state = lease.let_go(held(), 0)
    now_ms = 0
    while not state.is_over:
        now_ms = max(now_ms, lease.wake_at_ms(state))
        if lease.next_request(state, now_ms) == lease.SEND_RELEASE:
            state = lease.failed(lease.sent(state, now_ms), now_ms, reason="refused")
        state = lease.passed(state, now_ms)
    assert state.code == lease.UNREACHABLE
    assert now_ms == lease.RELEASE_PATIENCE_MS


def test_a_release_of_what_the_server_no_longer_knows_is_done() -> None:
    state = lease.sent(lease.let_go(held(), 0), 0)
    assert refused(state, "not_found").phase == lease.DONE


def test_a_refused_wait_can_still_give_back_what_a_lost_reply_granted() -> None:
    state = lease.sent(lease.begin(0, wait_ms=0, connect_timeout_ms=1_000), 0)
    state = lease.let_go(lease.failed(state, 0, reason="cut off"), 0)
    assert lease.next_request(state, 0) == lease.SEND_RELEASE


class AnyLife(RuleBasedStateMachine):
    """Any order of events, as a network that delays, loses and repeats may bring them."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = 0
        self.state = lease.begin(0, wait_ms=40_000, connect_timeout_ms=10_000, spread=0.5)
        self.previous = self.state
        self.promised: set[int] = {0}
        self.sends_in_flight = 0

    def turn(self, following: LeaseState) -> None:
        if self.state.phase == lease.LOST:
            assert following.phase in (lease.LOST, lease.RELEASING)
        if self.state.phase == lease.DONE:
            assert following.phase == lease.DONE
        if following.sent_ms is None:
            self.sends_in_flight = 0
        self.state = following

    @rule(ms=st.integers(0, 20_000))
    def time_passes(self, ms: int) -> None:
        self.now_ms += ms
        self.turn(lease.passed(self.state, self.now_ms))

    @rule()
    def the_driver_sends_what_is_due(self) -> None:
        if lease.next_request(self.state, self.now_ms) is not None:
            assert self.sends_in_flight == 0
            self.sends_in_flight = 1
            self.turn(lease.sent(self.state, self.now_ms))
            assert lease.next_request(self.state, self.now_ms + 10**9) is None

    @rule(ttl_ms=st.sampled_from([5_000, 30_000, 60_000]))
    def the_server_grants_or_renews(self, ttl_ms: int) -> None:
        if self.state.sent_ms is not None:
            self.promised.add(self.state.sent_ms + ttl_ms)
        answer = lease.granted if self.state.phase != lease.HELD else lease.renewed
        self.turn(answer(self.state, self.now_ms, ttl_ms=ttl_ms, renew_after_ms=ttl_ms // 4))

    @rule(retry_after_ms=st.integers(0, 5_000))
    def the_server_queues(self, retry_after_ms: int) -> None:
        self.turn(lease.queued(self.state, self.now_ms, retry_after_ms=retry_after_ms))

    @rule(code=st.sampled_from(sorted(HTTP_STATUS)))
    def the_server_refuses(self, code: str) -> None:
        self.turn(refused(self.state, code, self.now_ms))

    @rule()
    def no_answer_comes(self) -> None:
        self.turn(lease.failed(self.state, self.now_ms, reason="no answer"))

    @rule()
    def the_server_says_lost(self) -> None:
        self.turn(lease.lost(self.state, code="lease_ended", reason="ended"))

    @precondition(lambda self: self.state.phase in (lease.HELD, lease.LOST, lease.REFUSED))
    @rule()
    def the_holder_lets_go(self) -> None:
        self.turn(lease.let_go(self.state, self.now_ms))

    @rule()
    def the_server_confirms_the_release(self) -> None:
        self.turn(lease.released(self.state))

    @invariant()
    def the_deadline_is_one_that_an_answered_request_earned(self) -> None:
        assert self.state.deadline_ms in self.promised

    @invariant()
    def what_is_held_after_a_look_at_the_clock_has_its_deadline_ahead(self) -> None:
        looked = lease.passed(self.state, self.now_ms)
        assert looked.phase != lease.HELD or looked.deadline_ms > self.now_ms

    @invariant()
    def an_unfinished_life_always_wakes_again(self) -> None:
        if self.state.phase not in (lease.LOST, lease.REFUSED, lease.DONE):
            assert self.state.sent_ms is not None or lease.wake_at_ms(self.state) < lease.NEVER


TestAnyLife = AnyLife.TestCase
TestAnyLife.settings = settings(max_examples=200, stateful_step_count=40)


@dataclass
class Network:
    """Answers at once, except between ``down_from_ms`` and ``down_until_ms``."""

    down_from_ms: int
    down_until_ms: int
    is_silent: bool
    latency_ms: int = 20
    renewals: list[int] = field(default_factory=list)


def live_through(network: Network, *, ttl_ms: int, spread: float, until_ms: int) -> int:
    """Hold a lease over the network in virtual time; the least time left to the stop point."""
    state = held(ttl_ms=ttl_ms, spread=spread)
    grace_ms = timing.stop_grace_ms(ttl_ms, kill_after_ms=60_000)
    now_ms = 0
    least_ms = ttl_ms
    while now_ms < until_ms and state.phase == lease.HELD:
        now_ms = max(now_ms, lease.wake_at_ms(state))
        state = lease.passed(state, now_ms)
        if lease.next_request(state, now_ms) is None:
            continue
        timeout_ms = lease.attempt_timeout_ms(state, now_ms)
        state = lease.sent(state, now_ms)
        if network.down_from_ms <= now_ms < network.down_until_ms:
            now_ms += timeout_ms if network.is_silent else 0
            least_ms = min(least_ms, state.deadline_ms - grace_ms - now_ms)
            state = lease.failed(state, now_ms, reason="down")
        else:
            now_ms += network.latency_ms
            least_ms = min(least_ms, state.deadline_ms - grace_ms - now_ms)
            network.renewals.append(now_ms)
            state = lease.renewed(
                state, now_ms, ttl_ms=ttl_ms, renew_after_ms=timing.renew_after_ms(ttl_ms)
            )
    return least_ms


@given(
    ttl_ms=st.sampled_from([5_000, 30_000]),
    spread=st.floats(0, 1, exclude_max=True),
    start=st.floats(0, 1),
    is_silent=st.booleans(),
)
@settings(max_examples=500)
def test_an_outage_of_half_a_ttl_never_reaches_the_stop_point(
    ttl_ms: int, spread: float, start: float, is_silent: bool
) -> None:
    begins_ms = int(start * ttl_ms)
    network = Network(begins_ms, begins_ms + ttl_ms // 2, is_silent=is_silent)
    assert live_through(network, ttl_ms=ttl_ms, spread=spread, until_ms=4 * ttl_ms) > 0
    assert network.renewals[-1] > begins_ms + ttl_ms // 2


@pytest.mark.parametrize("ttl_ms", [5_000, 30_000])
@pytest.mark.parametrize("is_silent", [True, False])
def test_the_worst_moment_for_an_outage_of_half_a_ttl_is_survived(
    ttl_ms: int, is_silent: bool
) -> None:
    """Every millisecond around the moment when the first renewal is due."""
    due_ms = timing.renew_after_ms(ttl_ms)
    for begins_ms in range(due_ms - 400, due_ms + 2):
        network = Network(begins_ms, begins_ms + ttl_ms // 2, is_silent=is_silent)
        least_ms = live_through(network, ttl_ms=ttl_ms, spread=0.0, until_ms=2 * ttl_ms)
        assert least_ms > 0, begins_ms


@pytest.mark.parametrize("ttl_ms", [5_000, 30_000])
def test_an_outage_longer_than_the_ttl_loses_the_lease_by_its_deadline(ttl_ms: int) -> None:
    network = Network(0, 3 * ttl_ms, is_silent=True)
    least_ms = live_through(network, ttl_ms=ttl_ms, spread=0.3, until_ms=4 * ttl_ms)
    assert least_ms == -timing.stop_grace_ms(ttl_ms, kill_after_ms=60_000)
    assert not network.renewals
