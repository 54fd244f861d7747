"""A store that knows of a place or an offer, and forgot that it was served: the claim counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lessor_daemon.store.scripts import InLine, NotGranted, SeatGranted
from support.older_copy import OlderCopy
from support.organization import LEASE_MS, TTL_MS, Organization, proven
from support.stored import assert_at_rest

if TYPE_CHECKING:
    from lessor_daemon.store.store import Store


async def with_two_in_line(store: Store) -> Organization:
    """1 has the only seat, 11 and 12 wait for it."""
    acme = Organization(store, trust="none")
    await acme.set_quota(1)
    await acme.pass_time(await recovery_of(acme))
    await acme.acquire(1)
    await acme.position(11)
    await acme.position(12)
    return acme


@pytest.fixture(params=["it waited", "it was offered the seat"])
async def promoted(
    request: pytest.FixtureRequest, store: Store
) -> tuple[Organization, SeatGranted]:
    """1 gave its only seat to 11, and 12 waits. The store forgot all since then."""
    acme = await with_two_in_line(store)
    if request.param == "it was offered the seat":
        await acme.release(1)
    copy = await OlderCopy.of(store)
    await acme.release(1)
    claimed = await acme.acquire(11, wait=True)
    assert isinstance(claimed, SeatGranted)
    await copy.put_back(store)
    return acme, claimed


async def recovery_of(organization: Organization) -> int:
    await organization.tick()
    assert organization.reading
    return organization.reading.recovering_ms


async def put_back(acme: Organization, claimed: SeatGranted) -> None:
    assert await acme.renew(11) == ["unknown"], "of the claim nothing is known"
    assert await acme.restore(proven(11, claimed)) == [TTL_MS]


async def test_who_was_served_is_put_back_and_stands_in_line_no_more(
    promoted: tuple[Organization, SeatGranted],
) -> None:
    acme, claimed = promoted
    await put_back(acme, claimed)
    assert await acme.keep(11) == [0]
    assert await acme.renew(11) == [TTL_MS]


async def test_its_seat_is_not_offered_while_it_holds_on(
    promoted: tuple[Organization, SeatGranted],
) -> None:
    acme, claimed = promoted
    await acme.release(1)  # of the older copy; it was done before
    await put_back(acme, claimed)
    for _ in range(2 + await recovery_of(acme) // 9_000):
        await acme.pass_time(9_000)
        assert await acme.renew(11) == [TTL_MS]
        assert not isinstance(await acme.acquire(12, wait=True), SeatGranted)
    assert isinstance(await acme.acquire(12, wait=True), InLine)


async def test_it_is_ended_like_any_that_runs(
    promoted: tuple[Organization, SeatGranted],
) -> None:
    acme, claimed = promoted
    await acme.release(1)
    await acme.release(12)
    await put_back(acme, claimed)
    assert await acme.end(11) == [1]
    assert await acme.store.redis.scard("{acme}:kre:use") == 1, "it runs until it hears of it"
    await acme.release(11)
    await acme.pass_time(await recovery_of(acme) + LEASE_MS)
    await acme.reap()
    await assert_at_rest(acme.store, acme.slug)


async def test_an_offer_of_the_older_copy_is_not_claimed_while_another_has_the_seat(
    store: Store,
) -> None:
    acme = await with_two_in_line(store)
    await acme.release(1)  # offered to 11
    copy = await OlderCopy.of(store)
    await acme.pass_time(3_001)  # which lets it pass, for once
    await acme.reap()
    served = await acme.acquire(12, wait=True)
    assert isinstance(served, SeatGranted)
    await copy.put_back(store)
    assert await acme.restore(proven(12, served)) == [TTL_MS]
    while await recovery_of(acme):
        assert await acme.acquire(11, wait=True) == NotGranted("recovering", "")
        await acme.renew(12)
        await acme.pass_time(2_000)
    assert await acme.position(11) == 1, "the seat is taken"
    await acme.release(12)
    granted = await acme.acquire(11, wait=True)
    assert isinstance(granted, SeatGranted)
    assert granted.token > served.token


async def test_its_seats_are_those_of_the_claim(store: Store) -> None:
    acme = Organization(store, trust="none")
    await acme.set_quota(4)
    await acme.pass_time(await recovery_of(acme))
    await acme.acquire(1, seats=4)
    await acme.acquire(11, wait=True, seats=1, most_seats=4)
    copy = await OlderCopy.of(store)
    await acme.release(1)
    claimed = await acme.acquire(11, wait=True, seats=1, most_seats=4)
    assert isinstance(claimed, SeatGranted)
    assert claimed.seats == 4
    await copy.put_back(store)
    await acme.release(1)
    assert await acme.restore(proven(11, claimed)) == [TTL_MS]
    assert await acme.store.redis.scard("{acme}:kre:use") == 4


async def test_of_two_grants_of_one_id_the_later_ones_seats_count(store: Store) -> None:
    """The older copy has the first, of which its client never heard."""
    acme = Organization(store, trust="none")
    await acme.set_quota(4)
    await acme.pass_time(await recovery_of(acme))
    await acme.acquire(1, seats=3)
    first = await acme.acquire(11, seats=1, most_seats=4)
    assert isinstance(first, SeatGranted)
    assert first.seats == 1
    copy = await OlderCopy.of(store)
    await acme.open_recovery()
    await acme.release(1)
    await acme.pass_time(await recovery_of(acme) + LEASE_MS)
    second = await acme.acquire(11, seats=1, most_seats=4)
    assert isinstance(second, SeatGranted)
    assert second.seats == 4
    await copy.put_back(store)
    await acme.tick()
    assert await acme.renew(11) == ["unknown"], "it is to prove itself"
    assert await acme.restore(proven(11, second)) == [TTL_MS]
    assert await acme.restore(proven(11, first)) == [TTL_MS], "a renewal that the network kept"
    await acme.release(1)
    assert await acme.store.redis.scard("{acme}:kre:use") == 4
    await acme.release(11)
    await acme.pass_time(await recovery_of(acme))
    await assert_at_rest(acme.store, acme.slug)


async def test_who_has_only_an_offer_cannot_renew_it(acme: Organization) -> None:
    await acme.fill()
    await acme.position(11)
    await acme.release(1)
    assert await acme.renew(11) == ["unknown"]
    await acme.pass_time(3_001)
    assert [one.reason for one in await acme.reap()] == ["unclaimed"]
