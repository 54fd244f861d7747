"""Reading leases: their records, and what a license has in use. Decides nothing."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgpack

from . import keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .store import Store


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """A lease as the scripts store it; ``lua/lib/lease.lua`` says what each field is."""

    lease_id: bytes
    ttl_ms: int
    license: str
    machine: str
    token: int
    granted_at_wall_ms: int
    fingerprint: bytes
    owner: str
    offered: bool
    holder: bytes


@dataclass(frozen=True, slots=True)
class LicenseUse:
    """A license's quotas beside what is in use. ``machine_quota`` None is unlimited."""

    license: str
    kind: str
    seats: int
    offline_seats: int
    leases: int
    machines: int
    machine_quota: int | None
    queue_length: int
    ttl_ms: int
    expires_wall_seconds: int

    @property
    def available(self) -> int:
        """Seats that are free now; not below 0 when seats were taken away under use."""
        return max(0, self.seats - self.offline_seats - self.leases)


async def find(store: Store, org: str, lease_id: bytes) -> LeaseRecord | None:
    """One lease."""
    packed = await store.attempt(lambda: store.redis.hget(keys.records(org), lease_id))
    return _parse(lease_id, packed) if packed else None


async def scan(store: Store, org: str, cursor: int, *, about: int) -> tuple[list[LeaseRecord], int]:
    """``about`` so many of an organization's leases; the cursor 0 begins and ends."""
    following, found = await store.attempt(
        lambda: store.redis.hscan(keys.records(org), cursor, count=about)
    )
    return [_parse(lease_id, packed) for lease_id, packed in found.items()], int(following)


async def holders(store: Store, org: str, license: str, most: int) -> list[LeaseRecord]:
    """Up to ``most`` leases of one license, the oldest first."""
    ids = await store.attempt(lambda: store.redis.srandmember(keys.use(org, license), most))
    if not ids:
        return []
    packed = await store.attempt(lambda: store.redis.hmget(keys.records(org), ids))
    found = [_parse(one, record) for one, record in zip(ids, packed, strict=True) if record]
    return sorted(found, key=lambda lease: lease.token)


async def license_names(store: Store, org: str) -> list[str]:
    """The organization's licenses, sorted."""
    names = await store.attempt(lambda: store.redis.smembers(keys.licenses(org)))
    return sorted(name.decode() for name in names)


async def license_use(store: Store, org: str, names: Sequence[str]) -> list[LicenseUse]:
    """Quotas and use of the named licenses; those that do not exist are left out."""

    async def ask() -> list[Any]:
        pipeline = store.redis.pipeline(transaction=False)
        for name in names:
            pipeline.hgetall(keys.quota(org, name))
            pipeline.scard(keys.use(org, name))
            pipeline.zcard(keys.machines(org, name))
            pipeline.zcard(keys.queue(org, name))
        return await pipeline.execute()

    if not names:
        return []
    answers = await store.attempt(ask)
    found = []
    for i, name in enumerate(names):
        quota, leases, machines, waiting = answers[4 * i : 4 * i + 4]
        if not quota:
            continue
        machine_quota = int(quota[b"machines"])
        found.append(
            LicenseUse(
                license=name,
                kind=quota[b"kind"].decode(),
                seats=int(quota[b"seats"]),
                offline_seats=int(quota.get(b"offline", 0)),
                leases=leases,
                machines=machines,
                machine_quota=machine_quota if machine_quota >= 0 else None,
                queue_length=waiting,
                ttl_ms=int(quota[b"ttl"]),
                expires_wall_seconds=int(quota[b"expires"]),
            )
        )
    return found


def _parse(lease_id: bytes, packed: bytes) -> LeaseRecord:
    license, machine, token, granted_at, fingerprint, owner, _joined, offered, holder = (
        msgpack.unpackb(packed[4:], raw=True)
    )
    return LeaseRecord(
        lease_id=lease_id,
        ttl_ms=struct.unpack(">I", packed[:4])[0],
        license=license.decode(),
        machine=machine.decode(),
        token=token,
        granted_at_wall_ms=granted_at,
        fingerprint=fingerprint,
        owner=owner.decode(),
        offered=offered,
        holder=holder,
    )
