"""Leases of several seats at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_daemon.store import leases
from lessor_daemon.store.scripts import NotGranted, SeatGranted
from lessor_protocol.message import MAX_SEATS
from support.organization import LEASE_MS, lease_id
from support.stored import assert_at_rest

if TYPE_CHECKING:
    from support.organization import Organization


async def seats_of(organization: Organization, number: int, **more: int) -> int:
    outcome = await organization.acquire(number, wait=True, **more)  # type: ignore[arg-type]  # seats
    return outcome.seats if isinstance(outcome, SeatGranted) else 0


async def test_several_seats_are_granted_together_or_not_at_all(acme: Organization) -> None:
    await acme.set_quota(5)
    assert await seats_of(acme, 1, seats=3) == 3
    assert await seats_of(acme, 2, seats=3) == 0
    assert await acme.store.redis.scard("{acme}:kre:use") == 3
    await acme.release(1)
    assert await seats_of(acme, 2, seats=3) == 3


async def test_a_range_takes_what_is_free_within_it(acme: Organization) -> None:
    await acme.set_quota(5)
    assert await seats_of(acme, 1, seats=2, most_seats=8) == 5
    assert await seats_of(acme, 2, seats=2, most_seats=8) == 0
    await acme.release(1)
    assert await seats_of(acme, 2, seats=2, most_seats=8) == 5


async def test_small_ones_do_not_starve_a_large_one(acme: Organization) -> None:
    await acme.set_quota(3)
    for number in (1, 2, 3):
        assert await seats_of(acme, number) == 1
    assert await seats_of(acme, 11, seats=3) == 0
    for number in (1, 2):
        await acme.release(number)
        assert await seats_of(acme, 20 + number) == 0, "seats gather for the large one"
    await acme.release(3)
    assert await seats_of(acme, 11, seats=3) == 3


async def test_more_seats_than_there_are_is_refused_at_once_and_blocks_nobody(
    acme: Organization,
) -> None:
    await acme.set_quota(3)
    assert await acme.acquire(1, wait=True, seats=4) == NotGranted("too_many", "3")
    assert await seats_of(acme, 2, seats=3) == 3
    assert await seats_of(acme, 3, seats=3) == 0
    await acme.set_quota(2, force=True)
    assert await seats_of(acme, 4) == 0
    await acme.release(2)
    assert await seats_of(acme, 4) == 1, "the one that became impossible left the line"
    assert await acme.acquire(3, wait=True, seats=3) == NotGranted("too_many", "2")


async def test_all_seats_of_a_lease_lapse_together(acme: Organization) -> None:
    await acme.set_quota(4)
    assert await seats_of(acme, 1, seats=4) == 4
    await acme.pass_time(LEASE_MS + 1)
    assert len(await acme.reap()) == 1
    await assert_at_rest(acme.store, acme.slug)


async def test_the_most_seats_a_lease_may_have_are_taken_and_given_back(
    acme: Organization,
) -> None:
    await acme.set_quota(MAX_SEATS)
    assert await seats_of(acme, 1, seats=MAX_SEATS) == MAX_SEATS
    assert await acme.acquire(2) == NotGranted("full", "seats")
    assert [one.lease_id for one in await leases.holders(acme.store, "acme", "kre", 50)] == [
        lease_id(1)
    ]
    await acme.release(1)
    assert await seats_of(acme, 3, seats=1, most_seats=MAX_SEATS) == MAX_SEATS
    await acme.pass_time(LEASE_MS + 1)
    assert len(await acme.reap()) == 1
    await assert_at_rest(acme.store, acme.slug)
