"""Seats of registered users: who runs on one, also after a takeover or a change of kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lessor_daemon.store.scripts import NotGranted, SeatGranted
from support.organization import LEASE_MS, Organization

if TYPE_CHECKING:
    from lessor_daemon.store.scripts import InLine
    from lessor_daemon.store.store import Store

ADA, BOB = "ada@example.com", "bob@example.com"
REGISTERED = "{acme}:studio:registered"
FULL = NotGranted("full", "seats")


@pytest.fixture
async def studio(store: Store) -> Organization:
    """One seat, and Ada is registered."""
    made = Organization(store, license="studio")
    await made.set_quota(1, kind="named-user")
    await register(made, ADA)
    return made


async def register(studio: Organization, email: str) -> None:
    await studio.store.redis.hset(REGISTERED, email, "1")


async def activate(
    studio: Organization, number: int, email: str, machine: str = "m1"
) -> SeatGranted | InLine | NotGranted:
    return await studio.acquire(number, owner=f"member:{email}", machine=machine)


async def test_a_takeover_does_not_wait_until_the_one_before_is_dead(studio: Organization) -> None:
    assert isinstance(await activate(studio, 1, ADA, "m1"), SeatGranted)
    assert isinstance(await activate(studio, 2, ADA, "m2"), SeatGranted)
    assert await studio.renew(1) == ["taken_over activated on machine m2"]


async def test_what_was_taken_over_counts_until_it_is_dead_for_others_and_its_own_user(
    studio: Organization,
) -> None:
    await activate(studio, 1, ADA, "m1")  # which is cut off from now on, and runs
    await activate(studio, 2, ADA, "m2")
    assert await activate(studio, 3, ADA, "m3") == FULL
    await studio.release(2, asker=f"member:{ADA}")
    await register(studio, BOB)
    assert await activate(studio, 4, BOB) == FULL
    await studio.pass_time(LEASE_MS + 1)
    assert isinstance(await activate(studio, 4, BOB), SeatGranted)


@pytest.mark.parametrize("owner", [f"member:{BOB}", "key:ci", f"member:{ADA}"])
async def test_nobody_gets_such_a_seat_by_waiting_through_a_recovery(
    studio: Organization, owner: str
) -> None:
    await studio.open_recovery()
    while studio.reading and studio.reading.recovering_ms:
        refused = await studio.acquire(1, owner=owner, wait=True)
        assert refused == NotGranted("recovering", "")
        await studio.pass_time(2_000)
    await studio.reap()
    assert isinstance(await activate(studio, 2, ADA), SeatGranted), "nothing was offered"


async def test_a_license_that_becomes_one_of_named_users_counts_what_runs(store: Store) -> None:
    studio = Organization(store, license="studio")
    await studio.set_quota(2)
    await studio.fill()
    await studio.set_quota(2, kind="named-user", force=True)
    await register(studio, ADA)
    assert await activate(studio, 3, ADA) == FULL
    await studio.release(1)
    assert isinstance(await activate(studio, 3, ADA), SeatGranted)


async def test_who_waited_before_it_became_one_of_named_users_is_offered_nothing(
    store: Store,
) -> None:
    studio = Organization(store, license="studio")
    await studio.set_quota(1)
    await studio.fill(1)
    assert await studio.position(11) == 1
    await studio.set_quota(1, kind="named-user", force=True)
    await studio.release(1)
    assert await studio.acquire(11, wait=True) == NotGranted("not_registered_user", "")
    await register(studio, ADA)
    assert isinstance(await activate(studio, 2, ADA), SeatGranted)
