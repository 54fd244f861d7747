"""Organizations: the operator makes and removes them, with their first owner."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from lessor_protocol.errors import Problem

from lessor_daemon.store import directory as stored
from lessor_daemon.store import keys as key_names
from lessor_daemon.store import leases
from lessor_daemon.store.changes import Edit
from lessor_daemon.store.directory import Member
from lessor_daemon.store.errors import store_problems

from .changes import Plan
from .etags import check_match
from .restrictions import NOTHING, ORGANIZATION, THERE

if TYPE_CHECKING:
    from collections.abc import Callable

    from lessor_daemon.store.store import Store

    from .api_keys import MadeKey
    from .callers import Actor
    from .changes import Changes
    from .keys import Keys
    from .operator_audit import OperatorAudit

OWNER_KEY = "owner"


class Organizations:
    """All organizations of a store. Every method may raise ``Problem``."""

    def __init__(
        self,
        store: Store,
        changes: Changes,
        keys: Keys,
        operator_audit: OperatorAudit,
        wall_ms: Callable[[], int],
    ) -> None:
        self._store = store
        self._changes = changes
        self._keys = keys
        self._operator_audit = operator_audit
        self._wall_ms = wall_ms

    async def all(self, only: str | None) -> list[dict[str, object]]:
        """All, or the one that a key belongs to."""
        with store_problems():
            slugs = [only] if only else await stored.organizations(self._store)
            names = [await stored.organization_name(self._store, slug) for slug in slugs]
        return [_shown(slug, name) for slug, name in zip(slugs, names, strict=True)]

    async def get(self, slug: str) -> dict[str, object]:
        """One. Raises ``Problem`` ``not_found``.

        One that is listed and has no name goes by its slug: its removal was cut off, or the store
        lost a part of it, and whoever sees it can remove it again.
        """
        with store_problems():
            name = await stored.organization_name(self._store, slug)
            if name is None and not await stored.is_listed(self._store, slug):
                raise Problem("not_found", f"no organization {slug!r}")
        return _shown(slug, name)

    async def create(
        self, actor: Actor, slug: str, name: str, owner: str
    ) -> tuple[dict[str, object], MadeKey]:
        """Make an organization, its first owner and their key, whose secret is in the answer."""
        made = self._keys.draft(slug, OWNER_KEY, frozenset({"run", "read", "admin"}), member=owner)
        with store_problems():
            await stored.place_key(self._store, made.record.key_id, slug)
        organization: dict[str, object] = {"slug": slug, "name": name}

        async def decide() -> Plan[None]:
            if await stored.organization_name(self._store, slug) is not None:
                raise Problem("conflict", f"there is an organization {slug!r} already")
            member = Member(owner, "owner", self._wall_ms() // 1000)
            return Plan(
                None,
                "organization.create",
                slug,
                after=organization | {"owner": owner},
                edits=[
                    Edit(key_names.organization(slug), "name", name),
                    member.edit(slug),
                    made.record.edit(),
                ],
                facts={ORGANIZATION: (0, THERE)},
            )

        await self._changes.make(slug, actor, decide)
        await self._operator_audit.record(actor, "organization.create", slug)
        with store_problems():
            # Last: an organization that is listed is complete.
            await stored.list_organization(self._store, slug)
        return organization, made

    async def rename(
        self, actor: Actor, slug: str, name: str, if_match: str | None = None
    ) -> dict[str, object]:
        """Change the name people see."""

        async def decide() -> Plan[dict[str, object]]:
            before = await self.get(slug)
            check_match(if_match, before)
            after = before | {"name": name}
            edits = [] if after == before else [Edit(key_names.organization(slug), "name", name)]
            return Plan(after, "organization.change", slug, before, after, edits)

        return (await self._changes.make(slug, actor, decide))[0]

    async def remove(self, actor: Actor, slug: str, *, dry_run: bool) -> None:
        """Remove an organization and all it has, its audit too. It must hold no seat.

        The lease clock stays: should the slug be used again, its tokens still only grow.
        """
        key_ids: list[str] = []

        async def decide() -> Plan[None]:
            await self.get(slug)
            names = await leases.license_names(self._store, slug)
            records = await stored.api_keys(self._store, slug)
            key_ids[:] = [record.key_id for record in records]
            gone = [key for name in names for key in key_names.of_license(slug, name)]
            gone += [
                key_names.organization(slug),
                key_names.members(slug),
                key_names.api_keys(slug),
                key_names.keys_used(slug),
                key_names.licenses(slug),
                key_names.offline(slug),
                key_names.events(slug),
                key_names.audit(slug),
                key_names.facts(slug),
                key_names.facts_at(slug),
            ]
            members = await stored.members(self._store, slug)
            before = {"members": [asdict(one) for one in members.values()], "licenses": names}
            edits = [Edit(key) for key in gone]
            return Plan(
                None,
                "organization.remove",
                slug,
                before,
                None,
                edits,
                unused=names,
                is_recorded=False,
                facts={ORGANIZATION: (0, NOTHING)},
            )

        await self._changes.make(slug, actor, decide, dry_run=dry_run)
        if dry_run:
            return
        await self._operator_audit.record(actor, "organization.remove", slug)
        with store_problems():
            await stored.unlist_organization(self._store, slug)
            await stored.forget_key_places(self._store, key_ids)


def _shown(slug: str, name: str | None) -> dict[str, object]:
    """One as the wire shows it; see ``get`` for one without a name."""
    return {"slug": slug, "name": name or slug}
