"""One typed function per script. The signature here is the contract; the text is in ``lua/``.

Times are milliseconds of the lease clock unless the name says wall. Every function may raise
``StoreUnavailable``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgpack

from . import lua

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .store import Store

_ACQUIRE = lua.load("acquire")
_RENEW = lua.load("renew")
_RELEASE = lua.load("release")
_KEEP = lua.load("keep")
_IDLE = lua.load("idle")
_RESTORE = lua.load("restore")
_REAP = lua.load("reap")
_TICK = lua.load("tick")


@dataclass(frozen=True, slots=True)
class Context:
    """What a caller knows of the lease clock, and what it lets a script do about a lost memory.

    ``claim_ms`` rests on the reply ``(seen_ms, epoch, replid)``; None without one. ``trust`` is
    ``durable``, ``new`` or ``none``. See ``lua/lib/clock.lua``.
    """

    claim_ms: int | None
    seen_ms: int
    epoch: int
    replid: str
    highest_epoch: int
    epoch_floor: int
    recovery_ms: int
    trust: str

    def words(self) -> str:
        """As the scripts read it."""
        claim = "-" if self.claim_ms is None else self.claim_ms
        return (
            f"{claim} {self.seen_ms} {self.epoch} {self.replid or '-'} {self.highest_epoch} "
            f"{self.epoch_floor} {self.recovery_ms} {self.trust}"
        )


@dataclass(frozen=True, slots=True)
class Reading:
    """The lease clock as a script left it.

    ``recovering_ms`` is how long nothing will be granted yet; ``next_deadline_ms`` the earliest
    deadline of a lease or a waiter, None when there is neither.
    """

    now_ms: int
    epoch: int
    replid: str
    recovering_ms: int
    next_deadline_ms: int | None


@dataclass(frozen=True, slots=True)
class Ended:
    """A lease that a script found lapsed.

    ``reason`` is ``lapsed``, ``unclaimed`` for an offer, or why it was ending already.
    """

    lease_id: bytes
    license: str
    machine: str
    token: int
    reason: str


@dataclass(frozen=True, slots=True)
class SeatGranted:
    """``waited_ms`` is None when there was no wait; ``holder`` is as the first acquire gave it."""

    token: int
    ttl_ms: int
    granted_at_wall_ms: int
    is_new: bool
    waited_ms: int | None
    holder: bytes
    seats: int
    group: str
    named: bool = False
    """Whether the seat is a registered user's."""
    idle_seconds: int = 0
    """After so long without use it is taken back; 0: never."""


@dataclass(frozen=True, slots=True)
class InLine:
    """A place in the line; ``position`` counts from 1. ``ttl_ms`` is what a lease would have.

    ``blocked_by`` is what a seat is missing for: ``drained``, ``cap``, ``seats`` or ``machines``.
    """

    ticket: int
    position: int
    blocked_by: str
    ttl_ms: int


@dataclass(frozen=True, slots=True)
class NotGranted:
    """No seat and no place in the line.

    ``status`` is ``full`` (``why``: ``drained``, ``cap``, ``seats`` or ``machines``), ``ended``
    (``why``: the reason), ``license_expired`` (``why``: ``not_started`` before its term),
    ``too_many`` (``why``: the most seats that can ever be free together), ``crowded`` (``why``: how
    many wait in the organization, which is the most), ``conflict``, ``recovering``,
    ``unknown_license`` or ``not_registered_user``.
    """

    status: str
    why: str


async def acquire(
    store: Store,
    org: str,
    context: Context,
    *,
    lease_id: bytes,
    license: str,
    machine: str,
    ephemeral: bool,
    fingerprint: bytes,
    owner: str,
    holder: bytes,
    labels: bytes,
    least_seats: int,
    most_seats: int,
    may_wait: bool,
    margin_ms: int,
    wall_ms: int,
) -> tuple[Reading, list[Ended], SeatGranted | InLine | NotGranted]:
    """Take seats, or a place in the line, in one atomic step over both quotas. Idempotent.

    ``labels`` is msgpack of a map of texts; a license's policy tells groups apart by them.
    """
    status, reading, (ended, *rest) = read_reply(
        await store.call(
            _ACQUIRE,
            org,
            [
                context.words(),
                lease_id,
                license,
                machine,
                int(ephemeral),
                fingerprint,
                owner,
                holder,
                int(may_wait),
                margin_ms,
                wall_ms,
                least_seats,
                most_seats,
                labels,
            ],
        )
    )
    lapsed = [_ended(item) for item in ended]
    if status == "granted":
        token, ttl_ms, granted_at, is_new, waited, kept_holder, seats, group, named, idle = rest
        return (
            reading,
            lapsed,
            SeatGranted(
                token,
                ttl_ms,
                granted_at,
                bool(is_new),
                waited if waited >= 0 else None,
                kept_holder,
                seats,
                group.decode(),
                bool(named),
                idle,
            ),
        )
    if status == "queued":
        ticket, position, blocked_by, ttl_ms = rest
        return reading, lapsed, InLine(ticket, position, blocked_by.decode(), ttl_ms)
    return reading, lapsed, NotGranted(status, rest[0].decode() if rest else "")


@dataclass(frozen=True, slots=True)
class Noticed:
    """A renewed lease whose holder is asked something: the notice as the daemon stored it."""

    ttl_ms: int
    notice: dict[str, object]


Renewed = int | Noticed | str
"""A renewed lease's ttl in ms, with a notice or without, or why it is lost."""


async def renew(
    store: Store, org: str, context: Context, lease_ids: Sequence[bytes], *, margin_ms: int
) -> tuple[Reading, list[Renewed]]:
    """Extend at most 500 leases. Per id, in order: its ttl in ms, or why it is lost.

    Why is a reason of ``lua/lib/ended.lua``, with a text behind it while the lease is ending, or
    ``unknown``.
    """
    _, reading, (results,) = read_reply(
        await store.call(_RENEW, org, [context.words(), margin_ms, *lease_ids])
    )
    return reading, [_renewed(one) for one in results]


async def idle(
    store: Store, org: str, context: Context, notice_id: str, idle_ms: Sequence[tuple[bytes, int]]
) -> tuple[Reading, list[str | None]]:
    """Say of at most 500 leases for how long they have been idle.

    Per lease, in order, why it is lost, or None. Whoever is warned hears it as a notice.
    """
    args: list[bytes | str | int] = [context.words(), notice_id]
    for lease_id, ms in idle_ms:
        args += [lease_id, ms // 1000]
    _, reading, (results,) = read_reply(await store.call(_IDLE, org, args))
    return reading, [one.decode() if one else None for one in results]


async def keep(
    store: Store, org: str, context: Context, lease_ids: Sequence[bytes]
) -> tuple[Reading, list[int]]:
    """Keep the places of at most 500 waiters.

    Per id, in order, its position from 1, or 0 for one that should ask itself.
    """
    _, reading, (results,) = read_reply(await store.call(_KEEP, org, [context.words(), *lease_ids]))
    return reading, results


@dataclass(frozen=True, slots=True)
class Proven:
    """A lease that a certificate proves, with a ``holder`` to show."""

    lease_id: bytes
    license: str
    machine: str
    ephemeral: bool
    token: int
    ttl_ms: int
    fingerprint: bytes
    owner: str
    holder: bytes
    seats: int
    group: str
    named: bool


async def restore(
    store: Store,
    org: str,
    context: Context,
    proven: Sequence[Proven],
    *,
    margin_ms: int,
    wall_ms: int,
) -> tuple[Reading, list[int | str]]:
    """Put at most 500 forgotten leases back while recovering. Results as of ``renew``."""
    args: list[bytes | str | int] = [context.words(), margin_ms, wall_ms]
    for one in proven:
        claims = (
            one.license,
            one.machine,
            one.ephemeral,
            one.token,
            one.ttl_ms,
            one.fingerprint,
            one.owner,
            one.holder,
            one.seats,
            one.group,
            one.named,
        )
        # The scripts' msgpack is the old one, which has no type for bytes beside strings.
        args += [one.lease_id, msgpack.packb(claims, use_bin_type=False)]
    _, reading, (results,) = read_reply(await store.call(_RESTORE, org, args))
    return reading, [one if isinstance(one, int) else one.decode() for one in results]


@dataclass(frozen=True, slots=True)
class Released:
    """What a release found.

    ``status``: ``released`` (a lease), ``left`` (a waiter), ``repeated``, ``unknown``,
    ``forbidden``, or ``others`` where that is somebody else's and ``may_end_others``. The rest is
    empty where it does not apply; ``reason`` is another than ``released`` when the lease was ending
    already.
    """

    status: str
    license: str = ""
    machine: str = ""
    token: int = 0
    reason: str = ""


async def release(
    store: Store,
    org: str,
    context: Context,
    lease_id: bytes,
    *,
    asker: str,
    may_end_others: bool,
) -> tuple[Reading, Released]:
    """End a lease of ``asker``'s own, or leave the line."""
    status, reading, rest = read_reply(
        await store.call(_RELEASE, org, [context.words(), lease_id, asker, int(may_end_others)])
    )
    if status == "released":
        license, machine, token, reason = rest
        return reading, Released(status, license.decode(), machine.decode(), token, reason.decode())
    return reading, Released(status, rest[0].decode() if rest else "")


async def reap(store: Store, org: str, context: Context) -> tuple[Reading, list[Ended]]:
    """End at most 100 leases that have lapsed and hand their seats on."""
    _, reading, (ended,) = read_reply(await store.call(_REAP, org, [context.words()]))
    return reading, [_ended(item) for item in ended]


async def tick(store: Store, org: str, context: Context) -> Reading:
    """Keep the lease clock running."""
    _, reading, _ = read_reply(await store.call(_TICK, org, [context.words()]))
    return reading


def read_reply(reply: list[Any]) -> tuple[str, Reading, list[Any]]:
    """The status, the clock and the script's own part of a reply."""
    status, now_ms, epoch, replid, recovering_ms, next_deadline_ms, *rest = reply
    next_deadline = next_deadline_ms if next_deadline_ms >= 0 else None
    reading = Reading(now_ms, epoch, replid.decode(), recovering_ms, next_deadline)
    return status.decode(), reading, rest


def _renewed(result: int | bytes | list[Any]) -> Renewed:
    if isinstance(result, list):
        ttl_ms, notice = result
        return Noticed(ttl_ms, msgpack.unpackb(notice))
    return result if isinstance(result, int) else result.decode()


def _ended(item: list[Any]) -> Ended:
    lease_id, license, machine, token, reason = item
    return Ended(lease_id, license.decode(), machine.decode(), token, reason.decode())
