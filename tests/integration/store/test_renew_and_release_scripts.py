"""renew, release, reap and quota: what keeps a seat, what gives it back, and to whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_daemon.store.changes import BELOW_USE, MADE
from lessor_daemon.store.scripts import InLine, NotGranted, SeatGranted
from support.organization import LEASE_MS, TTL_MS
from support.stored import assert_at_rest

if TYPE_CHECKING:
    from support.organization import Organization


async def test_a_renewed_lease_lives_on(acme: Organization) -> None:
    await acme.acquire(1)
    for _ in range(5):
        await acme.pass_time(LEASE_MS - 1)
        assert await acme.renew(1) == [TTL_MS]


async def test_one_call_renews_many_and_answers_in_order(acme: Organization) -> None:
    await acme.set_quota(500)
    for number in range(500):
        await acme.acquire(number)
    await acme.release(7)
    results = await acme.renew(*range(500))
    assert results[7] == "released"
    assert results[:7] + results[8:] == [TTL_MS] * 499


async def test_a_lapsed_lease_is_lost_and_never_revived(acme: Organization) -> None:
    await acme.acquire(1)
    await acme.pass_time(LEASE_MS + 1)
    assert await acme.renew(1) == ["lapsed"], "lapsed and not reaped yet"
    await acme.reap()
    assert await acme.renew(1) == ["lapsed"]
    await assert_at_rest(acme.store, acme.slug)


async def test_a_renewal_after_the_end_says_why(acme: Organization) -> None:
    await acme.acquire(1)
    await acme.release(1)
    assert await acme.renew(1, 2) == ["released", "unknown"]


async def test_a_renewal_is_not_refused_when_the_quota_fell_below_use(acme: Organization) -> None:
    await acme.acquire(1)
    await acme.acquire(2)
    await acme.set_quota(0, 0, force=True)
    assert await acme.renew(1, 2) == [TTL_MS, TTL_MS]
    assert await acme.acquire(3) == NotGranted("full", "seats")
    await acme.release(1)
    assert await acme.acquire(4) == NotGranted("full", "seats")


async def test_a_release_frees_at_once_and_may_be_repeated(acme: Organization) -> None:
    await acme.acquire(1)
    assert [(await acme.release(1)).status for _ in range(3)] == [
        "released",
        "repeated",
        "repeated",
    ]
    await assert_at_rest(acme.store, acme.slug)


async def test_only_the_owner_releases_what_they_hold(acme: Organization) -> None:
    await acme.acquire(1, owner="member:ada@example.com")
    assert (await acme.release(1, asker="member:eve@example.com")).status == "forbidden"
    assert await acme.renew(1) == [TTL_MS]
    assert (await acme.release(1, may_end_others=True)).status == "others"
    assert await acme.renew(1) == [TTL_MS], "an admin ends it, and it is free when it is dead"
    assert (await acme.release(1, asker="member:ada@example.com")).status == "released"


async def test_only_an_admin_sends_others_away_from_the_line(acme: Organization) -> None:
    for number in (1, 2, 3, 4):
        await acme.acquire(number, wait=True)
    assert (await acme.release(3, asker="key:eve")).status == "forbidden"
    assert (await acme.release(3, asker="key:adam", may_end_others=True)).status == "others"
    assert await acme.end(3) == [1]
    assert await acme.acquire(3, wait=True) == NotGranted("ended", "ended")
    place = await acme.acquire(4, wait=True)
    assert isinstance(place, InLine)
    assert place.position == 1
    assert await acme.end(3, 9) == [-1, -1], "one that waits no more, and one that nobody knows"


async def test_a_seat_that_was_offered_to_who_is_sent_away_goes_to_the_next(
    acme: Organization,
) -> None:
    for number in (1, 2, 3, 4):
        await acme.acquire(number, wait=True)
    await acme.release(1)
    assert (await acme.release(3, asker="key:adam", may_end_others=True)).status == "others"
    assert await acme.end(3) == [1], "it had the offer"
    assert await acme.acquire(3, wait=True) == NotGranted("ended", "ended")
    assert isinstance(await acme.acquire(4, wait=True), SeatGranted)


async def test_reap_ends_a_mass_lapse_in_paced_steps(acme: Organization) -> None:
    await acme.set_quota(250)
    for number in range(250):
        await acme.acquire(number, machine=f"m{number}", ephemeral=True)
    await acme.pass_time(LEASE_MS + 1)
    assert [len(await acme.reap()) for _ in range(4)] == [100, 100, 50, 0]
    await assert_at_rest(acme.store, acme.slug)


async def test_lowering_below_use_is_refused_with_the_numbers_unless_forced(
    acme: Organization,
) -> None:
    await acme.acquire(1, machine="m1")
    await acme.acquire(2, machine="m2")
    refused = await acme.set_quota(1, 2)
    assert (refused.status, refused.leases, refused.machines) == (BELOW_USE, 2, 2)
    assert (await acme.set_quota(2, 1)).status == BELOW_USE
    assert (await acme.set_quota(1, 1, force=True)).status == MADE


async def test_the_reply_names_the_next_deadline(acme: Organization) -> None:
    assert acme.reading is not None
    assert acme.reading.next_deadline_ms is None
    await acme.acquire(1)
    assert acme.reading.next_deadline_ms == LEASE_MS
    await acme.release(1)
    assert acme.reading.next_deadline_ms is None


async def test_a_granted_seat_is_counted_once_whatever_is_repeated(acme: Organization) -> None:
    for _ in range(3):
        assert isinstance(await acme.acquire(1), SeatGranted)
        await acme.renew(1)
    assert await acme.store.redis.scard("{acme}:kre:use") == 1
