"""A machine with an offline license counts until that expires, whatever else becomes of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from lessor_daemon.store.scripts import NotGranted, SeatGranted
from support.offline_records import issue, offline_license

if TYPE_CHECKING:
    from support.organization import Organization

DAY = 86_400
FULL = NotGranted("full", "machines")


@pytest.fixture
async def one_machine(acme: Organization) -> Organization:
    """Two seats on one machine."""
    await acme.set_quota(2, 1, force=True)
    return acme


async def test_one_issued_while_its_machine_is_removed_keeps_the_machine(
    one_machine: Organization,
) -> None:
    assert await issue(one_machine, offline_license("m1")) == "issued"
    await one_machine.unregister("m1")
    assert await one_machine.acquire(1, machine="m2") == FULL


async def test_so_does_one_whose_machine_is_busy_meanwhile(one_machine: Organization) -> None:
    assert isinstance(await one_machine.acquire(1, machine="m1"), SeatGranted)
    assert await issue(one_machine, offline_license("m1")) == "issued"
    await one_machine.unregister("m1")
    await one_machine.release(1)
    assert await one_machine.acquire(2, machine="m2") == FULL


async def test_a_stores_clock_that_is_ahead_drops_no_machine_with_an_offline_license(
    one_machine: Organization,
) -> None:
    acme = one_machine
    await acme.set_retention(0)
    # By the daemon's clock, which is a day behind the store's, it is valid for an hour more.
    now = int(time.time()) - DAY
    record = offline_license("m1", issued=now, expires=now + 3600)
    assert await issue(acme, record) == "issued"
    swept = await acme.sweep(wall_ms=now * 1000)
    assert (swept.offline_seats, swept.machines) == (0, 0)
    assert await acme.acquire(1, machine="m2", wall_ms=now * 1000) == FULL
    swept = await acme.sweep(wall_ms=(now + DAY) * 1000)
    assert swept.offline_seats == 1


async def test_a_changed_retention_reads_what_is_offline_once(acme: Organization) -> None:
    await acme.set_quota(2, None)
    redis = acme.store.redis
    await redis.zadd("{acme}:kre:machines", {f"machine-{number}": "inf" for number in range(500)})
    await redis.config_resetstat()
    await acme.set_retention(DAY)
    calls = await redis.info("commandstats")
    assert calls["cmdstat_hvals"]["calls"] == 1
    await redis.delete("{acme}:kre:machines")
