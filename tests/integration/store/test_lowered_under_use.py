"""What is lowered by force lets the running finish; nothing new begins until use is below."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgpack
from lessor_daemon.store.scripts import InLine, NotGranted, SeatGranted
from support.older_copy import OlderCopy
from support.organization import LEASE_MS, TTL_MS, Organization, proven

if TYPE_CHECKING:
    from lessor_daemon.store.store import Store

FULL_OF_MACHINES = NotGranted("full", "machines")
OFFER_MS = 3_000


async def two_machines(acme: Organization, seats: int = 5) -> None:
    """m1 and m2 are registered and idle, and the machine quota is 1 now."""
    await acme.set_quota(seats, 2)
    for number, machine in enumerate(("m1", "m2"), 1):
        assert isinstance(await acme.acquire(number, machine=machine), SeatGranted)
        await acme.release(number)
    await acme.set_quota(seats, 1, force=True)


async def test_of_more_registered_machines_than_are_allowed_so_many_may_be_used(
    acme: Organization,
) -> None:
    await two_machines(acme)
    assert isinstance(await acme.acquire(11, machine="m1"), SeatGranted)
    assert await acme.acquire(12, machine="m2") == FULL_OF_MACHINES
    assert isinstance(await acme.acquire(13, machine="m1"), SeatGranted), "it runs already"
    await acme.release(11)
    assert await acme.acquire(12, machine="m2") == FULL_OF_MACHINES
    await acme.release(13)
    assert isinstance(await acme.acquire(14, machine="m2"), SeatGranted)


async def test_machines_in_use_beyond_the_quota_begin_nothing_new(acme: Organization) -> None:
    await acme.set_quota(5, 2)
    await acme.acquire(1, machine="m1")
    await acme.acquire(2, machine="m2")
    await acme.set_quota(5, 1, force=True)
    assert await acme.acquire(11, machine="m1") == FULL_OF_MACHINES
    await acme.release(2)
    assert isinstance(await acme.acquire(12, machine="m1"), SeatGranted)


async def test_who_waits_on_a_registered_machine_is_served_when_another_is_not_used_any_more(
    acme: Organization,
) -> None:
    await two_machines(acme)
    await acme.acquire(11, machine="m1")
    waiting = await acme.acquire(12, machine="m2", wait=True)
    assert isinstance(waiting, InLine)
    assert waiting.blocked_by == "machines"
    await acme.release(11)
    assert isinstance(await acme.acquire(12, machine="m2", wait=True), SeatGranted)


async def test_who_waits_on_a_machine_that_is_used_is_served_when_few_enough_are(
    acme: Organization,
) -> None:
    await acme.set_quota(5, 2)
    await acme.acquire(1, machine="m1")
    await acme.acquire(2, machine="m2")
    await acme.set_quota(5, 1, force=True)
    assert isinstance(await acme.acquire(11, machine="m1", wait=True), InLine)
    assert isinstance(await acme.acquire(12, machine="m2", wait=True), InLine)
    await acme.release(2)
    assert isinstance(await acme.acquire(11, machine="m1", wait=True), SeatGranted)
    assert isinstance(await acme.acquire(12, machine="m2", wait=True), InLine)
    await acme.set_quota(5, 2)
    assert isinstance(await acme.acquire(12, machine="m2", wait=True), SeatGranted)


async def test_a_removed_machine_of_an_older_copy_runs_nothing_beside_the_one_that_came_for_it(
    store: Store,
) -> None:
    acme = Organization(store, trust="none")
    await acme.set_quota(2, 1)
    await acme.open_recovery()
    await acme.pass_time(2 * LEASE_MS)
    await acme.acquire(1, machine="m1")
    await acme.release(1)
    copy = await OlderCopy.of(store)
    await acme.unregister("m1")
    running = await acme.acquire(2, machine="m2")
    assert isinstance(running, SeatGranted)
    await copy.put_back(store)
    assert await acme.restore(proven(2, running, machine="m2")) == [TTL_MS]
    while await acme.recovering_ms():
        await acme.renew(2)
        await acme.pass_time(2_000)
    assert await acme.acquire(3, machine="m1") == FULL_OF_MACHINES


async def test_an_offer_is_not_claimed_when_seats_were_lowered_since(acme: Organization) -> None:
    await acme.set_quota(2)
    await acme.fill()
    await acme.position(11)
    await acme.position(12)
    await acme.release(1)
    await acme.release(2)  # both are offered
    await acme.set_quota(1, force=True)
    first = await acme.acquire(11, wait=True)
    second = await acme.acquire(12, wait=True)
    assert isinstance(first, InLine) != isinstance(second, InLine), "one of them has the seat"
    assert await acme.store.redis.scard("{acme}:kre:use") == 1


async def test_an_offer_is_not_claimed_of_a_license_that_is_drained_since(
    acme: Organization,
) -> None:
    await acme.set_quota(1)
    await acme.acquire(1)
    await acme.position(11)
    await acme.release(1)
    await acme.drain()
    assert await acme.position(11) == 1
    await acme.drain(drained=False)
    assert isinstance(await acme.acquire(11, wait=True), SeatGranted)


async def test_who_runs_counts_for_the_group_that_a_new_policy_puts_it_in(
    acme: Organization,
) -> None:
    await acme.set_quota(9)
    labels = {"team": "release"}
    holder = msgpack.packb(("", False, 1, "pytest", "", labels, "key"))
    for number in (1, 2, 3):
        await acme.acquire(number, labels=labels, holder=holder)
    capped = {"name": "a", "label": "team", "value": "release", "head_start": 0, "reserve": 0}
    await acme.set_policy(capped | {"cap": 3})
    assert await acme.acquire(11, labels=labels) == NotGranted("full", "cap")
    await acme.set_policy(capped | {"cap": 3, "name": "b"})
    assert await acme.acquire(11, labels=labels) == NotGranted("full", "cap")
    await acme.release(1)
    assert isinstance(await acme.acquire(12, labels=labels, holder=holder), SeatGranted)
    for number in (2, 3, 12):
        await acme.release(number)
    assert not await acme.store.redis.exists("{acme}:kre:groups")
