"""Seats offered to who waits: claimed, let pass, left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_daemon.store.scripts import NotGranted, SeatGranted
from support.organization import LEASE_MS
from support.stored import assert_at_rest

if TYPE_CHECKING:
    from support.organization import Organization

GONE_MS = 10_000
OFFER_MS = 3_000


async def let_pass(acme: Organization, number: int, freed: int) -> None:
    """``freed`` gives its seat back; ``number``, whose turn it is, does not claim it in time."""
    await acme.release(freed)
    await acme.pass_time(OFFER_MS + 1)
    ended = await acme.reap()
    assert [(one.lease_id[-1], one.reason) for one in ended] == [(number, "unclaimed")]


async def test_an_offer_that_is_not_claimed_goes_to_the_next(acme: Organization) -> None:
    await acme.fill()
    await acme.position(11)
    await acme.position(12)
    await acme.release(1)
    await acme.pass_time(OFFER_MS + 1)
    ended = await acme.reap()
    assert [(one.lease_id[-1], one.reason) for one in ended] == [(11, "unclaimed")]
    assert isinstance(await acme.acquire(12, wait=True), SeatGranted)
    assert await acme.position(11) == 1


async def test_who_lets_an_offer_pass_is_at_its_old_place_again_when_it_asks(
    acme: Organization,
) -> None:
    await acme.fill()
    for number in (11, 12, 13):
        await acme.position(number)
    await let_pass(acme, 11, freed=1)
    assert isinstance(await acme.acquire(12, wait=True), SeatGranted), "it went to the next"
    assert await acme.position(13) == 2
    assert await acme.position(11) == 1
    await acme.release(2)
    assert await acme.position(13) == 1
    claimed = await acme.acquire(11, wait=True)
    assert isinstance(claimed, SeatGranted)
    assert claimed.waited_ms == OFFER_MS + 1, "since it joined"


async def test_who_let_an_offer_pass_is_passed_over_until_it_asks(acme: Organization) -> None:
    await acme.fill()
    for number in (11, 12, 13):
        await acme.position(number)
    await let_pass(acme, 11, freed=1)
    await acme.acquire(12, wait=True)
    await acme.release(2)
    assert isinstance(await acme.acquire(13, wait=True), SeatGranted), "one offer is all it costs"
    await acme.release(12)
    assert isinstance(await acme.acquire(11, wait=True), SeatGranted)


async def test_a_seat_that_nobody_else_wants_is_there_for_who_comes_back(
    acme: Organization,
) -> None:
    await acme.fill()
    await acme.position(11)
    await let_pass(acme, 11, freed=1)
    assert isinstance(await acme.acquire(11, wait=True), SeatGranted)


async def test_a_place_is_lost_by_silence_also_across_an_offer(acme: Organization) -> None:
    await acme.fill()
    await acme.position(11)
    await acme.pass_time(1_000)
    await acme.position(12)
    await let_pass(acme, 11, freed=1)
    await acme.acquire(12, wait=True)
    await acme.position(13)
    await acme.pass_time(GONE_MS - OFFER_MS - 1_000)
    await acme.reap()
    assert await acme.position(13) == 1, "11 was silent for ten seconds and a moment"
    assert await acme.position(11) == 2


async def test_who_holds_a_call_open_for_the_absent_is_told_to_ask(acme: Organization) -> None:
    await acme.fill()
    await acme.position(11)
    await acme.position(12)
    await let_pass(acme, 11, freed=1)
    assert await acme.keep(11, 12) == [0, 0], "12 has the offer now"
    await acme.acquire(12, wait=True)
    await acme.position(11)
    assert await acme.keep(11) == [1]


async def test_who_let_an_offer_pass_may_leave(acme: Organization) -> None:
    await acme.fill()
    await acme.position(11)
    await let_pass(acme, 11, freed=1)
    await acme.release(11)
    await acme.release(2)
    await assert_at_rest(acme.store, acme.slug)


async def test_who_leaves_instead_of_claiming_is_forgotten(acme: Organization) -> None:
    await acme.fill()
    await acme.position(11)
    await acme.release(1)
    await acme.release(11)
    await acme.release(2)
    await assert_at_rest(acme.store, acme.slug)


async def test_who_asks_through_a_recovery_is_at_its_old_place_and_served_after(
    acme: Organization,
) -> None:
    acme.trust = "none"
    await acme.fill()
    for number in (11, 12, 13):
        await acme.position(number)
    await acme.release(1)  # offered to 11, who cannot claim it before the grace is over
    await acme.store.redis.hset("{acme}:clock", "replid", "another")
    restarted = acme.other_daemon()
    await restarted.tick()
    while restarted.reading and restarted.reading.recovering_ms > 2_000:
        await restarted.pass_time(2_000)
        for number in (13, 12, 11):
            assert await restarted.acquire(number, wait=True) == NotGranted("recovering", "")
        await restarted.renew(2)
    await restarted.pass_time(2_000)
    await restarted.reap()
    assert await restarted.position(12) == 1
    assert isinstance(await restarted.acquire(11, wait=True), SeatGranted)


async def test_who_does_not_ask_through_a_recovery_loses_its_offer_with_its_end(
    acme: Organization,
) -> None:
    acme.trust = "none"
    await acme.fill()
    for number in (11, 12):
        await acme.position(number)
    await acme.release(1)  # offered to 11, which dies
    await acme.store.redis.hset("{acme}:clock", "replid", "another")
    restarted = acme.other_daemon()
    await restarted.tick()
    while restarted.reading and restarted.reading.recovering_ms:
        assert await restarted.acquire(12, wait=True) == NotGranted("recovering", "")
        await restarted.renew(2)
        await restarted.pass_time(2_000)
    await restarted.reap()
    assert isinstance(await restarted.acquire(12, wait=True), SeatGranted)


async def test_an_unclaimed_offer_registers_no_machine(acme: Organization) -> None:
    await acme.set_quota(2, 2)
    await acme.fill()
    await acme.position(11, machine="dead")
    await acme.release(1)
    await acme.pass_time(OFFER_MS + 1)
    await acme.reap()
    assert isinstance(await acme.acquire(12, machine="m2"), SeatGranted)


async def test_a_claimed_offer_registers_its_machine_for_good(acme: Organization) -> None:
    await acme.fill()
    await acme.position(11, machine="m2")
    await acme.release(1)
    assert isinstance(await acme.acquire(11, machine="m2", wait=True), SeatGranted)
    await acme.release(11)
    assert await acme.acquire(12, machine="m3") == NotGranted("full", "machines")


async def test_a_claimed_offer_lasts_a_whole_ttl(acme: Organization) -> None:
    await acme.fill()
    await acme.position(11)
    await acme.release(1)
    await acme.acquire(11, wait=True)
    await acme.pass_time(LEASE_MS)
    assert isinstance((await acme.renew(11))[0], int)
