"""What a daemon may claim of the lease clock."""

from __future__ import annotations

import pytest
from lessor_daemon.leasing.clock import LeaseClock, StaleReply
from lessor_daemon.store.scripts import Reading


def clock() -> LeaseClock:
    return LeaseClock(epoch_floor=1, recovery_ms=60_000, trust="durable")


def reading(
    now_ms: int,
    *,
    epoch: int = 7,
    replid: str = "a",
    next_deadline_ms: int | None = None,
    recovering_ms: int = 0,
) -> Reading:
    return Reading(now_ms, epoch, replid, recovering_ms, next_deadline_ms)


def test_claims_nothing_before_the_first_reply() -> None:
    assert clock().context(123).claim_ms is None


def test_claims_what_has_passed_since_the_reply_was_received() -> None:
    one = clock()
    one.learn(reading(100), 5_000)
    assert one.context(5_700).claim_ms == 800


def test_claims_two_seconds_at_most() -> None:
    one = clock()
    one.learn(reading(100), 5_000)
    assert one.context(3_600_000).claim_ms == 2_100


def test_keeps_the_anchor_that_claims_most_so_that_slow_replies_do_not_make_it_lag() -> None:
    one = clock()
    one.learn(reading(1_000), 5_000)
    one.learn(reading(1_100), 5_900)  # ran at 1,100 and was 800 ms on its way back
    assert one.context(6_000).claim_ms == 2_000


def test_moves_on_to_the_newest_anchor_when_the_fastest_is_used_up() -> None:
    one = clock()
    one.learn(reading(1_000), 5_000)
    one.learn(reading(1_100), 5_900)
    assert one.context(7_900).claim_ms == 3_100


@pytest.mark.parametrize(("epoch", "replid"), [(8, "a"), (7, "b")])
def test_an_anchor_of_another_epoch_or_replication_id_is_dropped(epoch: int, replid: str) -> None:
    one = clock()
    one.learn(reading(50_000), 5_000)
    one.learn(reading(10, epoch=epoch, replid=replid), 5_100)
    assert one.context(5_200).claim_ms == 110


def test_a_reply_of_an_older_epoch_is_not_believed() -> None:
    one = clock()
    one.learn(reading(10, epoch=8), 5_000)
    with pytest.raises(StaleReply):
        one.learn(reading(99_999, epoch=7), 5_100)
    assert one.context(5_100).claim_ms == 110


def test_wants_a_tick_half_a_second_after_the_last_script_while_somebody_counts_on_it() -> None:
    one = clock()
    assert one.needs_tick(0), "a daemon that knows nothing asks"
    one.learn(reading(100, next_deadline_ms=33_000), 5_000)
    assert [one.needs_tick(at) for at in (5_499, 5_500)] == [False, True]


def test_an_organization_without_leases_is_looked_at_now_and_then() -> None:
    one = clock()
    one.learn(reading(100), 5_000)
    assert [one.needs_tick(at) for at in (5_500, 34_999, 35_000)] == [False, False, True]


def test_knows_that_a_deadline_has_passed_only_by_the_lease_clock() -> None:
    one = clock()
    one.learn(reading(1_000, next_deadline_ms=1_500), 5_000)
    assert [one.has_lapsed(at) for at in (5_500, 5_501)] == [False, True]


def test_nothing_lapses_while_recovering() -> None:
    one = clock()
    one.learn(reading(1_000, next_deadline_ms=1_500, recovering_ms=4_000), 5_000)
    assert not one.has_lapsed(6_000)
    assert one.is_recovering(8_999)
    assert not one.is_recovering(9_000)


def test_a_new_epoch_is_at_least_the_present_second_and_not_that_of_the_start() -> None:
    one = LeaseClock(epoch_floor=200_000_000, recovery_ms=60_000, trust="durable")
    assert one.context(5_000).epoch_floor == 200_000_005
    assert one.context(3_605_000).epoch_floor == 200_003_605
