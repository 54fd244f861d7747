"""What the small model found, shown on real servers: grace must outlast the longest lease.

A copy put back may hold a lease that was granted in the very millisecond of the copy. If grace were
over in the millisecond of that lease's deadline, in which it still counts, its id would get the
seat by asking again, while another holds it whom the copy does not know.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from lessor_daemon.leasing.clock import LeaseClock
from lessor_daemon.store import changes
from lessor_daemon.store.scripts import NotGranted, Proven, SeatGranted
from lessor_daemon.store.store import Store
from lessor_protocol import timing
from support.organization import EPOCH_FLOOR, MARGIN_MS, OWNER, Organization, lease_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.redis_server import RedisServer

MAX_TTL_MS = timing.MAX_TTL_MS
RECOVERY_MS = timing.recovery_ms(MAX_TTL_MS, fixed_ms=MARGIN_MS)


class LongestLeases(Organization):
    """One seat, leases as long as the daemon allows, on one durable server."""

    def new_clock(self) -> LeaseClock:
        return LeaseClock(epoch_floor=EPOCH_FLOOR, recovery_ms=RECOVERY_MS, trust="durable")

    async def set_up(self) -> None:
        mark = changes.ChangeMark(None, os.urandom(8), b"")
        fields: dict[str, str | int | bytes] = {
            "kind": "floating",
            "seats": 1,
            "machines": -1,
            "ttl": MAX_TTL_MS,
            "expires": 0,
        }
        await changes.quota(
            self.store, self.slug, self._context(), mark, license="kre", fields=fields, force=True
        )
        await self.tick()


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[Store]:
    opened = Store.open(redis_server.url)
    await opened.redis.flushall()
    yield opened
    await opened.close()


@pytest.mark.parametrize("fixed_ms", [1_000, 3_000])
@pytest.mark.parametrize("failover_ms", [0, 10_000])
def test_no_lease_counts_any_more_when_grace_ends(fixed_ms: int, failover_ms: int) -> None:
    for ttl_ms in (5_000, 60_000, 600_000):
        margin_ms = timing.margin_ms(ttl_ms, fixed_ms=fixed_ms, failover_ms=failover_ms)
        grace_ms = timing.recovery_ms(ttl_ms, fixed_ms=fixed_ms, failover_ms=failover_ms)
        assert grace_ms > ttl_ms + margin_ms


async def test_a_lease_that_only_a_copy_knows_gets_no_seat_when_grace_ends(store: Store) -> None:
    acme = LongestLeases(store)
    await acme.set_up()
    assert isinstance(await acme.acquire(1), SeatGranted)  # nobody hears of it
    copy = {key: await store.redis.dump(key) or b"" for key in await store.redis.keys("*")}
    await acme.pass_time(RECOVERY_MS + 1)
    held = await acme.acquire(2)
    assert isinstance(held, SeatGranted)

    await store.redis.flushall()
    for key, value in copy.items():
        await store.redis.restore(key, 0, value)
    await acme.tick()
    assert await acme.restore(proof_of_the_second(held)) == [MAX_TTL_MS]
    await acme.pass_time(RECOVERY_MS // 2)
    assert await acme.renew(2) == [MAX_TTL_MS]
    assert acme.reading is not None
    await acme.pass_time(acme.reading.recovering_ms)
    assert acme.reading.recovering_ms == 0
    assert await acme.acquire(1) == NotGranted("full", "seats")


def proof_of_the_second(seat: SeatGranted) -> Proven:
    return Proven(
        lease_id=lease_id(2),
        license="kre",
        machine="m1",
        ephemeral=False,
        token=seat.token,
        ttl_ms=seat.ttl_ms,
        fingerprint=b"content",
        owner=OWNER,
        holder=b"\xc0",
        seats=1,
        group="",
        named=False,
    )
