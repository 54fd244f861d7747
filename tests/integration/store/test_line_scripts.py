"""The line: order, no barging, and both quotas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_daemon.store import keys
from lessor_daemon.store.scripts import InLine, NotGranted, SeatGranted
from support.organization import LEASE_MS, TTL_MS
from support.stored import assert_at_rest

if TYPE_CHECKING:
    from support.organization import Organization

GONE_MS = 10_000


async def test_waiters_stand_in_the_order_they_came(acme: Organization) -> None:
    await acme.fill()
    assert [await acme.position(number) for number in (11, 12, 13)] == [1, 2, 3]
    assert [await acme.position(number) for number in (13, 12, 11)] == [3, 2, 1]


async def test_a_freed_seat_goes_to_the_first_even_if_another_asks_first(
    acme: Organization,
) -> None:
    await acme.fill()
    await acme.position(11)
    await acme.position(12)
    await acme.release(1)
    assert await acme.position(12) == 1
    first = await acme.acquire(11, wait=True)
    assert isinstance(first, SeatGranted)
    assert first.is_new


async def test_nobody_barges_past_the_line(acme: Organization) -> None:
    await acme.fill()
    await acme.position(11)
    await acme.release(1)
    assert await acme.acquire(99) == NotGranted("full", "seats")
    assert isinstance(await acme.acquire(11, wait=True), SeatGranted)


async def test_the_wait_is_told_with_the_grant(acme: Organization) -> None:
    await acme.fill()
    await acme.position(11)
    await acme.pass_time(4_000)
    await acme.position(11)
    await acme.release(1)
    granted = await acme.acquire(11, wait=True)
    assert isinstance(granted, SeatGranted)
    assert granted.waited_ms == 4_000


async def test_a_waiter_that_stops_asking_loses_its_place(acme: Organization) -> None:
    await acme.fill()
    await acme.position(11)
    await acme.pass_time(GONE_MS - 1_000)
    await acme.position(12)
    await acme.pass_time(1_001)
    await acme.reap()
    assert await acme.position(12) == 1
    assert await acme.position(11) == 2, "it may come again, at the end"


async def test_a_lapse_that_the_call_of_the_same_id_ends_is_told(acme: Organization) -> None:
    crowd = range(1, 102)
    await acme.set_quota(len(crowd))
    for number in crowd:
        await acme.acquire(number)
    await acme.pass_time(LEASE_MS + 1)
    assert await acme.acquire(101) == NotGranted("ended", "lapsed")
    assert len({one.lease_id for one in acme.ended}) == 101, "a hundred, and its own"


async def test_one_blocked_by_machines_does_not_block_one_whose_machine_is_registered(
    acme: Organization,
) -> None:
    await acme.set_quota(2, 1)
    await acme.fill()
    assert await acme.position(11, machine="m2") == 1
    assert await acme.position(12, machine="m1") == 2
    await acme.release(1)
    blocked = await acme.acquire(11, machine="m2", wait=True)
    assert isinstance(blocked, InLine)
    assert isinstance(await acme.acquire(12, machine="m1", wait=True), SeatGranted)


async def test_says_which_quota_binds(acme: Organization) -> None:
    await acme.set_quota(2, 1)
    assert isinstance(await acme.acquire(1, machine="m1"), SeatGranted)
    place = await acme.acquire(11, machine="m2", wait=True)
    assert isinstance(place, InLine)
    assert place.blocked_by == "machines"


async def test_a_lapsed_holder_makes_room_for_the_line(acme: Organization) -> None:
    await acme.fill()
    await acme.pass_time(LEASE_MS - 1_000)
    await acme.position(11)
    await acme.pass_time(1_001)
    assert isinstance(await acme.acquire(11, wait=True), SeatGranted)


async def test_raising_the_seats_serves_the_line(acme: Organization) -> None:
    await acme.fill()
    await acme.position(11)
    await acme.set_quota(3, 2)
    assert await acme.store.redis.scard("{acme}:kre:use") == 3


async def test_who_will_not_wait_any_longer_leaves_the_line(acme: Organization) -> None:
    await acme.fill()
    await acme.position(11)
    assert await acme.acquire(11) == NotGranted("full", "seats")
    await acme.release(1)
    await acme.release(2)
    await assert_at_rest(acme.store, acme.slug)


async def test_the_line_survives_a_restart_of_the_daemon(acme: Organization) -> None:
    await acme.fill()
    await acme.position(11)
    await acme.position(12)
    restarted = acme.other_daemon()
    assert await restarted.position(12) == 2


async def test_the_line_stands_still_during_recovery_and_keeps_its_order(
    acme: Organization,
) -> None:
    acme.trust = "none"
    await acme.fill()
    await acme.position(11)
    await acme.position(12)
    restarted = acme.other_daemon()
    await acme.store.redis.hset("{acme}:clock", "replid", "another")
    assert await restarted.acquire(12, wait=True) == NotGranted("recovering", "")
    await restarted.release(1)
    assert await restarted.acquire(11, wait=True) == NotGranted("recovering", "")
    while restarted.reading and restarted.reading.recovering_ms:
        await restarted.pass_time(2_000)
        for number in (12, 11):
            await restarted.acquire(number, wait=True)
        await restarted.renew(2)
    assert isinstance(await restarted.acquire(11, wait=True), SeatGranted)
    assert await restarted.position(12) == 1


async def test_a_drained_license_lets_the_running_finish_and_keeps_the_line(
    acme: Organization,
) -> None:
    await acme.fill()
    await acme.position(11)
    await acme.drain()
    assert all(isinstance(ttl, int) for ttl in await acme.renew(1, 2))
    await acme.release(1)
    place = await acme.acquire(11, wait=True)
    assert isinstance(place, InLine)
    assert (place.position, place.blocked_by) == (1, "drained")
    assert await acme.acquire(12) == NotGranted("full", "drained")
    await acme.drain(drained=False)
    assert isinstance(await acme.acquire(11, wait=True), SeatGranted)


async def test_nobody_gets_a_free_seat_of_a_drained_license(acme: Organization) -> None:
    await acme.drain()
    assert await acme.acquire(1) == NotGranted("full", "drained")


async def test_a_waiter_put_aside_for_its_machine_is_served_when_a_machine_leaves(
    acme: Organization,
) -> None:
    await acme.set_quota(3, 1)
    await acme.acquire(1, machine="c1", ephemeral=True)
    assert await acme.position(11, machine="c2") == 1
    assert isinstance(await acme.acquire(12, machine="c1", ephemeral=True, wait=True), SeatGranted)
    await acme.release(1)
    assert await acme.position(11, machine="c2") == 1
    await acme.release(12)
    assert isinstance(await acme.acquire(11, machine="c2", wait=True), SeatGranted)


async def test_a_waiter_put_aside_is_served_when_its_machine_is_registered_by_another(
    acme: Organization,
) -> None:
    await acme.set_quota(4, 1)
    await acme.acquire(1, machine="c1", ephemeral=True)
    for number in (11, 12):
        await acme.position(number, machine="c2")
    await acme.release(1)
    for number in (11, 12):
        assert isinstance(await acme.acquire(number, machine="c2", wait=True), SeatGranted)


async def test_one_blocked_by_machines_for_a_minute_holds_up_those_behind_it(
    acme: Organization,
) -> None:
    await acme.set_quota(3, 1)
    await acme.acquire(1, machine="c1", ephemeral=True)
    await acme.position(11, machine="c2")
    for _ in range(31):
        await acme.pass_time(2_000)
        await acme.renew(1)
        await acme.position(11, machine="c2")
    late = await acme.acquire(12, machine="c1", ephemeral=True, wait=True)
    assert isinstance(late, InLine), "else the container would never leave"
    await acme.release(1)
    assert isinstance(await acme.acquire(11, machine="c2", wait=True), SeatGranted)


async def test_places_are_kept_in_one_call_for_many(acme: Organization) -> None:
    await acme.fill()
    for number in range(11, 31):
        await acme.position(number)
    for _ in range(8):
        await acme.pass_time(2_000)
        await acme.renew(1, 2)
        assert await acme.keep(*range(11, 31), 99) == [*range(1, 21), 0]
    assert await acme.position(30) == 20


async def remove_license(organization: Organization) -> None:
    """As an admin does, with those who wait still in line."""
    for key in keys.of_license(organization.slug, organization.license):
        await organization.store.redis.delete(key)
    await organization.store.redis.srem(keys.licenses(organization.slug), organization.license)


async def test_who_waits_for_a_license_that_is_removed_should_ask_and_is_told(
    acme: Organization,
) -> None:
    await acme.drain()
    await acme.position(11)
    await acme.position(12)
    await remove_license(acme)
    assert await acme.keep(11, 12) == [0, 0]
    assert await acme.acquire(11, wait=True) == NotGranted("unknown_license", "")
    await acme.pass_time(GONE_MS + 1)
    await acme.reap()
    await assert_at_rest(acme.store, acme.slug)


async def test_who_waited_for_a_license_that_was_made_anew_comes_anew(
    acme: Organization,
) -> None:
    await acme.drain()
    await acme.position(11)
    await remove_license(acme)
    await acme.set_quota(1)
    assert isinstance(await acme.acquire(11, wait=True), SeatGranted)
    assert await acme.position(12) == 1
    await acme.renew(11)
    await acme.pass_time(4_000)
    assert await acme.renew(11) == [TTL_MS], "nobody was offered its seat meanwhile"
    await acme.release(11)
    assert isinstance(await acme.acquire(12, wait=True), SeatGranted)
