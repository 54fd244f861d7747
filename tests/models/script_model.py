"""What the scripts do with floating licenses, in plain Python, as ``docs/policy.md`` says it.

Written from the rules and not from the Lua, with lists and dicts instead of keys, and checked
against the real scripts step by step. Times are ms; ``here`` is the server's replication id.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lessor_daemon.store.scripts import Context

OFFER_MS = 3_000
GONE_MS = 10_000
MACHINE_PATIENCE_MS = 60_000
TOKENS_AN_EPOCH = 1 << 23

Ended = tuple[int, str, str, int, str]


@dataclass(frozen=True)
class Group:
    """Those whose label ``team`` is the group's name; "" for everybody else."""

    name: str = ""
    head_start_ms: int = 0
    reserve: int = 0
    cap: int | None = None


EVERYBODY_ELSE = Group()


@dataclass(frozen=True)
class Wish:
    """What an acquire asks for."""

    license: str = "kre"
    machine: str = "m1"
    ephemeral: bool = False
    content: bytes = b"content"
    owner: str = "key:test"
    least: int = 1
    most: int = 1
    team: str = ""

    def is_of_the_call(self, repeated: Wish) -> bool:
        """Whether ``repeated`` asks for it once more."""
        return (self.license, self.content, self.owner) == (
            repeated.license,
            repeated.content,
            repeated.owner,
        )


@dataclass
class Lease:
    """Seats that are held, or offered to one who waited (``joined`` -1: never did)."""

    wish: Wish
    seats: int
    token: int
    until: int
    joined: int = -1
    offered: bool = False
    ending: str = ""
    group: str = ""
    waiter: Waiter | None = None
    """Whose place it was, while it is offered."""
    is_proven: bool = False
    """Whether a certificate put it back: it does not say what labels there are."""


@dataclass
class Waiter:
    """A place in a line, by its ticket and its group's head start.

    ``parked``: the machine quota did not admit its machine. ``absent``: it let an offer pass and
    has not asked since.
    """

    id: int
    wish: Wish
    ticket: int
    joined: int
    gone_at: int
    group: Group = EVERYBODY_ELSE
    parked: bool = False
    absent: bool = False

    @property
    def place(self) -> int:
        """Who has a head start stands where they would had they come that much earlier."""
        return self.ticket - self.group.head_start_ms * 1000


@dataclass
class License:
    """A quota (``machine_quota`` None: unlimited) and the machines registered, lasting or not."""

    seats: int
    machine_quota: int | None
    machines: dict[str, bool] = field(default_factory=dict)
    policy: tuple[Group, ...] = ()
    drained: bool = False
    holds_back: bool = False
    """Whether somebody is parked whose machine is registered."""

    def group_of(self, wish: Wish) -> Group:
        """The first that fits."""
        return next((one for one in self.policy if one.name == wish.team), EVERYBODY_ELSE)

    def most_ever(self, group: Group) -> int:
        """Seats that can be free together."""
        return self.seats if group.cap is None else min(self.seats, group.cap)


class ScriptModel:
    """One organization. Each script is a method that answers as the real one does."""

    def __init__(self, here: str, *, lease_ms: int, ttl_ms: int) -> None:
        self.here = here
        self._lease_ms = lease_ms
        self._ttl_ms = ttl_ms
        self.forget()

    def forget(self) -> None:
        """The store was emptied."""
        self.now = self.epoch = self._grace_until = self._counter = self._last_ticket = 0
        self._lost_epoch, self._before = 0, (0, 0)
        self._unserved = False
        self._replid = ""
        self._recovery = 0
        self.leases: dict[int, Lease] = {}
        self.ended: dict[int, tuple[int, str]] = {}
        self.line: list[Waiter] = []
        self.licenses: dict[str, License] = {}

    def restart(self) -> None:
        """The server that comes back has another replication id than the one that was there."""
        self._replid = "before"

    @property
    def replid(self) -> str:
        """That of the epoch."""
        return self._replid

    @property
    def recovering_ms(self) -> int:
        """How long nothing is granted yet."""
        return max(0, self._grace_until - self.now)

    @property
    def next_deadline(self) -> int | None:
        """The first of a lease or a waiter; now, when some line may have a turn after grace."""
        deadlines = [lease.until for lease in self.leases.values()]
        deadlines += [waiter.gone_at for waiter in self.line]
        return min(deadlines + [self.now] * self._unserved, default=None)

    def use(self, license: str) -> int:
        """Seats held."""
        held = (lease for lease in self.leases.values() if lease.wish.license == license)
        return sum(lease.seats for lease in held)

    def use_of_group(self, license: str, group: Group) -> int:
        """Seats held by a group."""
        leases = (one for one in self.leases.values() if one.wish.license == license)
        return sum(one.seats for one in leases if one.group == group.name)

    def room_in_group(self, license: str, group: Group) -> int:
        """Seats more that its cap allows."""
        return 1 << 30 if group.cap is None else group.cap - self.use_of_group(license, group)

    def line_of(self, license: str) -> list[Waiter]:
        """In order of their places."""
        mine = [waiter for waiter in self.line if waiter.wish.license == license]
        return sorted(mine, key=lambda waiter: (waiter.place, waiter.id))

    def open(self, context: Context) -> None:
        """What every script does first."""
        self._recovery = context.recovery_ms
        went_back = context.epoch == self.epoch and context.seen_ms > self.now
        rolled_back = context.highest_epoch > self.epoch or went_back
        epoch_before, now_before = self._before
        if self._lost_epoch < self.epoch and epoch_before < self.epoch:
            # It went on in trust, and who asks now knows of what it forgot before that.
            rolled_back |= epoch_before < context.highest_epoch < self.epoch
            rolled_back |= context.epoch == epoch_before and context.seen_ms > now_before
        if rolled_back or self.here != self._replid:
            is_new = context.trust == "new" and not self._replid
            if rolled_back or not (context.trust == "durable" or is_new):
                self._grace_until = self.now + context.recovery_ms
            greatest = max(self.epoch, context.highest_epoch, context.epoch_floor - 1)
            self._before = self.epoch, self.now
            self.epoch, self._replid, self._counter = greatest + 1, self.here, 0
            if rolled_back or not (context.trust == "durable" or is_new):
                self._lost_epoch = self.epoch
        elif (context.epoch, context.replid) == (self.epoch, self._replid):
            was_recovering = self.recovering_ms > 0
            self.now = max(self.now, context.claim_ms or 0)
            self._unserved |= was_recovering and not self.recovering_ms

    def acquire(
        self, id: int, wish: Wish, *, may_wait: bool
    ) -> tuple[list[Ended], tuple[object, ...]]:
        """Who lapsed, and the status with what belongs to it."""
        license = self.licenses.get(wish.license)
        if self.recovering_ms:
            lease, waiter = self.leases.get(id), self._waiter(id)
            before = lease or waiter
            if before and not before.wish.is_of_the_call(wish):
                return [], ("conflict",)
            if lease and lease.waiter:
                self._withdraw(id, lease)
            elif may_wait and license and not lease and id not in self.ended:
                self._join(id, wish)
            return [], ("recovering",)
        ended = self._end_lapsed()
        return ended, self._decide(id, wish, license, may_wait=may_wait)

    def _decide(  # noqa: C901, PLR0911 - one decision after another, as in the script
        self, id: int, wish: Wish, license: License | None, *, may_wait: bool
    ) -> tuple[object, ...]:
        if id in self.leases:
            lease = self.leases[id]
            if not lease.waiter or not lease.wish.is_of_the_call(wish) or self._is_good(lease):
                return self._known(lease, wish)
            self._withdraw(id, lease)
        if id in self.ended:
            return ("ended", self.ended[id][1])
        waiter = self._waiter(id)
        if waiter and not waiter.wish.is_of_the_call(wish):
            return ("conflict",)
        if license is None:
            return ("unknown_license",)
        group = license.group_of(wish)
        if 1 < wish.least > license.most_ever(group):
            self._leave(waiter, wish)
            return ("too_many", str(license.most_ever(group)))
        if not self.line_of(wish.license):
            free = license.seats - self.use(wish.license)
            seats = min(wish.most, free, self.room_in_group(wish.license, group))
            is_admitted = self._admits(wish.license, wish.machine) and not license.drained
            if seats >= wish.least and is_admitted:
                lease = self._grant(id, wish, seats, self._lease_ms)
                return ("granted", lease.token, True, None, seats)
            if not may_wait:
                return ("full", self._blocked_by(license, wish))
        stands = self._join(id, wish)
        self._serve_lines(wish.license)
        if id in self.leases:
            return self._known(self.leases[id], wish)
        blocked = self._blocked_by(license, wish)
        if not may_wait:
            self._leave(stands, wish)
            return ("full", blocked)
        position = self.line_of(wish.license).index(stands) + 1
        return ("queued", stands.ticket, position, blocked)

    def _withdraw(self, id: int, lease: Lease) -> None:
        """An offer, of one who asks: it is at its old place."""
        self._end(id, "unclaimed")
        self._return_to_line(lease)
        self._join(id, lease.wish)

    def _is_good(self, offered: Lease) -> bool:
        """Whether it may be claimed: a quota may have been lowered meanwhile."""
        name = offered.wish.license
        license = self.licenses[name]
        groups = [one for one in license.policy if one.name == offered.group]
        return (
            not license.drained
            and license.seats >= self.use(name)
            and all(self.room_in_group(name, group) >= 0 for group in groups)
            and self._admits(name, offered.wish.machine)
        )

    def _leave(self, waiter: Waiter | None, wish: Wish) -> None:
        """Those behind may have stood because of it."""
        if waiter:
            self.line.remove(waiter)
            self._serve_lines(wish.license)

    def _blocked_by(self, license: License, wish: Wish) -> str:
        if license.drained:
            return "drained"
        if self.room_in_group(wish.license, license.group_of(wish)) < wish.least:
            return "cap"
        if license.seats - self.use(wish.license) < wish.least:
            return "seats"
        return "seats" if self._admits(wish.license, wish.machine) else "machines"

    def _known(self, lease: Lease, wish: Wish) -> tuple[object, ...]:
        if not lease.wish.is_of_the_call(wish):
            return ("conflict",)
        if lease.ending:
            return ("ended", lease.ending)
        lease.until = self.now + self._lease_ms
        waited = self.now - lease.joined if lease.offered else None
        is_new, lease.offered, lease.waiter = lease.offered, False, None
        if is_new:
            machines, machine = self.licenses[wish.license].machines, lease.wish.machine
            before = machines[machine]
            self._register(lease.wish, lasting=not wish.ephemeral)
            if before != machines[machine]:
                self._serve_lines(wish.license)
        return ("granted", lease.token, is_new, waited, lease.seats)

    def renew(self, ids: Iterable[int]) -> list[int | str]:
        """Per id its ttl, or why it is lost."""
        return [self._renew(id) for id in ids]

    def _renew(self, id: int) -> int | str:
        lease = self.leases.get(id)
        if lease is None:
            return self.ended[id][1] if id in self.ended else "unknown"
        if not self.recovering_ms and lease.until < self.now:
            return "lapsed"
        if lease.offered:
            return "unknown"
        if lease.ending:
            return f"{lease.ending} because"
        if self.recovering_ms and lease.wish.most > lease.wish.least and not lease.is_proven:
            return "unknown"
        lease.until = self.now + self._lease_ms
        return self._ttl_ms

    def restore(self, id: int, wish: Wish, token: int, seats: int, group: str) -> int | str:
        """Put a lease back on the word of its certificate."""
        lease = self.leases.get(id)
        if lease and lease.offered:
            lease = None
            if self.recovering_ms:
                self._end(id, "unclaimed")
        if lease and self.recovering_ms and not lease.ending and token > lease.token:
            lease = None
            self._end(id, "unclaimed")
        if lease is not None:
            if lease.ending:
                return f"{lease.ending} because"
            lease.until = max(lease.until, self.now + self._lease_ms)
            return self._ttl_ms
        if id in self.ended:
            return self.ended[id][1]
        if not self.recovering_ms:
            return "unknown"
        if stands := self._waiter(id):
            self.line.remove(stands)
        lasts_until = self.now + self._lease_ms
        self._take(id, Lease(wish, seats, token, lasts_until, group=group, is_proven=True))
        return self._ttl_ms

    def release(self, id: int, asker: str) -> tuple[str, str]:
        """The status, and the reason that counts."""
        lease, waiter = self.leases.get(id), self._waiter(id)
        owner = lease.wish.owner if lease else waiter.wish.owner if waiter else asker
        if asker != owner:
            return "forbidden", ""
        if lease:
            reason = self._end(id, "released")
            self._serve_lines(lease.wish.license)
            return "released", reason
        if id in self.ended:
            self._remember(id, self.ended[id][1])
            return "repeated", ""
        self._remember(id, "released")
        if waiter:
            self._leave(waiter, waiter.wish)
        return ("left" if waiter else "unknown"), ""

    def end(self, id: int) -> int:
        """An admin ends a session, or sends away who runs nothing yet."""
        lease, waiter = self.leases.get(id), self._waiter(id)
        if lease and lease.offered:
            self._end(id, "ended")
            self._serve_lines(lease.wish.license)
            return 1
        if waiter:
            self._remember(id, "ended")
            self._leave(waiter, waiter.wish)
            return 1
        if lease is None:
            return -1
        if lease.ending:
            return 0
        lease.ending = "ended"
        return 1

    def keep(self, ids: Iterable[int]) -> list[int]:
        """Where each waits, from 1; 0 for who should ask."""
        waiting = [self._waiter(id) for id in ids]
        for waiter in waiting:
            if waiter and not waiter.absent:
                waiter.gone_at = self.now + GONE_MS
        return [
            self.line_of(waiter.wish.license).index(waiter) + 1
            if waiter and not waiter.absent
            else 0
            for waiter in waiting
        ]

    def reap(self) -> list[Ended]:
        """Who lapsed."""
        if self.recovering_ms:
            return []
        ended = self._end_lapsed(serve=False)
        licenses = [one[1] for one in ended]
        if self._unserved:
            self._unserved, licenses = False, sorted(self.licenses)
        self._serve_lines(*licenses)
        return ended

    def set_quota(self, name: str, seats: int, machines: int | None, *, force: bool) -> str:
        """``made``, ``below_use`` or ``recovering``."""
        before = self.licenses.get(name)
        registered = len(before.machines) if before else 0
        below = self.use(name) > seats or (machines is not None and registered > machines)
        if below and not force:
            return "below_use"
        if before and self.recovering_ms and not force:
            most = 1 << 30  # unlimited
            machines_before = most if before.machine_quota is None else before.machine_quota
            if seats < before.seats or (most if machines is None else machines) < machines_before:
                return "recovering"
        if before:
            before.seats, before.machine_quota = seats, machines
        else:
            self.licenses[name] = License(seats, machines)
        self._serve_lines(name)
        return "made"

    def set_policy(self, name: str, policy: tuple[Group, ...]) -> None:
        """Who waits keeps the ticket, and stands where the new policy says."""
        license = self.licenses[name]
        license.policy = policy
        for lease in self.leases.values():
            if lease.wish.license == name and lease.wish.team and not lease.is_proven:
                lease.group = license.group_of(lease.wish).name
        for waiter in self.line_of(name):
            before = (waiter.group.name, waiter.place)
            waiter.group = license.group_of(waiter.wish)
            if before != (waiter.group.name, waiter.place):
                waiter.parked = False
        self._serve_lines(name)

    def drain(self, name: str, *, drained: bool) -> None:
        """Nobody new, or all as before."""
        self.licenses[name].drained = drained
        self._serve_lines(name)

    def _end_lapsed(self, *, serve: bool = True) -> list[Ended]:
        lapsed = sorted(
            (lease.until, id) for id, lease in self.leases.items() if lease.until < self.now
        )
        ended: list[Ended] = []
        for _, id in lapsed:
            lease = self.leases[id]
            reason = self._end(id, "unclaimed" if lease.offered else "lapsed")
            self._return_to_line(lease)
            ended.append((id, lease.wish.license, lease.wish.machine, lease.token, reason))
        if serve and ended:
            self._serve_lines(*(one[1] for one in ended))
        return ended

    def _return_to_line(self, lease: Lease) -> None:
        """To the place that it had before the offer, absent until it asks."""
        if waiter := lease.waiter:
            waiter.group = self.licenses[lease.wish.license].group_of(lease.wish)
            waiter.absent, waiter.parked = True, False
            self.line.append(waiter)

    def _end(self, id: int, reason: str) -> str:
        lease = self.leases.pop(id)
        reason = lease.ending or reason
        machine, license = lease.wish.machine, self.licenses.get(lease.wish.license)
        busy = any(
            (other.wish.license, other.wish.machine) == (lease.wish.license, machine)
            for other in self.leases.values()
        )
        if license and not busy and not license.machines.get(machine, True):
            del license.machines[machine]
        is_since_loss = lease.token // TOKENS_AN_EPOCH >= self._lost_epoch
        if reason != "unclaimed" and (reason != "lapsed" or is_since_loss):
            self._remember(id, reason)
        return reason

    def _remember(self, id: int, reason: str) -> None:
        kept = {one: end for one, end in self.ended.items() if end[0] >= self.now}
        self.ended = kept | {id: (self.now + self._recovery, reason)}

    def _waiter(self, id: int) -> Waiter | None:
        return next((waiter for waiter in self.line if waiter.id == id), None)

    def _join(self, id: int, wish: Wish) -> Waiter:
        waiter = self._waiter(id)
        if waiter is None:
            self._last_ticket = max(self._last_ticket + 1, self.now * 1000)
            group = self.licenses[wish.license].group_of(wish)
            waiter = Waiter(id, wish, self._last_ticket, self.now, 0, group)
            self.line.append(waiter)
        waiter.gone_at, waiter.absent = self.now + GONE_MS, False
        return waiter

    def _drop_gone(self) -> list[str]:
        """Where somebody left."""
        if self.recovering_ms:
            return []
        gone = [waiter for waiter in self.line if waiter.gone_at < self.now]
        self.line = [waiter for waiter in self.line if waiter.gone_at >= self.now]
        gone.sort(key=lambda waiter: (waiter.gone_at, waiter.id))
        return [waiter.wish.license for waiter in gone]

    def _serve_lines(self, *names: str) -> None:
        for name in dict.fromkeys([*self._drop_gone(), *names]):
            self._serve(name)

    def _serve(self, name: str) -> None:
        """Offer what is free, until it is not or nobody may take it."""
        license = self.licenses.get(name)
        if license is None or license.drained or self.recovering_ms or not self.line_of(name):
            return
        if license.holds_back:
            self._unpark_registered(name, license)
        while (free := license.seats - self.use(name)) > 0:
            turn = self._whose_turn(name, license)
            if turn is None:
                return
            room = self.room_in_group(name, turn.group)
            if 1 < turn.wish.least > license.most_ever(turn.group):
                self.line.remove(turn)
            elif not self._admits(name, turn.wish.machine):
                turn.parked = True
                license.holds_back |= turn.wish.machine in license.machines
            elif turn.wish.least > free or self._is_held_up(name, license, turn):
                return
            else:
                self.line.remove(turn)
                seats = min(turn.wish.most, free, room)
                lease = self._grant(turn.id, turn.wish, seats, OFFER_MS)
                lease.joined, lease.offered, lease.waiter = turn.joined, True, turn

    def _whose_turn(self, name: str, license: License) -> Waiter | None:
        """The first of each group may be it: of a group below its reserve, else by place."""
        has_room = self._admits(name, "")
        line = [
            one for one in self.line_of(name) if not one.absent and (has_room or not one.parked)
        ]
        firsts = []
        for group in (*license.policy, EVERYBODY_ELSE):
            first = next((one for one in line if one.group.name == group.name), None)
            if first is None:
                continue
            never = 1 < first.wish.least > license.most_ever(group)
            if never or first.wish.least <= self.room_in_group(name, group):
                is_owed = group.reserve > self.use_of_group(name, group)
                firsts.append((not is_owed, first.place, first))
        return min(firsts, key=lambda one: one[:2])[2] if firsts else None

    def _is_held_up(self, name: str, license: License, turn: Waiter) -> bool:
        """By the first of some group that nothing but machines has blocked for long."""
        line = self.line_of(name)
        firsts = [
            next((one for one in line if one.parked and one.group.name == group.name), None)
            for group in (*license.policy, EVERYBODY_ELSE)
        ]
        return not all(license.machines.values()) and any(
            one.place < turn.place
            and self.now - one.joined >= MACHINE_PATIENCE_MS
            and one.wish.least <= self.room_in_group(name, one.group)
            for one in firsts
            if one
        )

    def _admits(self, name: str, machine: str) -> bool:
        """Of those registered beyond the quota, as many as it allows may be in use."""
        license = self.licenses[name]
        quota = license.machine_quota
        if quota is None or len(license.machines) < quota:
            return True
        if machine not in license.machines:
            return False
        others = self._machines_in_use(name) - {machine}
        return len(license.machines) == quota or len(others) < quota

    def _machines_in_use(self, name: str) -> set[str]:
        leases = (one for one in self.leases.values() if one.wish.license == name)
        return {one.wish.machine for one in leases}

    def _unpark_registered(self, name: str, license: License) -> None:
        """Those whose machine may be used again, now that fewer are in use or more allowed."""
        used, quota = self._machines_in_use(name), license.machine_quota
        is_over = quota is not None and len(license.machines) > quota
        if quota is not None and is_over and len(used) > quota:
            return
        license.holds_back = quota is not None and is_over and len(used) == quota
        for waiter in self.line_of(name):
            is_used = waiter.wish.machine in used
            if is_used or (not license.holds_back and waiter.wish.machine in license.machines):
                waiter.parked = False

    def _grant(self, id: int, wish: Wish, seats: int, lasts_ms: int) -> Lease:
        self._counter += 1
        token = self.epoch * TOKENS_AN_EPOCH + self._counter
        # An offer keeps its machine only until it is claimed.
        offered = lasts_ms == OFFER_MS
        group = self.licenses[wish.license].group_of(wish)
        lease = Lease(wish, seats, token, self.now + lasts_ms, group=group.name)
        self._take(id, lease, lasting=not (wish.ephemeral or offered))
        return lease

    def _take(self, id: int, lease: Lease, *, lasting: bool | None = None) -> None:
        self.leases[id] = lease
        self._register(lease.wish, lasting=not lease.wish.ephemeral if lasting is None else lasting)
        for waiter in self.line:
            if (waiter.wish.license, waiter.wish.machine) == (
                lease.wish.license,
                lease.wish.machine,
            ):
                waiter.parked = False

    def _register(self, wish: Wish, *, lasting: bool) -> None:
        machines = self.licenses[wish.license].machines
        machines[wish.machine] = machines.get(wish.machine, False) or lasting


def other(wish: Wish) -> Wish:
    """The same id's request, with other content."""
    return replace(wish, content=b"other")
