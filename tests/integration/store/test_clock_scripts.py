"""The lease clock and the epoch, as the scripts keep them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lessor_daemon.store.errors import NewerStore
from lessor_daemon.store.scripts import InLine, NotGranted, SeatGranted
from support.older_copy import OlderCopy
from support.organization import EPOCH_FLOOR, LEASE_MS, RECOVERY_MS, TTL_MS, Organization

if TYPE_CHECKING:
    from lessor_daemon.store.store import Store


def now(organization: Organization) -> int:
    assert organization.reading is not None
    return organization.reading.now_ms


def recovering(organization: Organization) -> int:
    assert organization.reading is not None
    return organization.reading.recovering_ms


async def forget_replication_id(store: Store) -> None:
    """What a restart or a failover looks like to the scripts."""
    await store.redis.hset("{acme}:clock", "replid", "0" * 40)


async def test_the_clock_moves_with_claims_and_never_back(acme: Organization) -> None:
    before = now(acme)
    acme.at_ms += 700
    await acme.tick()
    assert now(acme) == before + 700
    await acme.tick()
    assert now(acme) == before + 700


async def test_one_reply_carries_a_claim_by_two_seconds_at_most(acme: Organization) -> None:
    before = now(acme)
    acme.at_ms += 3_600_000
    await acme.tick()
    assert now(acme) == before + 2_000


async def test_a_burst_after_an_outage_does_not_jump(acme: Organization) -> None:
    before = now(acme)
    acme.at_ms += 60_000
    contexts = [acme.clock.context(acme.at_ms) for _ in range(20)]
    for context in contexts:
        assert context.claim_ms == before + 2_000


async def test_a_daemon_without_an_anchor_leaves_the_clock_alone(acme: Organization) -> None:
    acme.at_ms += 1_500
    await acme.tick()
    at = now(acme)
    restarted = acme.other_daemon()
    restarted.at_ms += 1_000_000
    await restarted.tick()
    assert now(restarted) == at


async def test_an_outage_of_all_daemons_expires_nothing(acme: Organization) -> None:
    await acme.acquire(1)
    restarted = acme.other_daemon()
    restarted.at_ms += 3_600_000
    assert await restarted.renew(1) == [TTL_MS]


async def test_a_durable_store_opens_a_new_epoch_and_no_grace_on_restart(
    acme: Organization,
) -> None:
    await acme.acquire(1)
    epoch = acme.clock.epoch
    await forget_replication_id(acme.store)
    assert isinstance(await acme.acquire(2), SeatGranted)
    assert acme.clock.epoch == epoch + 1
    assert recovering(acme) == 0
    assert await acme.renew(1) == [TTL_MS]


async def test_who_calls_first_after_a_rollback_and_knows_less_does_not_hide_it(
    acme: Organization,
) -> None:
    knows_less = acme.other_daemon()
    await knows_less.tick()
    copy = await OlderCopy.of(acme.store)
    await acme.pass_time(4_000)
    assert isinstance(await acme.acquire(2), SeatGranted)
    await copy.put_back(acme.store)
    await knows_less.tick()
    assert recovering(knows_less) == 0, "for all it knows, the store restarted and forgot nothing"
    assert await acme.acquire(3) == NotGranted("recovering", "")
    assert recovering(acme) == RECOVERY_MS


async def test_nor_does_one_who_knows_only_of_an_earlier_epoch(acme: Organization) -> None:
    knows_less = acme.other_daemon()
    await knows_less.tick()
    copy = await OlderCopy.of(acme.store)
    for _ in range(2):
        await forget_replication_id(acme.store)
        await acme.tick()
    assert isinstance(await acme.acquire(2), SeatGranted)
    await copy.put_back(acme.store)
    await knows_less.tick()
    # As after hours: the number of an epoch is the second at least.
    await acme.store.redis.hincrby("{acme}:clock", "epoch", 10_000)
    assert await acme.acquire(3) == NotGranted("recovering", "")


async def test_honest_restarts_open_no_grace_for_any_daemon(acme: Organization) -> None:
    others = [acme.other_daemon() for _ in range(3)]
    for one in (*others, acme):
        await one.pass_time(3_000)
    for _ in range(3):
        await forget_replication_id(acme.store)
        await acme.tick()
        await others[0].tick()
        assert isinstance(await acme.acquire(1), SeatGranted)
    for one in others:
        await one.pass_time(3_000)
        assert recovering(one) == 0


async def test_what_lapses_after_an_honest_restart_does_not_come_again(acme: Organization) -> None:
    await acme.acquire(1)
    await forget_replication_id(acme.store)
    await acme.tick()
    await acme.pass_time(LEASE_MS + 1)
    assert [one.reason for one in await acme.reap()] == ["lapsed"]
    assert await acme.acquire(1) == NotGranted("ended", "lapsed")


async def test_another_store_grants_nothing_after_a_restart_until_old_leases_have_lapsed(
    store: Store,
) -> None:
    acme = Organization(store, trust="new")
    await acme.set_quota(2)
    await acme.acquire(1)
    await forget_replication_id(store)
    assert await acme.acquire(2) == NotGranted("recovering", "")
    assert recovering(acme) == RECOVERY_MS
    assert await acme.acquire(1) == NotGranted("recovering", ""), "not even what the data knows"
    await acme.pass_time(LEASE_MS + 1)
    assert await acme.reap() == []
    assert await acme.renew(1) == [TTL_MS], "no deadline counts as passed"
    await acme.pass_time(RECOVERY_MS - LEASE_MS - 1)
    assert recovering(acme) == 0
    assert isinstance(await acme.acquire(2), SeatGranted)


async def test_the_line_stands_still_while_recovering_and_keeps_its_order(store: Store) -> None:
    acme = Organization(store, trust="new")
    await acme.set_quota(1)
    await acme.acquire(1)
    for number in (11, 12):
        assert isinstance(await acme.acquire(number, wait=True), InLine)
    await forget_replication_id(store)
    await acme.release(1)
    for _ in range(RECOVERY_MS // 2_000 + 1):
        await acme.pass_time(2_000)
        later = await acme.acquire(12, wait=True)
        first = await acme.acquire(11, wait=True)
    assert isinstance(first, SeatGranted)
    assert isinstance(later, InLine)


@pytest.mark.parametrize(("trust", "grace_ms"), [("durable", 0), ("new", 0), ("none", RECOVERY_MS)])
async def test_a_store_without_a_clock_opens_grace_unless_it_is_known_to_be_new(
    store: Store, trust: str, grace_ms: int
) -> None:
    acme = Organization(store, trust=trust)
    await acme.set_quota(1)
    assert recovering(acme) == grace_ms


async def test_an_emptied_store_is_seen_by_the_epoch_that_a_daemon_remembers(
    store: Store,
) -> None:
    acme = Organization(store, trust="durable")
    await acme.set_quota(1)
    epoch = acme.clock.epoch
    await store.redis.flushall()
    await acme.set_quota(1)
    assert recovering(acme) == RECOVERY_MS
    assert acme.clock.epoch > epoch


async def test_a_snapshot_restored_in_place_is_seen_by_a_clock_that_went_back(
    acme: Organization,
) -> None:
    await acme.pass_time(2_000)
    await acme.store.redis.hset("{acme}:clock", "now", "5")
    await acme.tick()
    assert recovering(acme) == RECOVERY_MS


async def test_the_first_epoch_is_at_least_its_floor(acme: Organization) -> None:
    assert acme.clock.epoch >= EPOCH_FLOOR


async def test_tokens_do_not_go_back_when_a_daemon_that_was_idle_for_long_finds_the_store_empty(
    acme: Organization, store: Store
) -> None:
    idle = acme.other_daemon()  # started with the other one, and has had no reply since
    await store.redis.hset("{acme}:clock", "replid", "0" * 40)
    acme.at_ms += 3_600_000
    await acme.pass_time(1_000)
    granted = await acme.acquire(1)
    assert isinstance(granted, SeatGranted)
    await store.redis.flushall()
    idle.at_ms = acme.at_ms + 1_000
    await idle.set_quota(1)
    later = await idle.acquire(2)
    assert isinstance(later, SeatGranted)
    assert later.token > granted.token


async def test_a_store_of_a_newer_lessor_is_refused(acme: Organization, store: Store) -> None:
    await store.redis.hset("{acme}:clock", "schema", "2")
    with pytest.raises(NewerStore):
        await acme.tick()
    await store.redis.hset("lessor:store", "schema", "2")
    with pytest.raises(NewerStore):
        await store.ping()
