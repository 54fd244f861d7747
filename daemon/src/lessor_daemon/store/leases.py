"""Reading leases: their records, and what a license has in use. Decides nothing."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgpack

from . import keys
from .changes import AS_SEATS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .store import Store


NAMED_USER = "named-user"
FLOATING = "floating"

_ENDING, _OFFERED = 1, 8
"""Flags, see ``lua/lib/lease.lua``."""


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
    ending: bool
    holder: bytes
    seats: int
    waited_ms: int


@dataclass(frozen=True, slots=True)
class LicenseUse:
    """A license's settings and quotas beside what is in use.

    ``machine_quota`` None is unlimited; ``machines_setting`` is as stored. ``leases`` counts the
    online users of a named-user license. ``policy`` is as ``lua/lib/policy.lua`` has it; of a
    ``drained`` license nothing new starts. ``retention_seconds`` None keeps machines until removed.
    Times of 0 mean none; ``idle_seconds`` is after how long without use a session ends.
    """

    license: str
    kind: str
    product: str
    seats: int
    offline_seats: int
    leases: int
    machines: int
    machines_setting: int
    registered_users: int
    queue_length: int
    ttl_ms: int
    starts_wall_seconds: int
    expires_wall_seconds: int
    offline_allowed: bool
    retention_seconds: int | None
    policy: bytes
    drained: bool
    idle_seconds: int = 0

    @property
    def available(self) -> int:
        """Seats that are free now; not below 0 when seats were taken away under use."""
        return max(0, self.seats - self.offline_seats - self.leases)

    @property
    def machine_quota(self) -> int | None:
        """How many machines may be registered; each named user is on one at a time anyway."""
        if self.kind == NAMED_USER:
            return None
        if self.machines_setting == AS_SEATS:
            return self.seats
        return self.machines_setting if self.machines_setting >= 0 else None


async def find(store: Store, org: str, lease_id: bytes) -> LeaseRecord | None:
    """One lease."""
    packed = await store.attempt(lambda: store.redis.hget(keys.records(org), lease_id))
    return _parse(lease_id, packed) if packed else None


def is_cursor(text: str) -> bool:
    """Whether ``text`` may be a cursor of ``scan``: the store knows 64 bits of it."""
    return text.isascii() and text.isdigit() and len(text) <= 20 and int(text) < 1 << 64


async def scan(store: Store, org: str, cursor: int, *, about: int) -> tuple[list[LeaseRecord], int]:
    """``about`` so many of an organization's leases; the cursor 0 begins and ends."""
    following, found = await store.attempt(
        lambda: store.redis.hscan(keys.records(org), cursor, count=about)
    )
    return [_parse(lease_id, packed) for lease_id, packed in found.items()], int(following)


async def holders(store: Store, org: str, license: str, most: int) -> list[LeaseRecord]:
    """At most ``most`` leases of one license, drawn at random, in the order of their grants."""
    names = await store.attempt(lambda: store.redis.srandmember(keys.use(org, license), most))
    if not names:
        return []
    ids = list({name[:16] for name in names})  # behind the id stands which of its seats
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
            pipeline.hlen(keys.online(org, name))
            pipeline.zcard(keys.machines(org, name))
            pipeline.hlen(keys.registered(org, name))
            pipeline.zcard(keys.queue(org, name))
        return await pipeline.execute()

    if not names:
        return []
    answers = await store.attempt(ask)
    each = [answers[i : i + 6] for i in range(0, len(answers), 6)]
    return [
        _license(name, quota, counts)
        for name, (quota, *counts) in zip(names, each, strict=True)
        if quota
    ]


def _license(name: str, quota: dict[bytes, bytes], counts: list[int]) -> LicenseUse:
    leases, online, machines, registered, waiting = counts
    kind = quota[b"kind"].decode()
    retention = int(quota.get(b"retention", -1))
    return LicenseUse(
        license=name,
        kind=kind,
        product=quota.get(b"product", b"").decode(),
        seats=int(quota[b"seats"]),
        offline_seats=int(quota.get(b"offline", 0)),
        leases=online if kind == NAMED_USER else leases,
        machines=machines,
        machines_setting=int(quota[b"machines"]),
        registered_users=registered,
        queue_length=waiting,
        ttl_ms=int(quota[b"ttl"]),
        starts_wall_seconds=int(quota.get(b"starts", 0)),
        expires_wall_seconds=int(quota[b"expires"]),
        offline_allowed=quota.get(b"offline_allowed", b"1") == b"1",
        retention_seconds=retention if retention >= 0 else None,
        policy=quota.get(b"policy", b""),
        drained=quota.get(b"drained", b"0") == b"1",
        idle_seconds=int(quota.get(b"idle", 0)),
    )


def _parse(lease_id: bytes, packed: bytes) -> LeaseRecord:
    ttl_ms, flags = struct.unpack(">IB", packed[:5])
    fields = msgpack.unpackb(packed[5:], raw=True)
    license, machine, token, granted_at, fingerprint, owner, _joined, *rest = fields
    holder, seats, _group, waited_ms = rest
    return LeaseRecord(
        lease_id=lease_id,
        ttl_ms=ttl_ms,
        license=license.decode(),
        machine=machine.decode(),
        token=token,
        granted_at_wall_ms=granted_at,
        fingerprint=fingerprint,
        owner=owner.decode(),
        offered=bool(flags & _OFFERED),
        ending=bool(flags & _ENDING),
        holder=holder,
        seats=seats,
        waited_ms=waited_ms,
    )
