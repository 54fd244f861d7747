"""Sessions, live and past: who runs or ran what, where, and why it ended."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgpack
from lessor_protocol.errors import Problem
from lessor_protocol.lease_id import format_lease_id

from lessor_daemon.store import changes, leases, line
from lessor_daemon.store import sessions as stored
from lessor_daemon.store.errors import store_problems
from lessor_daemon.times import wall_text

from .callers import Rank
from .changes import Plan, entry_of, remember
from .pages import READ_AT_ONCE, Page
from .restrictions import ENDING, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from lessor_daemon.store.leases import LeaseRecord
    from lessor_daemon.store.line import WaiterRecord
    from lessor_daemon.store.sessions import PastSession
    from lessor_daemon.store.store import Store

    from .callers import Actor, Caller
    from .changes import RunScript
    from .memory import Memory

SCANNED_AT_ONCE = 500
MOST_READ_FOR_A_PAGE = 5_000
"""Past sessions looked at for one page; a filter that fits few answers a short page."""
NEWEST, OLDEST = "+", "-"
ENDING_REMEMBERED_SECONDS = 900
"""Longer than the longest ttl with its margin."""
FINISH = "finish"
"""The code of a notice that asks a session to come to an end by itself."""


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """Which sessions are wanted; None is any.

    They began from ``since`` to ``until``, wall clock seconds. ``owner`` is a lease's owner, and
    ``user`` either its member or the account of its process.
    """

    license: str | None = None
    user: str | None = None
    machine: str | None = None
    reason: str | None = None
    owner: str | None = None
    since: int | None = None
    until: int | None = None

    def fits(self, lease: LeaseRecord | PastSession) -> bool:
        """Whether this one is wanted."""
        began = lease.granted_at_wall_ms / 1000
        return (
            self.license in (None, lease.license)
            and self.machine in (None, lease.machine)
            and self.owner in (None, lease.owner)
            and (self.user is None or self.user in _users(lease))
            and (self.since is None or began >= self.since)
            and (self.until is None or began <= self.until)
        )


class Sessions:
    """The sessions of organizations. Every method may raise ``Problem``."""

    def __init__(
        self, store: Store, run: RunScript, memory: Memory, wall_ms: Callable[[], int]
    ) -> None:
        self._store = store
        self._run = run
        self._memory = memory
        self._wall_ms = wall_ms

    async def live(
        self, org: str, wanted: SessionFilter, cursor: int, limit: int
    ) -> tuple[list[dict[str, object]], int]:
        """About ``limit`` live sessions; the cursor 0 begins and ends. See ``Page``."""

        async def read(begin: int, about: int) -> tuple[list[dict[str, object]], int]:
            with store_problems():
                records, following = await leases.scan(self._store, org, begin, about=about)
            fitting = [one for one in records if not one.offered and wanted.fits(one)]
            return await self._show(org, fitting), following

        found = Page(limit)
        return found.items, await found.fill(cursor, read)

    async def get(self, caller: Caller, org: str, lease_id: bytes) -> dict[str, object]:
        """One live session. Raises ``Problem`` ``not_found``."""
        return (await self._show(org, [await self._find(caller, org, lease_id)]))[0]

    async def past(
        self, org: str, wanted: SessionFilter, cursor: str | None, limit: int
    ) -> tuple[list[dict[str, object]], str | None]:
        """Up to ``limit`` sessions that ended, the newest first, and the next cursor.

        See ``Page``.
        """
        before = f"({cursor}" if cursor else NEWEST
        # One that began after `since` also ended after it.
        since = str(wanted.since * 1000) if wanted.since else OLDEST
        found = Page(limit)
        looked_at = 0
        while looked_at < MOST_READ_FOR_A_PAGE:
            with store_problems():
                read = await stored.past(
                    self._store, org, before=before, since=since, about=READ_AT_ONCE
                )
            for session in read:
                is_wanted = wanted.reason in (None, session.reason) and wanted.fits(session)
                if is_wanted and not found.add(past_to_wire(session)):
                    return found.items, cursor
                cursor = session.entry_id
            if len(read) < READ_AT_ONCE:
                return found.items, None
            looked_at += len(read)
            before = f"({cursor}"
        return found.items, cursor

    async def end(
        self, actor: Actor, caller: Caller, org: str, lease_id: bytes, text: str
    ) -> dict[str, object]:
        """End a session, with a text for whoever sees it end; a member only their own."""
        lease = await self._find(caller, org, lease_id)
        if lease.owner != caller.owner and not caller.is_admin:
            raise Problem("forbidden", "this session belongs to somebody else; ask an admin")
        by = actor.member or actor.name
        text = f"{by} ended it: {text}" if text else f"{by} ended it"
        name = format_lease_id(lease_id)
        plan = Plan(None, "session.end", name, _brief(lease), {"text": text})
        await self.end_all(org, [lease_id], "ended", text, entry=entry_of(actor, plan))
        if lease.ending:
            return (await self._show(org, [lease]))[0]
        # Not looked up again: its holder is told at once, and may have given the seat back by now.
        return self._live_to_wire(replace(lease, ending=True), ("ended", text))

    async def end_others(self, actor: Actor, caller: Caller, org: str, lease_id: bytes) -> None:
        """End what an admin found to be somebody else's: a session, or a place in the line."""
        with store_problems():
            waiter = await line.find(self._store, org, lease_id)
        if waiter is None:
            await self.end(actor, caller, org, lease_id, "")
            return
        plan = Plan(None, "waiter.remove", format_lease_id(lease_id), _brief(waiter))
        text = f"{actor.member or actor.name} ended it"
        await self.end_all(org, [lease_id], "ended", text, entry=entry_of(actor, plan))

    async def finish(
        self, actor: Actor, caller: Caller, org: str, lease_id: bytes, text: str
    ) -> dict[str, object]:
        """Ask a session to come to an end by itself; a member only their own.

        Raises ``Problem`` ``conflict`` for one that is being ended already.
        """
        lease = await self._find(caller, org, lease_id)
        if lease.owner != caller.owner and not caller.is_admin:
            raise Problem("forbidden", "this session belongs to somebody else; ask an admin")
        change_id = os.urandom(8)
        notice = {
            "id": change_id.hex(),
            "code": FINISH,
            "text": text,
            "by": actor.member or actor.name,
            "at": wall_text(self._wall_ms()),
        }
        name = format_lease_id(lease_id)
        plan = Plan(None, "session.finish", name, _brief(lease), {"text": text})
        entry = entry_of(actor, plan)
        _, status = await self._run(
            org,
            lambda context: stored.finish(
                self._store,
                org,
                context,
                lease_id,
                notice=notice,
                change_id=change_id,
                entry=entry,
            ),
        )
        if status == "unknown":
            raise Problem("not_found", f"no live session {name}")
        if status == "ending":
            raise Problem("conflict", "this session is being ended already")
        return self._live_to_wire(lease, None)  # which may have finished by now

    async def end_of_key(self, actor: Actor, org: str, key_id: str) -> int:
        """End all that an API key holds."""
        text = f"its API key was revoked by {actor.member or actor.name}"
        return await self._end_where(
            org, lambda lease: holder_of(lease).key_id == key_id, "key_revoked", text
        )

    async def end_on_machines(self, org: str, machines: set[tuple[str, str]], text: str) -> int:
        """End all on these machines, each ``(license, machine id)``."""
        return await self._end_where(
            org, lambda lease: (lease.license, lease.machine) in machines, "machine_removed", text
        )

    async def end_all(
        self, org: str, lease_ids: Sequence[bytes], reason: str, text: str, *, entry: bytes = b""
    ) -> int:
        """Begin to end these leases; says how many were not ending before."""
        count = 0
        for start in range(0, len(lease_ids), stored.MOST_ENDED_AT_ONCE):
            part = lease_ids[start : start + stored.MOST_ENDED_AT_ONCE]
            _, results = await self._run(
                org,
                lambda context, part=part: stored.end(  # type: ignore[misc]  # its type is that of the call
                    self._store,
                    org,
                    context,
                    part,
                    reason=reason,
                    text=text,
                    change_id=os.urandom(8),
                    entry=entry,
                ),
            )
            count += results.count(1)
            await self._remember_ending(org, part, reason, text)
        return count

    async def _remember_ending(
        self, org: str, lease_ids: Sequence[bytes], reason: str, text: str
    ) -> None:
        """Should the store forget the marks: only for as long as such a lease could be renewed."""
        until = self._wall_ms() // 1000 + ENDING_REMEMBERED_SECONDS
        value: bytes = msgpack.packb([until, reason, text])
        await remember(
            self._memory,
            org,
            await self._version(org),
            {str(Target(ENDING, one.hex())): (0, value) for one in lease_ids},
        )

    async def _version(self, org: str) -> int:
        with store_problems():
            return await changes.version(self._store, org)

    async def _end_where(
        self, org: str, fits: Callable[[LeaseRecord], bool], reason: str, text: str
    ) -> int:
        ids: list[bytes] = []
        cursor = 0
        with store_problems():
            while True:
                records, cursor = await leases.scan(self._store, org, cursor, about=SCANNED_AT_ONCE)
                ids += [one.lease_id for one in records if not one.offered and fits(one)]
                if not cursor:
                    break
        return await self.end_all(org, ids, reason, text)

    async def _find(self, caller: Caller, org: str, lease_id: bytes) -> LeaseRecord:
        with store_problems():
            lease = await leases.find(self._store, org, lease_id)
        if lease is None or lease.offered or not caller.reaches(lease.license):
            raise Problem("not_found", f"no live session {format_lease_id(lease_id)}")
        return lease

    async def _show(self, org: str, records: list[LeaseRecord]) -> list[dict[str, object]]:
        ending = [one.lease_id for one in records if one.ending]
        with store_problems():
            reasons = await stored.ending_reasons(self._store, org, ending)
        return [self._live_to_wire(one, reasons.get(one.lease_id)) for one in records]

    def _live_to_wire(
        self, lease: LeaseRecord, reason: tuple[str, str] | None
    ) -> dict[str, object]:
        shown = _to_wire(lease, "ending" if lease.ending else "live")
        shown["duration"] = max(0, self._wall_ms() - lease.granted_at_wall_ms) / 1000
        if reason is not None:
            shown["reason"], shown["text"] = reason
        return shown


@dataclass(frozen=True, slots=True)
class SessionHolder:
    """What the daemon keeps about who holds a lease; ``leasing.holders`` packs it."""

    machine_name: str
    ephemeral: bool
    pid: int
    command: str
    user: str
    labels: dict[str, str]
    key_id: str


def holder_of(lease: LeaseRecord | PastSession | WaiterRecord) -> SessionHolder:
    """Who holds it, held it, or waits."""
    return SessionHolder(*msgpack.unpackb(lease.holder))


def past_to_wire(session: PastSession) -> dict[str, object]:
    """A session that ended, as the wire shows it."""
    shown = _to_wire(session, "ended")
    ended = session.ended_at_wall_ms
    shown["ended"] = wall_text(ended)
    shown["duration"] = max(0, ended - session.granted_at_wall_ms) / 1000
    shown["reason"] = session.reason
    shown["text"] = session.text
    return shown


def _to_wire(lease: LeaseRecord | PastSession, state: str) -> dict[str, object]:
    holder = holder_of(lease)
    kind, _, name = lease.owner.partition(":")
    shown: dict[str, object] = {
        "id": format_lease_id(lease.lease_id),
        "license": lease.license,
        "state": state,
        "user": holder.user or name,
        "key": holder.key_id,
        "machine": {
            "id": lease.machine,
            "name": holder.machine_name,
            "ephemeral": holder.ephemeral,
        },
        "process": {"pid": holder.pid, "command": holder.command, "user": holder.user},
        "labels": holder.labels,
        "started": wall_text(lease.granted_at_wall_ms),
        "seats": lease.seats,
        "waited": lease.waited_ms / 1000,
    }
    if kind == "member":
        shown["member"] = name
    return shown


def _users(lease: LeaseRecord | PastSession) -> Iterable[str]:
    return (lease.owner.partition(":")[2], holder_of(lease).user)


def _brief(lease: LeaseRecord | WaiterRecord) -> dict[str, object]:
    return {"license": lease.license, "machine": lease.machine, "owner": lease.owner}


def visible_to(caller: Caller, wanted: SessionFilter, *, past: bool) -> SessionFilter:
    """The filter within what the caller may see.

    Who holds seats now is shown to all members, so that waiting can be explained; what others did
    in the past is not.
    """
    owner = caller.owner if past and caller.rank < Rank.ADMIN else wanted.owner
    return SessionFilter(
        license=caller.narrowed(wanted.license),
        user=wanted.user,
        machine=wanted.machine,
        reason=wanted.reason,
        owner=owner,
        since=wanted.since,
        until=wanted.until,
    )
