"""The scripts of the small model: one seat, time in small whole numbers, a store that can forget.

It follows ``store/lua``: ``open_clock`` is ``lib/clock.lua``, and each function below it the script
of its name, less what one seat does not need (machines, the line). Data is immutable: a script
answers with new data.
"""

from __future__ import annotations

from typing import NamedTuple

DURABLE = "durable"
NEW = "new"
UNTRUSTED = "none"


class Constants(NamedTuple):
    """Durations, scaled so that a lease lives a few steps. ``cap`` bounds a daemon's claim."""

    ttl: int = 2
    cap: int = 1
    failover: int = 0

    @property
    def margin(self) -> int:
        """``M``: the clock may run ahead by ``cap``, and a stale master frees by lapse too."""
        return self.cap + self.failover

    @property
    def recovery(self) -> int:
        """``G``. The unit more is for the instant of a deadline, in which a lease still counts."""
        return self.ttl + self.margin + self.failover + 1


class Rules(NamedTuple):
    """The rules that keep the promise. A test leaves one out to see what it is for."""

    deadline_from_request: bool = True
    late_reply_revives_nothing: bool = True
    claim_capped: bool = True
    cap_in_claim: bool = True
    grace: bool = True
    whole_grace: bool = True
    grace_outlasts_leases: bool = True
    acquire_waits_for_recovery: bool = True
    old_replies_dropped: bool = True
    unseen_release_remembered: bool = True
    lapsed_stays_lost: bool = True
    epoch_is_a_pair: bool = True
    clock_that_went_back_is_seen: bool = True
    highest_epoch_carried: bool = True
    failover_in_margin: bool = True
    stale_master_bounded: bool = True
    lease_clock: bool = True
    epoch_at_least_the_hour: bool = True


class Token(NamedTuple):
    """A token's epoch, and the server that opened it. Counting within one never goes back."""

    epoch: int
    replid: int


class Lease(NamedTuple):
    """A live lease: when it lapses, and its token."""

    until: int
    token: Token


class End(NamedTuple):
    """An ended id: until when that is remembered, and whether the scripts can see it."""

    until: int
    is_known: bool


class Data(NamedTuple):
    """What a store holds. Leases and ends stand at their client's place. ``replid`` 0: no clock."""

    now: int
    epoch: int
    replid: int
    grace_until: int
    leases: tuple[Lease | None, ...]
    ends: tuple[End | None, ...]

    @property
    def is_recovering(self) -> bool:
        """Whether nothing is granted."""
        return self.now < self.grace_until


class Context(NamedTuple):
    """What a daemon sends along. ``claim`` and ``seen`` are None when it has nothing to say."""

    claim: int | None
    seen: int | None
    epoch: int
    replid: int
    highest: int
    floor: int
    trust: str


class Laws(NamedTuple):
    """Constants and rules, as one argument."""

    constants: Constants
    rules: Rules

    @property
    def margin(self) -> int:
        """``M`` under these rules."""
        if self.rules.failover_in_margin:
            return self.constants.margin
        return self.constants.margin - self.constants.failover

    @property
    def recovery(self) -> int:
        """``G`` under these rules."""
        if not self.rules.grace:
            return 0
        if self.rules.whole_grace:
            return self.constants.recovery - (not self.rules.grace_outlasts_leases)
        return self.constants.ttl

    def deadline(self, data: Data) -> int:
        """Of a lease granted or renewed now."""
        return data.now + self.constants.ttl + self.margin


def empty(clients: int, now: int) -> Data:
    """A store that holds nothing. Where its clock starts decides nothing."""
    return Data(now, 0, 0, now, (None,) * clients, (None,) * clients)


def open_clock(data: Data, here: int, context: Context, laws: Laws) -> Data:
    """Move the lease clock on, or open a new epoch when the store has lost its memory."""
    rules = laws.rules
    same_number = context.epoch == data.epoch
    same_epoch = same_number and (context.replid == data.replid or not rules.epoch_is_a_pair)
    went_back = (
        same_number
        and context.seen is not None
        and context.seen > data.now
        and rules.clock_that_went_back_is_seen
    )
    rolled_back = context.highest > data.epoch or went_back
    if rolled_back or here != data.replid:
        nothing_lost = context.trust == DURABLE or (context.trust == NEW and not data.replid)
        return data._replace(
            epoch=max(data.epoch, context.highest, context.floor - 1) + 1,
            replid=here,
            grace_until=(
                data.now + laws.recovery if rolled_back or not nothing_lost else data.grace_until
            ),
        )
    if same_epoch and context.claim is not None and context.claim > data.now:
        now = context.claim
        if not rules.cap_in_claim:
            now = min(now, data.now + laws.constants.cap)
        return data._replace(now=now)
    return data


def acquire(data: Data, client: int, laws: Laws) -> tuple[Data, str]:
    """``granted``, ``granted anew``, ``full``, ``ended`` or ``recovering``."""
    if data.is_recovering:
        lease = data.leases[client]
        if lease and not laws.rules.acquire_waits_for_recovery:
            return _extend(data, client, lease, laws), "granted"
        return data, "recovering"
    data = _end_lapsed(data, laws)
    lease = data.leases[client]
    if lease:
        return _extend(data, client, lease, laws), "granted"
    end = data.ends[client]
    if end and end.is_known:
        return data, "ended"
    if any(data.leases):
        return data, "full"
    lease = Lease(0, Token(data.epoch, data.replid))
    return _extend(data, client, lease, laws), "granted anew"


def renew(data: Data, client: int, token: Token, laws: Laws) -> tuple[Data, str]:
    """``renewed``, ``lost`` or ``unknown``. ``token`` is what a lease would be revived with."""
    lease = data.leases[client]
    if lease and (data.is_recovering or lease.until >= data.now):
        return _extend(data, client, lease, laws), "renewed"
    if not laws.rules.lapsed_stays_lost:
        return _extend(data, client, lease or Lease(0, token), laws), "renewed"
    end = data.ends[client]
    return data, "lost" if lease or (end and end.is_known) else "unknown"


def restore(data: Data, client: int, token: Token, laws: Laws) -> tuple[Data, str]:
    """Put a forgotten lease back: ``renewed``, ``lost`` or ``unknown``."""
    lease = data.leases[client]
    if lease:
        until = max(lease.until, laws.deadline(data))
        kept = lease._replace(until=until)
        return data._replace(leases=_put(data.leases, client, kept)), "renewed"
    end = data.ends[client]
    if end and end.is_known:
        return data, "lost"
    if not data.is_recovering:
        return data, "unknown"
    return _extend(data, client, Lease(0, token), laws), "renewed"


def release(data: Data, client: int, laws: Laws) -> tuple[Data, str]:
    """Always ``released``: what there was has ended, and what comes late finds that out."""
    lease = data.leases[client]
    if lease:
        return _end(data, client, laws, is_known=True), "released"
    if data.ends[client]:
        return data, "released"
    return _end(data, client, laws, is_known=laws.rules.unseen_release_remembered), "released"


def _extend(data: Data, client: int, lease: Lease, laws: Laws) -> Data:
    longer = Lease(laws.deadline(data), lease.token)
    return data._replace(leases=_put(data.leases, client, longer))


def _end_lapsed(data: Data, laws: Laws) -> Data:
    for client, lease in enumerate(data.leases):
        if lease and lease.until < data.now:
            if lease.token.epoch == data.epoch:
                data = _end(data, client, laws, is_known=True)
            else:
                data = data._replace(leases=_put(data.leases, client, None))
    return data


def _end(data: Data, client: int, laws: Laws, *, is_known: bool) -> Data:
    ends = tuple(end if end and end.until >= data.now else None for end in data.ends)
    # Remembered for all of `G`, whatever the rules make of the grace itself.
    end = End(data.now + laws.constants.recovery, is_known)
    return data._replace(
        leases=_put(data.leases, client, None), ends=(*ends[:client], end, *ends[client + 1 :])
    )


def _put(
    leases: tuple[Lease | None, ...], client: int, lease: Lease | None
) -> tuple[Lease | None, ...]:
    return (*leases[:client], lease, *leases[client + 1 :])
