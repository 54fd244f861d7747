"""Scripts that end sessions and machines, and reading what has ended."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgpack

from . import keys, lua
from .scripts import read_reply

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .scripts import Context, Reading
    from .store import Store

_END = lua.load("end")
_FINISH = lua.load("finish")
_UNREGISTER = lua.load("unregister")
_SWEEP = lua.load("sweep")

MOST_ENDED_AT_ONCE = 500
_ENTRY_ID = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class PastSession:
    """A lease that ended. ``entry_id`` orders them; its first part is when, wall clock ms."""

    entry_id: str
    lease_id: bytes
    license: str
    machine: str
    token: int
    granted_at_wall_ms: int
    owner: str
    reason: str
    text: str
    holder: bytes
    seats: int
    waited_ms: int

    @property
    def ended_at_wall_ms(self) -> int:
        """On the store's clock."""
        return int(self.entry_id.partition("-")[0])


async def end(
    store: Store,
    org: str,
    context: Context,
    lease_ids: Sequence[bytes],
    *,
    reason: str,
    text: str,
    change_id: bytes,
    entry: bytes,
) -> tuple[Reading, list[int]]:
    """Begin to end at most 500 leases. Per id: 1, 0 if it was ending already, -1 if unknown."""
    _, reading, (results,) = read_reply(
        await store.call_durably(
            _END, org, [context.words(), reason, text, change_id, entry, *lease_ids]
        )
    )
    return reading, results


async def finish(
    store: Store,
    org: str,
    context: Context,
    lease_id: bytes,
    *,
    notice: Mapping[str, object],
    change_id: bytes,
    entry: bytes,
) -> tuple[Reading, str]:
    """Ask a session to finish: ``asked``, ``ending`` (it is ended already) or ``unknown``."""
    packed = msgpack.packb(dict(notice))
    status, reading, _ = read_reply(
        await store.call(_FINISH, org, [context.words(), lease_id, packed, change_id, entry])
    )
    return reading, status


async def unregister(
    store: Store,
    org: str,
    context: Context,
    machines: Sequence[tuple[str, str]],
    *,
    change_id: bytes,
    entry: bytes,
) -> tuple[Reading]:
    """Remove machines, each ``(license, machine id)``; a busy one leaves with its last lease."""
    packed = msgpack.packb([list(one) for one in machines], use_bin_type=False)
    _, reading, _ = read_reply(
        await store.call_durably(_UNREGISTER, org, [context.words(), change_id, entry, packed])
    )
    return (reading,)


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep ended, and the number of the organization's last change."""

    offline_seats: int
    machines: int
    version: int


async def sweep(
    store: Store,
    org: str,
    context: Context,
    *,
    wall_ms: int,
    sessions_since_ms: int,
    audit_since_ms: int,
) -> tuple[Reading, Swept]:
    """End what only the wall clock ends."""
    _, reading, found = read_reply(
        await store.call(
            _SWEEP, org, [context.words(), wall_ms // 1000, sessions_since_ms, audit_since_ms]
        )
    )
    return reading, Swept(*found)


def is_entry_id(text: str) -> bool:
    """Whether an entry of a stream may have this id: two numbers of 64 bits, not both 0."""
    if not _ENTRY_ID.fullmatch(text):
        return False
    numbers = [int(part) for part in text.split("-")]
    return any(numbers) and max(numbers) < 1 << 64


async def past(store: Store, org: str, *, before: str, since: str, about: int) -> list[PastSession]:
    """Up to ``about`` ended sessions, the newest first; the bounds are stream ids, both included.

    A bound in parentheses' manner, ``(id``, is left out.
    """
    found = await store.attempt(
        lambda: store.redis.xrevrange(keys.events(org), max=before, min=since, count=about)
    )
    return [_past(entry_id.decode(), fields[b"session"]) for entry_id, fields in found]


async def ending_reasons(
    store: Store, org: str, lease_ids: Sequence[bytes]
) -> dict[bytes, tuple[str, str]]:
    """Why leases are ending: reason and text by lease id."""
    if not lease_ids:
        return {}
    found = await store.attempt(lambda: store.redis.hmget(keys.ending(org), list(lease_ids)))
    reasons = {}
    for lease_id, packed in zip(lease_ids, found, strict=True):
        if packed:
            reason, _, text = packed.decode().partition(" ")
            reasons[lease_id] = (reason, text)
    return reasons


@dataclass(frozen=True, slots=True)
class MachineRecord:
    """A machine as one license knows it.

    ``lapses`` is wall clock seconds, infinite for never and 0 for an ephemeral one.
    """

    license: str
    machine: str
    lapses: float
    sessions: int
    first_seen_wall_seconds: int
    last_seen_wall_seconds: int
    name: str


async def machines(store: Store, org: str, license: str) -> list[MachineRecord]:
    """All registered machines of a license."""

    async def ask() -> list[Any]:
        pipeline = store.redis.pipeline(transaction=False)
        pipeline.zrange(keys.machines(org, license), 0, -1, withscores=True)
        pipeline.hgetall(keys.busy(org, license))
        pipeline.hgetall(keys.seen(org, license))
        return await pipeline.execute()

    registered, busy, seen = await store.attempt(ask)
    found = []
    for machine, lapses in registered:
        first, last, name = msgpack.unpackb(seen[machine]) if machine in seen else (0, 0, "")
        sessions = int(busy.get(machine, 0))
        found.append(MachineRecord(license, machine.decode(), lapses, sessions, first, last, name))
    return found


def _past(entry_id: str, packed: bytes) -> PastSession:
    fields = msgpack.unpackb(packed, raw=True)
    lease_id, license, machine, token, granted_at, owner, reason, text, *rest = fields
    holder, seats, waited_ms = rest
    return PastSession(
        entry_id=entry_id,
        lease_id=lease_id,
        license=license.decode(),
        machine=machine.decode(),
        token=token,
        granted_at_wall_ms=granted_at,
        owner=owner.decode(),
        reason=reason.decode(),
        text=text.decode(),
        holder=holder,
        seats=seats,
        waited_ms=waited_ms,
    )
