"""The line: order, no barging, offers, and both quotas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_daemon.store.scripts import InLine, NotGranted, SeatGranted
from support.organization import LEASE_MS
from support.stored import assert_at_rest

if TYPE_CHECKING:
    from support.organization import Organization

GONE_MS = 10_000
OFFER_MS = 3_000


async def fill(organization: Organization, seats: int = 2) -> None:
    """Take all seats with ids from 1."""
    for number in range(1, seats + 1):
        assert isinstance(await organization.acquire(number), SeatGranted)


async def position(organization: Organization, number: int, machine: str = "m1") -> int:
    place = await organization.acquire(number, wait=True, machine=machine)
    assert isinstance(place, InLine), place
    return place.position


async def test_waiters_stand_in_the_order_they_came(acme: Organization) -> None:
    await fill(acme)
    assert [await position(acme, number) for number in (11, 12, 13)] == [1, 2, 3]
    assert [await position(acme, number) for number in (13, 12, 11)] == [3, 2, 1]


async def test_a_freed_seat_goes_to_the_first_even_if_another_asks_first(
    acme: Organization,
) -> None:
    await fill(acme)
    await position(acme, 11)
    await position(acme, 12)
    await acme.release(1)
    assert await position(acme, 12) == 1
    first = await acme.acquire(11, wait=True)
    assert isinstance(first, SeatGranted)
    assert first.is_new


async def test_nobody_barges_past_the_line(acme: Organization) -> None:
    await fill(acme)
    await position(acme, 11)
    await acme.release(1)
    assert await acme.acquire(99) == NotGranted("full", "seats")
    assert isinstance(await acme.acquire(11, wait=True), SeatGranted)


async def test_the_wait_is_told_with_the_grant(acme: Organization) -> None:
    await fill(acme)
    await position(acme, 11)
    await acme.pass_time(4_000)
    await position(acme, 11)
    await acme.release(1)
    granted = await acme.acquire(11, wait=True)
    assert isinstance(granted, SeatGranted)
    assert granted.waited_ms == 4_000


async def test_a_waiter_that_stops_asking_loses_its_place(acme: Organization) -> None:
    await fill(acme)
    await position(acme, 11)
    await acme.pass_time(GONE_MS - 1_000)
    await position(acme, 12)
    await acme.pass_time(1_001)
    await acme.reap()
    assert await position(acme, 12) == 1
    assert await position(acme, 11) == 2, "it may come again, at the end"


async def test_an_offer_that_is_not_claimed_goes_to_the_next(acme: Organization) -> None:
    await fill(acme)
    await position(acme, 11)
    await position(acme, 12)
    await acme.release(1)
    await acme.pass_time(OFFER_MS + 1)
    ended = await acme.reap()
    assert [(one.lease_id[-1], one.reason) for one in ended] == [(11, "unclaimed")]
    assert isinstance(await acme.acquire(12, wait=True), SeatGranted)
    assert await position(acme, 11) == 1


async def test_an_unclaimed_offer_registers_no_machine(acme: Organization) -> None:
    await acme.set_quota(2, 2)
    await fill(acme)
    await position(acme, 11, machine="dead")
    await acme.release(1)
    await acme.pass_time(OFFER_MS + 1)
    await acme.reap()
    assert isinstance(await acme.acquire(12, machine="m2"), SeatGranted)


async def test_a_claimed_offer_registers_its_machine_for_good(acme: Organization) -> None:
    await fill(acme)
    await position(acme, 11, machine="m2")
    await acme.release(1)
    assert isinstance(await acme.acquire(11, machine="m2", wait=True), SeatGranted)
    await acme.release(11)
    assert await acme.acquire(12, machine="m3") == NotGranted("full", "machines")


async def test_a_claimed_offer_lasts_a_whole_ttl(acme: Organization) -> None:
    await fill(acme)
    await position(acme, 11)
    await acme.release(1)
    await acme.acquire(11, wait=True)
    await acme.pass_time(LEASE_MS)
    assert isinstance((await acme.renew(11))[0], int)


async def test_one_blocked_by_machines_does_not_block_one_whose_machine_is_registered(
    acme: Organization,
) -> None:
    await acme.set_quota(2, 1)
    await fill(acme)
    assert await position(acme, 11, machine="m2") == 1
    assert await position(acme, 12, machine="m1") == 2
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
    await fill(acme)
    await acme.pass_time(LEASE_MS - 1_000)
    await position(acme, 11)
    await acme.pass_time(1_001)
    assert isinstance(await acme.acquire(11, wait=True), SeatGranted)


async def test_raising_the_seats_serves_the_line(acme: Organization) -> None:
    await fill(acme)
    await position(acme, 11)
    await acme.set_quota(3, 2)
    assert await acme.store.redis.scard("{acme}:kre:use") == 3


async def test_who_will_not_wait_any_longer_leaves_the_line(acme: Organization) -> None:
    await fill(acme)
    await position(acme, 11)
    assert await acme.acquire(11) == NotGranted("full", "seats")
    await acme.release(1)
    await acme.release(2)
    await assert_at_rest(acme.store, acme.slug)


async def test_the_line_survives_a_restart_of_the_daemon(acme: Organization) -> None:
    await fill(acme)
    await position(acme, 11)
    await position(acme, 12)
    restarted = acme.other_daemon()
    assert await position(restarted, 12) == 2
