"""Service keys and personal keys: making, rotating and revoking them.

A member manages their own; an admin all but those of an owner, with which the admin would become
one. A secret is in the answer that makes it and nowhere else.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lessor_protocol.errors import Problem
from lessor_protocol.fields import invalid

from lessor_daemon.store import directory as stored
from lessor_daemon.store import leases
from lessor_daemon.store.directory import FINISHING, REVOKED, KeyRecord
from lessor_daemon.store.errors import store_problems
from lessor_daemon.times import wall_text

from . import api_keys
from .api_keys import MadeKey
from .callers import ADMIN, Rank
from .changes import Plan
from .etags import check_match

if TYPE_CHECKING:
    from collections.abc import Callable

    from lessor_daemon.store.store import Store

    from .callers import Actor, Caller
    from .changes import Changes

MOST_KEYS = 10_000
"""Of one organization, revoked ones too: they stay for the record."""


class Keys:
    """The API keys of organizations. Every method may raise ``Problem``."""

    def __init__(self, store: Store, changes: Changes, wall_ms: Callable[[], int]) -> None:
        self._store = store
        self._changes = changes
        self._wall_ms = wall_ms

    async def all(self, caller: Caller, org: str, member: str | None) -> list[dict[str, object]]:
        """All that the caller may see, by name."""
        with store_problems():
            records = await stored.api_keys(self._store, org)
            used = await stored.keys_used(self._store, org)
        return [
            self.to_wire(one, used.get(one.key_id))
            for one in records
            if _may_see(caller, one) and (member is None or one.member == member)
        ]

    async def get(self, caller: Caller, org: str, key_id: str) -> dict[str, object]:
        """One. Raises ``Problem`` ``not_found``."""
        with store_problems():
            record = await self._find(caller, org, key_id)
            used = await stored.keys_used(self._store, org)
        return self.to_wire(record, used.get(key_id))

    def draft(
        self,
        org: str,
        name: str,
        scopes: frozenset[str],
        *,
        member: str | None = None,
        license: str | None = None,
        expires_wall_seconds: int = 0,
    ) -> MadeKey:
        """A new key that is not stored yet."""
        key_id, secret = api_keys.make_id(), api_keys.make_secret()
        record = KeyRecord(
            key_id=key_id,
            org=org,
            name=name,
            member=member or "",
            scopes=scopes,
            digest=api_keys.digest(secret),
            expires_wall_seconds=expires_wall_seconds,
            license=license or "",
            created_wall_seconds=self._wall_ms() // 1000,
        )
        return MadeKey(record, api_keys.key_text(key_id, secret))

    async def make(self, actor: Actor, caller: Caller, org: str, made: MadeKey) -> MadeKey:
        """Store a drafted key."""
        record = made.record
        if record.license and ADMIN in record.scopes:
            raise invalid("license", "cannot be given for a key with the scope admin")
        if 0 < record.expires_wall_seconds <= self._wall_ms() // 1000:
            raise invalid("expires", "must lie in the future")
        with store_problems():
            await stored.place_key(self._store, record.key_id, org)

        async def decide() -> Plan[MadeKey]:
            await self._require_power_over(caller, org, record)
            if record.license:
                names = await leases.license_names(self._store, org)
                if record.license not in names:
                    raise Problem("unknown_license", f"there is no license {record.license!r}")
            records = await stored.api_keys(self._store, org)
            if len(records) >= MOST_KEYS:
                raise Problem("conflict", f"an organization has at most {MOST_KEYS} keys")
            if any(_same_name(one, record) for one in records):
                raise Problem("conflict", f"there is a key {record.name!r} already")
            after = self.settings(record)
            return Plan(made, "key.make", record.key_id, None, after, [record.edit()])

        return (await self._changes.make(org, actor, decide))[0]

    async def change(
        self,
        actor: Actor,
        caller: Caller,
        org: str,
        key_id: str,
        *,
        scopes: frozenset[str] | None,
        expires_wall_seconds: int | None,
        if_match: str | None = None,
    ) -> dict[str, object]:
        """Change scopes or expiry; None leaves one as it is, an expiry of 0 is none."""

        async def decide() -> Plan[KeyRecord]:
            before = await self._find(caller, org, key_id)
            check_match(if_match, self.settings(before))
            await self._require_power_over(caller, org, before)
            after = before
            if scopes is not None:
                after = replace(after, scopes=scopes)
            if expires_wall_seconds is not None:
                after = replace(after, expires_wall_seconds=expires_wall_seconds)
            if after.license and ADMIN in after.scopes:
                raise invalid("scopes", "must not hold admin for a key of one license")
            edits = [] if after == before else [after.edit()]
            shown = (self.settings(before), self.settings(after))
            return Plan(after, "key.change", key_id, *shown, edits)

        return self.to_wire((await self._changes.make(org, actor, decide))[0])

    async def rotate(
        self,
        actor: Actor,
        caller: Caller,
        org: str,
        key_id: str,
        *,
        overlap_seconds: int,
        if_match: str | None = None,
    ) -> MadeKey:
        """Give a key a new secret; the one before stays good for ``overlap_seconds``.

        Raises ``Problem`` ``conflict`` while that of an earlier rotation does: a key has one old
        secret, and who runs with it is not locked out unasked. Without an overlap both are void.
        """
        secret = api_keys.make_secret()

        async def decide() -> Plan[KeyRecord]:
            before = await self._find(caller, org, key_id)
            check_match(if_match, self.settings(before))
            await self._require_power_over(caller, org, before)
            if before.state:
                raise Problem("conflict", "a revoked key gets no new secret; make a new key")
            if overlap_seconds and self._old_secret_holds(before):
                old_until = wall_text(before.old_until_wall_seconds * 1000)
                raise Problem(
                    "conflict",
                    f"the secret from before its last rotation is valid until {old_until}; rotate "
                    "it again after that, or without overlap, which ends both secrets at once",
                )
            until = self._wall_ms() // 1000 + overlap_seconds if overlap_seconds else 0
            after = replace(
                before,
                digest=api_keys.digest(secret),
                old_digest=before.digest if until else b"",
                old_until_wall_seconds=until,
            )
            shown = {"old_secret_until": wall_text(until * 1000)} if until else {}
            return Plan(after, "key.rotate", key_id, None, shown, [after.edit()])

        record, _ = await self._changes.make(org, actor, decide)
        return MadeKey(record, api_keys.key_text(key_id, secret))

    async def revoke(
        self,
        actor: Actor,
        caller: Caller,
        org: str,
        key_id: str,
        *,
        end_sessions: bool,
        dry_run: bool,
        if_match: str | None = None,
    ) -> None:
        """Revoke a key. Unless ``end_sessions``, what it holds now may finish."""

        async def decide() -> Plan[None]:
            before = await self._find(caller, org, key_id)
            check_match(if_match, self.settings(before))
            await self._require_power_over(caller, org, before)
            after = before.revoked(REVOKED if end_sessions else FINISHING)
            edits = [] if after == before or before.state == REVOKED else [after.edit()]
            shown = (self.settings(before), self.settings(after))
            return Plan(None, "key.revoke", key_id, *shown, edits)

        await self._changes.make(org, actor, decide, dry_run=dry_run)

    def to_wire(self, record: KeyRecord, used_wall_seconds: int | None = None) -> dict[str, object]:
        """A key as the wire shows it, without any secret."""
        shown = self.settings(record)
        if used_wall_seconds:
            shown["last_used"] = wall_text(used_wall_seconds * 1000)
        if self._old_secret_holds(record):
            shown["old_secret_until"] = wall_text(record.old_until_wall_seconds * 1000)
        return shown

    def settings(self, record: KeyRecord) -> dict[str, object]:
        """What an ``ETag`` of a key stands for, and the audit shows."""
        shown: dict[str, object] = {
            "id": record.key_id,
            "name": record.name,
            "scopes": sorted(record.scopes),
            "state": self._state(record),
        }
        if record.member:
            shown["member"] = record.member
        if record.license:
            shown["license"] = record.license
        if record.created_wall_seconds:
            shown["created"] = wall_text(record.created_wall_seconds * 1000)
        if record.expires_wall_seconds:
            shown["expires"] = wall_text(record.expires_wall_seconds * 1000)
        return shown

    def _old_secret_holds(self, record: KeyRecord) -> bool:
        return record.old_until_wall_seconds * 1000 > self._wall_ms()

    def _state(self, record: KeyRecord) -> str:
        if record.state:
            return record.state
        expired = 0 < record.expires_wall_seconds * 1000 <= self._wall_ms()
        return "expired" if expired else "active"

    async def _find(self, caller: Caller, org: str, key_id: str) -> KeyRecord:
        record = await stored.key(self._store, org, key_id)
        if record is None or not _may_see(caller, record):
            raise Problem("not_found", f"no API key {key_id!r}")
        return record

    async def _require_power_over(self, caller: Caller, org: str, record: KeyRecord) -> None:
        if not record.member:
            if caller.rank < Rank.ADMIN:
                raise Problem("forbidden", "a service key is made and changed by an admin")
            return
        member = await stored.member(self._store, org, record.member)
        if member is None:
            raise Problem("not_found", f"no member {record.member}")
        if record.member == caller.member:
            return
        if caller.rank < max(Rank.ADMIN, Rank[member.role.upper()]):
            raise Problem("forbidden", f"the keys of {record.member} are not yours to manage")


def _may_see(caller: Caller, record: KeyRecord) -> bool:
    return caller.rank >= Rank.ADMIN or record.member == caller.member


def _same_name(one: KeyRecord, other: KeyRecord) -> bool:
    return not one.state and (one.name, one.member) == (other.name, other.member)
