"""Who cannot be served holds up nobody behind; and a line has an end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_daemon.store.scripts import NotGranted, SeatGranted

if TYPE_CHECKING:
    from support.organization import Organization

MOST_WAITING = 20_000
PATIENCE_MS = 60_000


async def test_no_seats_gather_for_one_whose_machine_is_not_admitted(acme: Organization) -> None:
    await acme.acquire(1, machine="m1")
    await acme.acquire(2, machine="m2")
    await acme.acquire(11, machine="m3", seats=2, wait=True)
    await acme.acquire(12, machine="m2", wait=True)
    await acme.release(2)
    assert isinstance(await acme.acquire(12, machine="m2", wait=True), SeatGranted)


async def test_seats_gather_for_it_once_a_machine_is_free(acme: Organization) -> None:
    await acme.acquire(1, machine="m1", ephemeral=True)
    await acme.acquire(2, machine="m2", ephemeral=True)
    await acme.acquire(11, machine="m3", seats=2, wait=True)
    await acme.acquire(12, machine="m2", wait=True)
    await acme.release(1)
    assert await acme.position(12, "m2") == 2
    await acme.release(2)
    assert isinstance(await acme.acquire(11, machine="m3", seats=2, wait=True), SeatGranted)


async def test_one_whose_group_is_at_its_cap_holds_nobody_up_for_a_machine(
    acme: Organization,
) -> None:
    await acme.set_quota(3, 2)
    group = {"name": "g", "label": "team", "value": "g", "head_start": 0, "reserve": 0, "cap": 1}
    await acme.set_policy(group)
    of_group = {"team": "g"}
    await acme.acquire(1, machine="m1")
    await acme.acquire(2, machine="container", ephemeral=True)
    await acme.acquire(11, machine="m3", labels=of_group, wait=True)
    assert isinstance(await acme.acquire(3, machine="m1", labels=of_group, wait=True), SeatGranted)
    for _ in range(PATIENCE_MS // 2_000 + 1):
        await acme.pass_time(2_000)
        await acme.keep(11)
        await acme.renew(1, 2, 3)
    await acme.release(1)
    assert isinstance(await acme.acquire(12, machine="m1", wait=True), SeatGranted)


async def test_a_line_that_is_as_long_as_may_be_takes_nobody_more_and_loses_nobody(
    acme: Organization,
) -> None:
    await acme.fill()
    assert await acme.position(11) == 1
    stand_ins = [f"stand-in-{number}" for number in range(MOST_WAITING - 1)]
    await acme.store.redis.hset("{acme}:waiter", mapping=dict.fromkeys(stand_ins, ""))
    crowded = NotGranted("crowded", str(MOST_WAITING))
    assert await acme.acquire(12, wait=True) == crowded
    assert await acme.acquire(12) == NotGranted("full", "seats")
    assert await acme.position(11) == 1
    await acme.store.redis.hdel("{acme}:waiter", *stand_ins)
    assert await acme.position(12) == 2
