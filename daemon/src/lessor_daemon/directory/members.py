"""Members and their roles. Only owners make and unmake owners, and one owner always stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_protocol.errors import Problem

from lessor_daemon.store import directory as stored
from lessor_daemon.store import keys as key_names
from lessor_daemon.store import leases
from lessor_daemon.store.changes import Edit, EndOnline
from lessor_daemon.store.directory import FINISHING, REVOKED, Member
from lessor_daemon.store.errors import store_problems
from lessor_daemon.times import wall_text

from .callers import Rank
from .changes import Plan
from .etags import check_match

if TYPE_CHECKING:
    from collections.abc import Callable

    from lessor_daemon.store.store import Store

    from .callers import Actor, Caller
    from .changes import Changes

OWNER = "owner"
MOST_MEMBERS = 10_000


class Members:
    """The members of organizations. Every method may raise ``Problem``."""

    def __init__(self, store: Store, changes: Changes, wall_ms: Callable[[], int]) -> None:
        self._store = store
        self._changes = changes
        self._wall_ms = wall_ms

    async def all(self, org: str) -> list[dict[str, object]]:
        """All, by e-mail address."""
        with store_problems():
            found = await stored.members(self._store, org)
        return [to_wire(one) for one in found.values()]

    async def get(self, org: str, email: str) -> dict[str, object]:
        """One. Raises ``Problem`` ``not_found``."""
        with store_problems():
            return to_wire(_find(await stored.members(self._store, org), email))

    async def add(
        self, actor: Actor, caller: Caller, org: str, email: str, role: str
    ) -> dict[str, object]:
        """Add a member."""

        async def decide() -> Plan[dict[str, object]]:
            members = await stored.members(self._store, org)
            _require_owner_for(caller, role)
            if email in members:
                raise Problem("conflict", f"{email} is a member already")
            if len(members) >= MOST_MEMBERS:
                raise Problem("conflict", f"an organization has at most {MOST_MEMBERS} members")
            made = Member(email, role, self._wall_ms() // 1000)
            after = to_wire(made)
            return Plan(after, "member.add", email, None, after, [made.edit(org)])

        return (await self._changes.make(org, actor, decide))[0]

    async def change(
        self,
        actor: Actor,
        caller: Caller,
        org: str,
        email: str,
        *,
        role: str,
        if_match: str | None = None,
    ) -> dict[str, object]:
        """Give a member another role."""

        async def decide() -> Plan[dict[str, object]]:
            members = await stored.members(self._store, org)
            before = _find(members, email)
            check_match(if_match, settings(before))
            _require_owner_for(caller, before.role, role)
            if role != OWNER:
                _require_another_owner(members, before)
            after = Member(email, role, before.since_wall_seconds)
            edits = [] if after == before else [after.edit(org)]
            shown = to_wire(after)
            return Plan(shown, "member.change", email, to_wire(before), shown, edits)

        return (await self._changes.make(org, actor, decide))[0]

    async def remove(
        self,
        actor: Actor,
        caller: Caller,
        org: str,
        email: str,
        *,
        end_sessions: bool,
        dry_run: bool,
        if_match: str | None = None,
    ) -> dict[str, object]:
        """Remove a member: named-user sessions end and personal keys are revoked, in the same step.

        Floating sessions that run under those keys finish, unless ``end_sessions``: then the keys
        do not renew them any more.
        """

        async def decide() -> Plan[int]:
            members = await stored.members(self._store, org)
            before = _find(members, email)
            check_match(if_match, settings(before))
            _require_owner_for(caller, before.role)
            _require_another_owner(members, before)
            state = REVOKED if end_sessions else FINISHING
            records = await stored.api_keys(self._store, org)
            keys = [one for one in records if one.member == email and one.state != REVOKED]
            names = await leases.license_names(self._store, org)
            return Plan(
                len(keys),
                "member.remove",
                email,
                to_wire(before),
                {"keys_revoked": [one.key_id for one in keys]},
                edits=[
                    Edit(key_names.members(org), email),
                    *(one.revoked(state).edit() for one in keys),
                    *(Edit(key_names.registered(org, name), email) for name in names),
                ],
                endings=[
                    EndOnline(name, email, "member_removed", "you are not a member any more")
                    for name in names
                ],
            )

        count, ending = await self._changes.make(org, actor, decide, dry_run=dry_run)
        return {
            "removed": email,
            "dry_run": dry_run,
            "keys_revoked": count,
            "sessions_ended": 0 if dry_run else ending,
        }


def to_wire(member: Member) -> dict[str, object]:
    """A member as the wire shows it."""
    shown: dict[str, object] = {"email": member.email, "role": member.role}
    if member.since_wall_seconds:
        shown["since"] = wall_text(member.since_wall_seconds * 1000)
    return shown


def settings(member: Member) -> dict[str, object]:
    """What an ``ETag`` of a member stands for."""
    return {"email": member.email, "role": member.role}


def _find(members: dict[str, Member], email: str) -> Member:
    found = members.get(email)
    if found is None:
        raise Problem("not_found", f"no member {email}")
    return found


def _require_owner_for(caller: Caller, *roles: str) -> None:
    if OWNER in roles and caller.rank < Rank.OWNER:
        raise Problem("forbidden", "only an owner makes, changes or removes an owner")


def _require_another_owner(members: dict[str, Member], leaving: Member) -> None:
    others = [one for one in members.values() if one.role == OWNER and one.email != leaving.email]
    if leaving.role == OWNER and not others:
        raise Problem(
            "conflict", f"{leaving.email} is the last owner; make somebody else an owner first"
        )
