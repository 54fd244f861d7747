"""Saying again what a store forgot.

A store that fails over to a replica, or comes back from an older copy or empty, has lost the last
changes of administration: seats that were lowered, keys that were revoked, users that were
withdrawn, offline licenses that are out there. No grace outlasts that. So each daemon remembers
what was said (``memory``), its own changes before they are answered and those of others within a
sweep, and when the store opens a new epoch it compares, fact by fact, and makes the missing ones
hold again. Only what restricts is made to hold (``restrictions``).

A change that was made after the loss is newer than all that was said before it, and wins: so an
operator can overrule what is remembered by saying otherwise.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgpack
import structlog
from lessor_protocol.errors import Problem

from lessor_daemon.store import directory as stored
from lessor_daemon.store import facts as said
from lessor_daemon.store import keys as key_names
from lessor_daemon.store import leases, offline, registered, sessions
from lessor_daemon.store.changes import Edit, EndOnline
from lessor_daemon.store.directory import Member
from lessor_daemon.store.errors import store_problems
from lessor_daemon.store.facts import Fact
from lessor_daemon.store.offline import OfflineRecord

from .callers import REASSERTION
from .changes import Plan, Quota, entry_of
from .licenses import shown_fields, stored_fields
from .memory import Unreadable, describe
from .restrictions import (
    ENDING,
    KEY,
    LICENSE,
    LIMITS,
    MEMBER,
    NOTHING,
    OFFLINE,
    ORGANIZATION,
    USER,
    Target,
    restricted_fields,
    restricted_key,
    restricted_role,
)
from .users import WITHDRAWN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lessor_daemon.metrics import Metrics
    from lessor_daemon.store.facts import Facts
    from lessor_daemon.store.scripts import Reading
    from lessor_daemon.store.store import Store

    from .changes import Changes, RunScript
    from .licenses import Licenses
    from .memory import Memory

OWNER = "owner"

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Compared:
    """When the store was last compared with what is remembered, and what it could not take yet.

    A fact about something that the store does not have restricts nothing, until it comes back.
    """

    epoch: int
    replid: str
    version: int
    waiting: bool


class Reassertion:
    """Compares stores with what is remembered. One process of a daemon does it for all."""

    def __init__(
        self,
        store: Store,
        run: RunScript,
        changes: Changes,
        licenses: Licenses,
        memory: Memory,
        *,
        metrics: Metrics,
        wall_ms: Callable[[], int],
    ) -> None:
        self._store = store
        self._run = run
        self._changes = changes
        self._licenses = licenses
        self._memory = memory
        self._metrics = metrics
        self._wall_ms = wall_ms
        self._compared: dict[str, _Compared] = {}

    async def check(self, org: str, reading: Reading, version: int) -> None:
        """Learn what is new in the store, and say again what it forgot.

        ``version`` is the store's, read with ``reading``. May raise ``Problem``; then it is to be
        called again.
        """
        try:
            known = await asyncio.to_thread(self._memory.version, org)
            before = self._compared.get(org)
            is_anew = before is None or (before.epoch, before.replid) != (
                reading.epoch,
                reading.replid,
            )
            is_waiting = before is not None and before.waiting and before.version != version
            waiting = before is not None and before.waiting
            if is_anew or is_waiting or version < known:
                waiting = await self._compare(org, known, version)
            if version > known:
                with store_problems():
                    learned = await said.since(self._store, org, known)
                await asyncio.to_thread(self._memory.note, org, learned, seen=version)
        except Unreadable as error:
            _log.warning("changes_not_remembered", org=org, reason=str(error))
            return
        self._compared[org] = _Compared(reading.epoch, reading.replid, version, waiting)

    async def _compare(self, org: str, known: int, version: int) -> bool:
        """Whether something is remembered that the store could not take."""
        remembered = await self._remembered(org)
        if not remembered:
            return False
        with store_problems():
            stored_at = await said.versions(self._store, org)
        begin = stored_at.get(ORGANIZATION, 0)
        missing = [
            one
            for one in remembered
            if one.version >= begin and one.version > stored_at.get(one.name, -1)
        ]
        lasting = [one for one in missing if Target.of(one.name).kind != ENDING]
        if lasting:
            _log.error(
                "changes_forgotten",
                org=org,
                version=version,
                remembered=known,
                changes=describe(lasting),
                count=len(lasting),
            )
        done = await self._say_again(org, missing)
        names = {one.name for one in lasting}
        if done & names:
            self._metrics.changes_reasserted_total.inc(len(done & names))
            made = describe(one for one in lasting if one.name in done)
            _log.warning("changes_reasserted", org=org, changes=made, count=len(done & names))
        return bool(names - done)

    async def _remembered(self, org: str) -> list[Fact]:
        """What is remembered and still matters."""
        now = self._wall_ms() / 1000
        found = await asyncio.to_thread(self._memory.facts, org)
        over = {one.name for one in found if _is_over(one, now)}
        if over:
            await asyncio.to_thread(self._memory.drop, org, over)
        return [one for one in found if one.name not in over]

    async def _say_again(self, org: str, missing: list[Fact]) -> set[str]:
        """Make these hold, where there is something for them to hold of. Says which it was."""
        by_kind: dict[str, list[tuple[Target, Fact]]] = {}
        for one in missing:
            target = Target.of(one.name)
            kind = LICENSE if target.kind in LIMITS else target.kind
            by_kind.setdefault(kind, []).append((target, one))
        done: set[str] = set()
        by_license: dict[str, list[tuple[Target, Fact]]] = {}
        for target, one in by_kind.get(LICENSE, ()):
            by_license.setdefault(target.name, []).append((target, one))
        for license, facts in by_license.items():
            done |= await self._limit(org, license, facts)
        everyone = [one for kind in (MEMBER, USER, KEY) for one in by_kind.get(kind, ())]
        if everyone:
            done |= await self._take_away(org, everyone)
        for _, one in by_kind.get(OFFLINE, ()):
            done |= await self._count_offline(org, one)
        for target, one in by_kind.get(ENDING, ()):
            await self._end(org, target, one)
        for _, one in by_kind.get(ORGANIZATION, ()):
            done |= await self._close(org, one)
        return done

    async def _limit(self, org: str, license: str, facts: list[tuple[Target, Fact]]) -> set[str]:
        """The settings of one license."""

        async def decide() -> Plan[bool]:
            try:
                before = stored_fields(await self._licenses.find(org, license))
            except Problem as problem:
                if problem.code != "unknown_license":
                    raise
                return Plan(False, "license.reassert", license)
            wanted = restricted_fields(before, {target.kind: one.value for target, one in facts})
            shown = {one: before[one] for one in wanted}
            return Plan(
                True,
                "license.reassert",
                license,
                shown_fields(shown),
                shown_fields(wanted),
                quota=Quota(license, wanted, force=True) if wanted else None,
                facts=_as_said(one for _, one in facts),
                is_silent=True,
            )

        is_there, _ = await self._changes.make(org, REASSERTION, decide)
        return {one.name for _, one in facts} if is_there else set()

    async def _take_away(self, org: str, facts: list[tuple[Target, Fact]]) -> set[str]:
        """Memberships, roles, registered users and keys, in one step."""

        async def decide() -> Plan[set[str]]:
            members = await stored.members(self._store, org)
            keys = {one.key_id: one for one in await stored.api_keys(self._store, org)}
            licenses = await leases.license_names(self._store, org)
            edits: list[Edit] = []
            endings: list[EndOnline] = []
            taken: list[Fact] = []
            for target, one in facts:
                if target.kind == KEY and target.name in keys:
                    edits.append(restricted_key(keys[target.name], one.value).edit())
                elif target.kind == MEMBER and target.name in members:
                    before = members[target.name]
                    after = _restricted(members, before, one.value)
                    if after is None:
                        edits.append(Edit(key_names.members(org), before.email))
                        del members[before.email]
                    elif after != before:
                        edits.append(after.edit(org))
                        members[before.email] = after
                elif target.kind == USER and target.name in licenses:
                    users = await registered.users(self._store, org, target.name)
                    if one.value == NOTHING and target.email in users:
                        key = key_names.registered(org, target.name)
                        edits.append(Edit(key, target.email))
                        endings.append(EndOnline(target.name, target.email, "withdrawn", WITHDRAWN))
                    elif one.value != NOTHING and target.email not in users:
                        continue
                else:
                    continue
                taken.append(one)
            return Plan(
                {one.name for one in taken},
                "directory.reassert",
                org,
                None,
                {"changes": describe(taken)},
                edits,
                endings=endings,
                facts=_as_said(taken),
                is_silent=True,
            )

        return (await self._changes.make(org, REASSERTION, decide))[0]

    async def _count_offline(self, org: str, one: Fact) -> set[str]:
        """An offline license that is out there holds its seats, whatever else does."""
        if one.value == NOTHING:
            return set()
        record = OfflineRecord(**msgpack.unpackb(one.value))
        with store_problems():
            names = await leases.license_names(self._store, org)
        if record.license not in names:
            return set()
        plan = Plan(None, "offline.reassert", record.serial)
        change_id = os.urandom(8)
        _, issued = await self._run(
            org,
            lambda context: offline.issue(
                self._store,
                org,
                context,
                record,
                change_id=change_id,
                entry=entry_of(REASSERTION, plan),
                said=_as_said([one]),
                is_forgotten=True,
            ),
        )
        return {one.name} if issued.status == offline.ISSUED else set()

    async def _end(self, org: str, target: Target, one: Fact) -> None:
        """A session that was being ended; the mark also waits for one that is not back yet."""
        _, reason, text = msgpack.unpackb(one.value)
        lease_id = bytes.fromhex(target.name)
        await self._run(
            org,
            lambda context: sessions.end(
                self._store,
                org,
                context,
                [lease_id],
                reason=reason,
                text=text,
                change_id=os.urandom(8),
                entry=b"",
            ),
        )

    async def _close(self, org: str, one: Fact) -> set[str]:
        """A removed organization that is back: nobody gets in and nothing starts."""
        if one.value != NOTHING:
            return set()

        async def decide() -> Plan[bool]:
            keys = await stored.api_keys(self._store, org)
            edits = [restricted_key(key, NOTHING).edit() for key in keys if key.state != "revoked"]
            return Plan(
                bool(keys),
                "organization.reassert",
                org,
                edits=edits,
                facts=_as_said([one]) if keys else {},
                is_silent=True,
            )

        is_there, _ = await self._changes.make(org, REASSERTION, decide)
        for use in await self._licenses.uses(org):
            removed = Fact(str(Target(LICENSE, use.license)), one.version, NOTHING)
            await self._limit(org, use.license, [(Target(LICENSE, use.license), removed)])
        return {one.name} if is_there else set()


def _restricted(members: dict[str, Member], before: Member, value: bytes) -> Member | None:
    """The member as they may stay. The last owner stays one: nobody else could make another."""
    owners = [one for one in members.values() if one.role == OWNER]
    if owners == [before]:
        return before
    role = restricted_role(before.role, value)
    return Member(before.email, role, before.since_wall_seconds) if role else None


def _as_said(facts: Iterable[Fact]) -> Facts:
    """As of when they were said first, so that other daemons know them for the same."""
    return {one.name: (one.version, one.value) for one in facts}


def _is_over(fact: Fact, now: float) -> bool:
    kind = Target.of(fact.name).kind
    if kind == OFFLINE and fact.value != NOTHING:
        return bool(msgpack.unpackb(fact.value)["expires"] <= now)
    return bool(kind == ENDING and msgpack.unpackb(fact.value)[0] <= now)
