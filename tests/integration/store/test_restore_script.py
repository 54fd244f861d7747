"""restore: leases that a store forgot come back on the word of their certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lessor_daemon.store.scripts import NotGranted, Proven, SeatGranted
from support.organization import LEASE_MS, OWNER, RECOVERY_MS, TTL_MS, Organization, lease_id

if TYPE_CHECKING:
    from lessor_daemon.store.store import Store


def proven(number: int, token: int, *, machine: str = "m1", ephemeral: bool = False) -> Proven:
    return Proven(
        lease_id=lease_id(number),
        license="kre",
        machine=machine,
        ephemeral=ephemeral,
        token=token,
        ttl_ms=TTL_MS,
        fingerprint=b"content",
        owner=OWNER,
        holder=b"\xc0",
        seats=1,
        group="",
        named=False,
    )


@pytest.fixture
async def emptied(store: Store) -> tuple[Organization, list[SeatGranted]]:
    """Two seats were granted, then the store was emptied and set up anew by the same daemon."""
    acme = Organization(store)
    await acme.set_quota(2, 2)
    granted = []
    for number in (1, 2):
        outcome = await acme.acquire(number, machine=f"m{number}")
        assert isinstance(outcome, SeatGranted)
        granted.append(outcome)
    await store.redis.flushall()
    await acme.set_quota(2, 2)
    return acme, granted


async def test_a_forgotten_lease_is_put_back_and_renewed(
    emptied: tuple[Organization, list[SeatGranted]],
) -> None:
    acme, granted = emptied
    assert await acme.renew(1) == ["unknown"]
    assert await acme.restore(proven(1, granted[0].token)) == [TTL_MS]
    assert await acme.renew(1) == [TTL_MS]


async def test_forgotten_leases_count_again_so_that_nobody_overshoots(
    emptied: tuple[Organization, list[SeatGranted]],
) -> None:
    acme, granted = emptied
    for number, seat in enumerate(granted, 1):
        await acme.restore(proven(number, seat.token, machine=f"m{number}"))
    await hold_on(acme, 1, 2)
    assert await acme.acquire(3) == NotGranted("full", "seats")
    await acme.release(1)
    assert isinstance(await acme.acquire(4), SeatGranted)


async def test_leases_are_put_back_even_above_the_quota(
    emptied: tuple[Organization, list[SeatGranted]],
) -> None:
    acme, granted = emptied
    await acme.set_quota(1, 1, force=True)
    for number, seat in enumerate(granted, 1):
        assert await acme.restore(proven(number, seat.token, machine=f"m{number}")) == [TTL_MS]
    await hold_on(acme, 1, 2)
    await acme.release(1)
    assert await acme.acquire(3) == NotGranted("full", "seats")


async def test_a_lease_that_ended_while_recovering_stays_ended(
    emptied: tuple[Organization, list[SeatGranted]],
) -> None:
    acme, granted = emptied
    await acme.release(1)
    assert await acme.restore(proven(1, granted[0].token)) == ["released"]


async def test_nothing_is_put_back_once_recovery_is_over(
    emptied: tuple[Organization, list[SeatGranted]],
) -> None:
    acme, granted = emptied
    await acme.pass_time(RECOVERY_MS)
    assert await acme.restore(proven(1, granted[0].token)) == ["unknown"]


async def test_putting_back_twice_takes_one_seat(
    emptied: tuple[Organization, list[SeatGranted]],
) -> None:
    acme, granted = emptied
    for _ in range(3):
        assert await acme.restore(proven(1, granted[0].token)) == [TTL_MS]
    assert await acme.store.redis.scard("{acme}:kre:use") == 1


async def test_an_ephemeral_machine_put_back_leaves_with_its_lease(
    emptied: tuple[Organization, list[SeatGranted]],
) -> None:
    acme, granted = emptied
    await acme.restore(proven(1, granted[0].token, machine="container", ephemeral=True))
    await acme.release(1)
    assert await acme.store.redis.zcard("{acme}:kre:machines") == 0


async def test_a_certificate_of_a_later_epoch_opens_recovery_itself(acme: Organization) -> None:
    granted = await acme.acquire(1)
    assert isinstance(granted, SeatGranted)
    await acme.store.redis.flushall()
    restarted = acme.other_daemon()  # remembers nothing, and holds the store for durable
    await restarted.set_quota(2, 2)
    restarted.clock.heard_of(acme.clock.epoch + 5)
    assert await restarted.restore(proven(1, granted.token)) == [TTL_MS]
    assert restarted.clock.epoch == acme.clock.epoch + 6
    assert await restarted.acquire(2) == NotGranted("recovering", "")


async def test_a_lease_of_an_earlier_epoch_that_nobody_confirmed_is_decided_anew(
    store: Store,
) -> None:
    acme = Organization(store, trust="new")
    await acme.set_quota(1)
    before = await acme.acquire(1)
    assert isinstance(before, SeatGranted)
    await store.redis.hset("{acme}:clock", "replid", "0" * 40)
    await acme.tick()
    await acme.pass_time(RECOVERY_MS)
    anew = await acme.acquire(1)
    assert isinstance(anew, SeatGranted)
    assert anew.is_new
    assert anew.token > before.token


async def hold_on(organization: Organization, *numbers: int) -> None:
    """Renew until recovery is over."""
    passed = 0
    while passed < RECOVERY_MS:
        await organization.pass_time(LEASE_MS // 2)
        passed += LEASE_MS // 2
        assert await organization.renew(*numbers) == [TTL_MS] * len(numbers)
