"""Reading the line of a license. Decides nothing; ``lua/lib/line.lua`` says what each field is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgpack

from . import keys

if TYPE_CHECKING:
    from .store import Store


@dataclass(frozen=True, slots=True)
class WaiterRecord:
    """Who waits, since when (wall clock), for how many seats.

    ``position`` counts from 1; it is 0 for one who was found by the id.
    """

    lease_id: bytes
    license: str
    position: int
    machine: str
    owner: str
    since_wall_ms: int
    holder: bytes
    least_seats: int
    most_seats: int
    group: str


async def waiters(
    store: Store, org: str, license: str, start: int, most: int
) -> list[WaiterRecord]:
    """Up to ``most`` in order, after the first ``start``. Who leaves meanwhile is left out."""
    ids: list[bytes] = await store.attempt(
        lambda: store.redis.zrange(keys.queue(org, license), start, start + most - 1)
    )
    if not ids:
        return []
    packed = await store.attempt(lambda: store.redis.hmget(keys.waiters(org), ids))
    return [
        _parse(lease_id, position, record)
        for position, (lease_id, record) in enumerate(zip(ids, packed, strict=True), start + 1)
        if record
    ]


async def find(store: Store, org: str, lease_id: bytes) -> WaiterRecord | None:
    """Who waits under this id, or has been offered a seat."""
    packed = await store.attempt(lambda: store.redis.hget(keys.waiters(org), lease_id))
    return _parse(lease_id, 0, packed) if packed else None


def _parse(lease_id: bytes, position: int, packed: bytes) -> WaiterRecord:
    fields = msgpack.unpackb(packed, raw=True)
    license, machine, _ephemeral, _fingerprint, owner, _joined, since, holder = fields[:8]
    least, most, _labels, group = fields[8:12]
    return WaiterRecord(
        lease_id=lease_id,
        license=license.decode(),
        position=position,
        machine=machine.decode(),
        owner=owner.decode(),
        since_wall_ms=since,
        holder=holder,
        least_seats=least,
        most_seats=most,
        group=group.decode(),
    )
