"""Making facts hold in a store that forgot them, where there is something for them to hold of.

Each is looked at again in the step that makes it hold: what an admin has said meanwhile is a later
word, and wins.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgpack
from lessor_protocol.errors import Problem

from lessor_daemon.side_by_side import for_each
from lessor_daemon.store import directory as stored
from lessor_daemon.store import facts as said
from lessor_daemon.store import keys as key_names
from lessor_daemon.store import leases, offline, registered, sessions
from lessor_daemon.store.changes import Edit, EndOnline
from lessor_daemon.store.directory import REVOKED, Member
from lessor_daemon.store.errors import store_problems
from lessor_daemon.store.facts import Fact
from lessor_daemon.store.offline import OfflineRecord

from .callers import REASSERTION
from .changes import Plan, Quota, entry_of
from .licenses import shown_fields, stored_fields
from .memory import describe
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
    is_out_there,
    restricted_fields,
    restricted_key,
    restricted_role,
)
from .users import WITHDRAWN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from lessor_daemon.store.facts import Facts
    from lessor_daemon.store.registered import RegisteredUser
    from lessor_daemon.store.store import Store

    from .changes import Changes, RunScript
    from .licenses import Licenses

    Versions = Mapping[str, int]
    """Name of a fact → when it was said."""

OWNER = "owner"
MOST_SHOWN = 20
"""Of the registered users that one entry of the audit names."""


class Enforcement:
    """Makes facts hold. Every method may raise ``Problem``; what was done then is not undone."""

    def __init__(self, store: Store, run: RunScript, changes: Changes, licenses: Licenses) -> None:
        self._store = store
        self._run = run
        self._changes = changes
        self._licenses = licenses

    async def missing(self, org: str, facts: Iterable[Fact]) -> list[Fact]:
        """Those that the store lacks, and that no later word has overruled."""
        facts = list(facts)
        names = [ORGANIZATION, *(one.name for one in facts)]
        with store_problems():
            stored_at = await said.versions(self._store, org, names)
        begin = stored_at.get(ORGANIZATION, 0)
        return [
            one
            for one in facts
            if (one.version >= begin or is_out_there(one))
            and one.version > stored_at.get(one.name, -1)
        ]

    async def say_again(self, org: str, missing: list[Fact], known: Versions) -> set[str]:
        """Make these hold, where there is something for them to hold of. Says which it was.

        ``known`` is when something was said last of each thing, also of what is not missing.
        """
        by_kind: dict[str, list[Fact]] = {}
        by_license: dict[str, list[Fact]] = {}
        for one in missing:
            target = Target.of(one.name)
            by_kind.setdefault(target.kind, []).append(one)
            if target.kind in (LICENSE, *LIMITS):
                by_license.setdefault(target.name, []).append(one)
        done: set[str] = set()
        for begin in by_kind.get(ORGANIZATION, ()):
            done |= await self._clear(org, begin, known)
        for license, facts in by_license.items():
            done |= await self._limit(org, license, facts, known)
        everyone = [one for kind in (MEMBER, USER, KEY) for one in by_kind.get(kind, ())]
        if everyone:
            done |= await self._take_away(org, everyone)
        done |= await self._each(org, by_kind.get(OFFLINE, ()), self._count_offline)
        await self._each(org, by_kind.get(ENDING, ()), self._end)
        return done

    async def _each(
        self, org: str, facts: Iterable[Fact], work: Callable[[str, Fact], Awaitable[set[str]]]
    ) -> set[str]:
        """Side by side: a server may confirm what is on its disk once a second, for all at once."""
        by_name = {one.name: one for one in facts}
        done: set[str] = set()

        async def do(name: str) -> None:
            done.update(await work(org, by_name[name]))

        for error in (await for_each(by_name, do)).values():
            raise error
        return done

    async def _limit(self, org: str, license: str, facts: list[Fact], known: Versions) -> set[str]:
        """The settings of one license, and its registered users if it was removed or made anew."""
        for one in facts:
            if Target.of(one.name).kind == LICENSE:
                await self._withdraw(org, license, one, known)

        async def decide() -> Plan[set[str]]:
            missing = await self.missing(org, facts)
            try:
                before = stored_fields(await self._licenses.find(org, license))
            except Problem as problem:
                if problem.code != "unknown_license":
                    raise
                return Plan(set(), "license.reassert", license)
            by_kind = {Target.of(one.name).kind: one.value for one in missing}
            wanted = restricted_fields(before, by_kind)
            shown = {one: before[one] for one in wanted}
            return Plan(
                {one.name for one in missing},
                "license.reassert",
                license,
                shown_fields(shown),
                shown_fields(wanted),
                quota=Quota(license, wanted, force=True) if wanted else None,
                facts=_as_said(missing),
                is_silent=True,
            )

        return (await self._changes.make(org, REASSERTION, decide))[0]

    async def _withdraw(self, org: str, license: str, begin: Fact, known: Versions) -> None:
        """The registered users that a license had before ``begin``."""

        async def decide() -> Plan[None]:
            gone: set[Target] = set()
            if await self.missing(org, [begin]):
                users = await registered.users(self._store, org, license)
                targets = [Target(USER, license, email) for email in users]
                gone = await self._from_before(org, begin, targets, known)
            key = key_names.registered(org, license)
            emails = sorted(one.email for one in gone)
            return Plan(
                None,
                "license.reassert",
                license,
                {"registered_users": emails[:MOST_SHOWN], "count": len(emails)},
                None,
                [Edit(key, email) for email in emails],
                endings=[EndOnline(license, email, "withdrawn", WITHDRAWN) for email in emails],
                is_silent=True,
            )

        await self._changes.make(org, REASSERTION, decide)

    async def _from_before(
        self, org: str, begin: Fact, targets: list[Target], known: Versions
    ) -> set[Target]:
        """Those of which nothing was said since ``begin``; all of them if that was the end."""
        if begin.value == NOTHING:
            return set(targets)
        stored_at = await said.versions(self._store, org, map(str, targets))
        return {
            one
            for one in targets
            if max(stored_at.get(str(one), 0), known.get(str(one), 0)) < begin.version
        }

    async def _take_away(self, org: str, facts: list[Fact]) -> set[str]:
        """Memberships, roles, registered users and keys, in one step."""

        async def decide() -> Plan[set[str]]:
            members = await stored.members(self._store, org)
            keys = {one.key_id: one for one in await stored.api_keys(self._store, org)}
            users = await self._users(org, facts)
            edits: list[Edit] = []
            endings: list[EndOnline] = []
            taken: list[Fact] = []
            for one in await self.missing(org, facts):
                target = Target.of(one.name)
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
                elif target.kind == USER and target.name in users:
                    is_registered = target.email in users[target.name]
                    if one.value == NOTHING and is_registered:
                        key = key_names.registered(org, target.name)
                        edits.append(Edit(key, target.email))
                        endings.append(EndOnline(target.name, target.email, "withdrawn", WITHDRAWN))
                    elif one.value != NOTHING and not is_registered:
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

    async def _users(self, org: str, facts: Iterable[Fact]) -> dict[str, dict[str, RegisteredUser]]:
        """The registered users of those licenses that the facts are about and that are there."""
        targets = [Target.of(one.name) for one in facts]
        wanted = {one.name for one in targets if one.kind == USER}
        names = await leases.license_names(self._store, org)
        return {
            name: await registered.users(self._store, org, name) for name in names if name in wanted
        }

    async def _count_offline(self, org: str, one: Fact) -> set[str]:
        """An offline license that is out there holds its seats, whatever else does."""
        if one.value == NOTHING or not await self.missing(org, [one]):
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

    async def _end(self, org: str, one: Fact) -> set[str]:
        """A session that was being ended; the mark also waits for one that is not back yet."""
        _, reason, text = msgpack.unpackb(one.value)
        lease_id = bytes.fromhex(Target.of(one.name).name)
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
        return set()

    async def _clear(self, org: str, begin: Fact, known: Versions) -> set[str]:
        """What an organization has from before it was removed, or made anew for somebody else.

        Nobody gets in with it, not even the last owner, and nothing starts.
        """
        uses = await self._licenses.uses(org)
        licenses = [Target(LICENSE, use.license) for use in uses]
        for target in await self._from_before(org, begin, licenses, known):
            removed = Fact(str(target), begin.version, NOTHING)
            await self._limit(org, target.name, [removed], known)

        async def decide() -> Plan[bool]:
            if not await self.missing(org, [begin]):
                return Plan(False, "organization.reassert", org)
            keys = await stored.api_keys(self._store, org)
            members = await stored.members(self._store, org)
            targets = [Target(KEY, one.key_id) for one in keys]
            targets += [Target(MEMBER, email) for email in members]
            old = await self._from_before(org, begin, targets, known)
            edits = [
                restricted_key(one, NOTHING).edit()
                for one in keys
                if one.state != REVOKED and Target(KEY, one.key_id) in old
            ]
            edits += [
                Edit(key_names.members(org), email)
                for email in members
                if Target(MEMBER, email) in old
            ]
            is_there = bool(uses or keys or members)
            return Plan(
                is_there,
                "organization.reassert",
                org,
                edits=edits,
                facts=_as_said([begin]) if is_there else {},
                is_silent=True,
            )

        # Last: with this the store knows of the beginning, and is not asked to forget any more.
        is_there, _ = await self._changes.make(org, REASSERTION, decide)
        return {begin.name} if is_there else set()


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
