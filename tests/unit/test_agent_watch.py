"""When a tree is asked and when it is killed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from lessor.agent.watch import ASK, AT_DEADLINE, KILL, REST, Watch

TTL = 30_000
DEADLINE = 100_000


def held(kill_after_ms: int = 5_000, *, enforce: bool = True) -> Watch:
    watch = Watch(kill_after_ms, enforce=enforce)
    watch.hold(DEADLINE, TTL)
    return watch


def test_nothing_is_due_without_a_deadline_or_an_order() -> None:
    assert Watch(5_000).due(1 << 40) == REST


def test_near_the_deadline_the_tree_is_asked_and_then_killed_before_it() -> None:
    watch = held()
    assert watch.due(94_999) == REST
    assert watch.due(95_000) == ASK
    assert watch.why == AT_DEADLINE
    assert watch.due(99_799) == ASK
    assert watch.due(99_800) == KILL


def test_a_later_deadline_puts_it_off() -> None:
    watch = held()
    watch.hold(DEADLINE + 7_500, TTL)
    assert watch.due(DEADLINE) == REST
    assert watch.due(DEADLINE + 2_500) == ASK


def test_an_earlier_deadline_counts_as_well() -> None:
    watch = held()
    watch.hold(DEADLINE - 20_000, 6_000)
    assert watch.due(DEADLINE - 20_999) == ASK
    assert watch.due(DEADLINE - 20_100) == KILL


def test_who_was_asked_stays_asked_when_the_renewal_comes_too_late() -> None:
    watch = held(kill_after_ms=60_000)
    assert watch.due(95_500) == ASK
    watch.hold(DEADLINE + 60_000, TTL)
    assert watch.due(DEADLINE) == ASK
    assert watch.due(95_500 + 60_000) == KILL


def test_an_order_to_stop_is_followed_by_the_kill_after_the_users_time() -> None:
    watch = held()
    watch.stop(10_000, "signal")
    assert watch.due(10_000) == ASK
    assert watch.due(14_999) == ASK
    assert watch.due(15_000) == KILL
    assert watch.why == "signal"


def test_the_deadline_cuts_the_users_time_short() -> None:
    watch = held(kill_after_ms=600_000)
    watch.stop(90_000, "signal")
    assert watch.due(99_799) == ASK
    assert watch.due(99_800) == KILL


def test_the_first_cause_is_the_one_that_counts() -> None:
    watch = held()
    watch.stop(10_000, "signal")
    watch.stop(12_000, "lost")
    assert watch.why == "signal"
    assert watch.kill_at_ms == 15_000


def test_an_order_to_kill_does_not_wait() -> None:
    watch = held()
    watch.kill(10_000, "signal")
    assert watch.due(10_000) == KILL


def test_without_enforcement_only_orders_stop_the_tree() -> None:
    watch = held(enforce=False)
    assert watch.due(DEADLINE * 2) == REST
    watch.stop(DEADLINE * 2, "signal")
    assert watch.due(DEADLINE * 2 + 5_000) == KILL


def test_who_wakes_up_past_the_deadline_kills_without_asking() -> None:
    watch = held()
    assert watch.due(50_000) == REST
    # A suspend, or a frozen container: there was no time in between.
    assert watch.due(DEADLINE + 3_600_000) == KILL
    assert watch.why == AT_DEADLINE


def test_a_suspend_that_ends_between_ask_and_kill_asks_first() -> None:
    watch = held()
    assert watch.due(50_000) == REST
    assert watch.due(97_000) == ASK
    assert watch.due(99_800) == KILL


@given(
    ttl_ms=st.integers(1_000, 600_000),
    kill_after_ms=st.integers(0, 700_000),
    step_ms=st.integers(1, 400),
)
def test_it_is_always_asked_before_it_is_killed_and_killed_before_the_deadline(
    ttl_ms: int, kill_after_ms: int, step_ms: int
) -> None:
    watch = Watch(kill_after_ms)
    watch.hold(ttl_ms, ttl_ms)
    assert watch.wake_at_ms <= watch.kill_at_ms < ttl_ms
    assert watch.due(watch.wake_at_ms - 1) == REST
    now = watch.wake_at_ms
    while watch.due(now) != KILL:
        assert now < ttl_ms
        now = max(now + 1, min(now + step_ms, watch.wake_at_ms))
    assert now < ttl_ms
