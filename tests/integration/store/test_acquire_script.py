"""acquire: one atomic step over both quotas, and the same answer when it is repeated."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from lessor_daemon.store.scripts import InLine, NotGranted, SeatGranted
from support.organization import LEASE_MS, TTL_MS, Organization
from support.stored import assert_at_rest

if TYPE_CHECKING:
    from lessor_daemon.store.store import Store


async def granted(organization: Organization, number: int, machine: str = "m1") -> SeatGranted:
    outcome = await organization.acquire(number, machine=machine)
    assert isinstance(outcome, SeatGranted), outcome
    return outcome


async def test_grants_up_to_the_seats_and_says_that_seats_bind(acme: Organization) -> None:
    await granted(acme, 1)
    await granted(acme, 2)
    assert await acme.acquire(3) == NotGranted("full", "seats")


async def test_registers_up_to_the_machine_quota_and_says_that_machines_bind(
    acme: Organization,
) -> None:
    await acme.set_quota(5, 2)
    await granted(acme, 1, "m1")
    await granted(acme, 2, "m2")
    assert await acme.acquire(3, machine="m3") == NotGranted("full", "machines")
    await granted(acme, 4, "m2")


async def test_an_unlimited_machine_quota_never_binds(acme: Organization) -> None:
    await acme.set_quota(20, None)
    for number in range(20):
        await granted(acme, number, f"m{number}")


async def test_a_registered_machine_stays_registered_without_a_lease(acme: Organization) -> None:
    await acme.set_quota(5, 1)
    await granted(acme, 1, "m1")
    await acme.release(1)
    assert await acme.acquire(2, machine="m2") == NotGranted("full", "machines")
    await granted(acme, 3, "m1")


async def test_an_ephemeral_machine_leaves_with_its_last_lease(acme: Organization) -> None:
    await acme.set_quota(5, 1)
    for number in range(1, 31):
        outcome = await acme.acquire(number, machine=f"container-{number}", ephemeral=True)
        assert isinstance(outcome, SeatGranted)
        await acme.release(number)
    await assert_at_rest(acme.store, acme.slug)


async def test_a_machine_registered_for_good_is_not_lost_to_an_ephemeral_lease(
    acme: Organization,
) -> None:
    await acme.set_quota(5, 1)
    await granted(acme, 1, "m1")
    await acme.release(1)
    await acme.acquire(2, machine="m1", ephemeral=True)
    await acme.release(2)
    assert await acme.acquire(3, machine="m2") == NotGranted("full", "machines")


async def test_the_same_acquire_again_gets_the_same_token_and_no_second_seat(
    acme: Organization,
) -> None:
    first = await granted(acme, 1)
    again = await granted(acme, 1)
    assert (again.token, again.is_new, first.is_new) == (first.token, False, True)
    await granted(acme, 2)
    assert await acme.acquire(3) == NotGranted("full", "seats")


async def test_a_repeated_acquire_extends_the_lease_like_a_renewal(acme: Organization) -> None:
    await granted(acme, 1)
    await acme.pass_time(LEASE_MS - 1_000)
    await granted(acme, 1)
    await acme.pass_time(LEASE_MS - 1_000)
    assert await acme.renew(1) == [TTL_MS]


@pytest.mark.parametrize(
    "other",
    [{"content": b"other"}, {"license": "other"}, {"owner": "key:another"}],
    ids=["content", "license", "owner"],
)
async def test_the_same_id_with_other_content_or_by_somebody_else_is_a_conflict(
    acme: Organization, other: dict[str, Any]
) -> None:
    await acme.set_quota(2)
    await acme.set_quota(5, license="other")
    await granted(acme, 1)
    assert await acme.acquire(1, **other) == NotGranted("conflict", "")
    await granted(acme, 2)
    await acme.acquire(3, wait=True)
    assert await acme.acquire(3, wait=True, **other) == NotGranted("conflict", "")
    await acme.release(1)
    assert await acme.acquire(3, wait=True, **other) == NotGranted("conflict", ""), "an offer"
    assert isinstance(await acme.acquire(3, wait=True), SeatGranted)


async def test_frees_a_lapsed_lease_in_the_same_step_and_reports_it(acme: Organization) -> None:
    await granted(acme, 1)
    await granted(acme, 2)
    await acme.pass_time(LEASE_MS)
    assert await acme.acquire(3) == NotGranted("full", "seats"), "on its deadline a lease lives"
    await acme.pass_time(1)
    await granted(acme, 3)
    assert sorted(one.lease_id[-1] for one in acme.ended) == [1, 2]
    assert {one.reason for one in acme.ended} == {"lapsed"}


async def test_an_ended_lease_is_never_granted_again(acme: Organization) -> None:
    await granted(acme, 1)
    await acme.release(1)
    assert await acme.acquire(1) == NotGranted("ended", "released")
    await granted(acme, 2)
    await acme.pass_time(LEASE_MS + 1)
    assert await acme.acquire(2) == NotGranted("ended", "lapsed")


async def test_a_delayed_acquire_after_its_release_takes_no_seat(acme: Organization) -> None:
    released = await acme.release(1)
    assert released.status == "unknown"
    assert await acme.acquire(1) == NotGranted("ended", "released")
    await assert_at_rest(acme.store, acme.slug)


async def test_an_ended_id_is_forgotten_after_the_retry_horizon(acme: Organization) -> None:
    await acme.release(1)
    await acme.pass_time(200_000)
    await acme.release(2)  # each end forgets what is old
    assert await acme.store.redis.zcard("{acme}:ended") == 1


async def test_an_end_is_remembered_from_its_last_release_on(acme: Organization) -> None:
    """A release may hang in a daemon while its lease lapses; what it answers must stay true."""
    await acme.release(1)
    for _ in range(3):
        await acme.pass_time(60_000)
        assert (await acme.release(1)).status == "repeated"
    assert await acme.acquire(1) == NotGranted("ended", "released")


async def test_tokens_strictly_increase_over_grants_epochs_and_a_full_counter(
    acme: Organization,
) -> None:
    tokens = [(await granted(acme, 1)).token]
    await acme.release(1)
    await acme.store.redis.hset("{acme}:clock", "counter", str(2**23 - 2))
    for number in range(2, 6):
        tokens.append((await granted(acme, number)).token)
        await acme.release(number)
    assert tokens == sorted(set(tokens))
    assert tokens[-1] < 2**53


async def test_says_when_there_is_no_such_license_or_it_is_not_for_processes(
    acme: Organization,
) -> None:
    assert await acme.acquire(1, license="none") == NotGranted("unknown_license", "")
    await acme.set_quota(1, license="studio", kind="named-user")
    assert await acme.acquire(2, license="studio") == NotGranted("not_registered_user", "")


async def test_an_expired_license_grants_nothing_and_lets_the_running_finish(
    acme: Organization,
) -> None:
    await acme.set_quota(2, 2, expires=1_000)
    running = await acme.acquire(1, wall_ms=999_999)
    assert isinstance(running, SeatGranted)
    assert await acme.acquire(2, wall_ms=1_000_000) == NotGranted("license_expired", "")
    assert await acme.renew(1) == [TTL_MS]
    assert isinstance(await acme.acquire(1, wall_ms=1_000_000), SeatGranted)


async def test_a_lease_of_another_organization_is_not_seen(
    acme: Organization, store: Store
) -> None:
    other = Organization(store, slug="other")
    await other.set_quota(1)
    await granted(acme, 1)
    assert await other.renew(1) == ["unknown"]
    assert (await other.release(1)).status == "unknown"
    assert await acme.renew(1) == [TTL_MS]
    assert isinstance(await other.acquire(2), SeatGranted)


async def test_parallel_acquires_never_overshoot_either_quota(store: Store) -> None:
    acme = Organization(store)
    await acme.set_quota(7, 3)
    outcomes = await asyncio.gather(
        *(acme.acquire(number, machine=f"m{number % 5}") for number in range(64))
    )
    winners = [
        number for number, outcome in enumerate(outcomes) if isinstance(outcome, SeatGranted)
    ]
    assert len(winners) == 7
    assert len({number % 5 for number in winners}) <= 3
    refused = Counter(one.why for one in outcomes if isinstance(one, NotGranted))
    assert refused.total() == 64 - 7


async def test_a_full_license_puts_who_would_wait_in_the_line(acme: Organization) -> None:
    await granted(acme, 1)
    await granted(acme, 2)
    place = await acme.acquire(3, wait=True)
    assert isinstance(place, InLine)
    assert (place.position, place.blocked_by) == (1, "seats")
