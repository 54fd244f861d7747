"""The whole directory as one document, and putting it back into another store.

It holds organizations with their members, licenses, registered users, API keys (never a secret,
only its hash) and offline licenses that still count. What lives from moment to moment, such as
leases and registered machines, is not in it; neither are past sessions and the audit, which are
exported on their own. Of two stores that hold the same licenses only one may grant: stop the old
one first.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lessor_protocol.errors import Problem
from lessor_protocol.fields import invalid

from lessor_daemon.store import changes, offline, registered
from lessor_daemon.store import directory as stored
from lessor_daemon.store import keys as key_names
from lessor_daemon.store.changes import Edit
from lessor_daemon.store.errors import store_problems
from lessor_daemon.times import wall_text

from .backup_document import License, Organization, parts_of
from .changes import Plan, Quota, entry_of, remember
from .licenses import stored_fields
from .restrictions import OFFLINE, ORGANIZATION, THERE, Target

if TYPE_CHECKING:
    from collections.abc import Callable

    from lessor_daemon.store.offline import OfflineRecord
    from lessor_daemon.store.store import Store

    from .backup_document import Part
    from .callers import Actor
    from .changes import Changes, RunScript
    from .licenses import Fields, Licenses
    from .memory import Memory
    from .operator_audit import OperatorAudit

VERSION = 1
PAGE_BYTES = 256 * 1024
"""A page ends with the part that passes this: whoever bounds an answer to 1 MiB can read it."""


class Backup:
    """Reading all, and restoring. Every method may raise ``Problem``."""

    def __init__(
        self,
        store: Store,
        run: RunScript,
        changes: Changes,
        memory: Memory,
        licenses: Licenses,
        *,
        operator_audit: OperatorAudit,
        wall_ms: Callable[[], int],
    ) -> None:
        self._store = store
        self._run = run
        self._changes = changes
        self._memory = memory
        self._licenses = licenses
        self._operator_audit = operator_audit
        self._wall_ms = wall_ms

    async def read(self, cursor: str | None) -> dict[str, object]:
        """All organizations from ``cursor`` on, and ``next`` where they do not fit into one answer.

        An organization is read in one go. One that changed while its parts were fetched is refused
        with ``conflict`` and the cursor of its first part, since they would not fit together.
        """
        begins_at, number, version = _read_cursor(cursor)
        items: list[dict[str, object]] = []
        size = 0
        with store_problems():
            slugs = await stored.organizations(self._store)
            for slug in [one for one in slugs if one >= begins_at]:
                now = await changes.version(self._store, slug)
                if slug == begins_at and number > 1 and now != version:
                    raise Problem(
                        "conflict",
                        f"organization {slug!r} changed meanwhile: begin with its first part again",
                        data={"organization": slug, "cursor": f"{slug}:1:0"},
                    )
                first = number if slug == begins_at else 1
                for part in parts_of(await self._read(slug))[first - 1 :]:
                    if size > PAGE_BYTES:
                        return self._page(items, f"{slug}:{part.number}:{now}")
                    items.append(part.to_wire())
                    size += len(str(items[-1]["data"]))
        return self._page(items, None)

    def _page(self, items: list[dict[str, object]], following: str | None) -> dict[str, object]:
        made = {"version": VERSION, "made": wall_text(self._wall_ms()), "organizations": items}
        return made if following is None else {**made, "next": following}

    async def restore(self, actor: Actor, parts: list[Part], *, dry_run: bool) -> list[str]:
        """Make these organizations, part by part. Says their slugs.

        An organization is there, for everybody, with its last part. Raises ``Problem``
        ``conflict``, before anything is done, if there is one of the same slug, and where a part
        comes without the first.
        """
        with store_problems():
            taken = set(await stored.organizations(self._store))
            known = set()
            for part in parts:
                slug = part.organization.slug
                if slug in taken or (slug, part.number) in known:
                    raise Problem("conflict", f"there is an organization {slug!r} already")
                known.add((slug, part.number))
                has_begun = (slug, 1) in known or dry_run
                if not has_begun and await stored.organization_name(self._store, slug) is None:
                    raise Problem("conflict", f"the first part of {slug!r} has to come first")
        for part in [] if dry_run else parts:
            await self._restore(actor, part)
        return list(dict.fromkeys(part.organization.slug for part in parts))

    async def _read(self, slug: str) -> Organization:
        licenses = []
        for use in await self._licenses.uses(slug):
            users = await registered.users(self._store, slug, use.license)
            since = {user.email: user.since_wall_seconds for user in users.values()}
            licenses.append(License(use.license, stored_fields(use), since))
        now = self._wall_ms() / 1000
        return Organization(
            slug=slug,
            name=await stored.organization_name(self._store, slug) or slug,
            members=list((await stored.members(self._store, slug)).values()),
            licenses=licenses,
            keys=await stored.api_keys(self._store, slug),
            offline=[
                one
                for one in await offline.records(self._store, slug)
                if not one.returned and one.expires > now
            ],
        )

    async def _restore(self, actor: Actor, part: Part) -> None:
        """Cut short, it leaves an organization that is not listed, and may be called again."""
        wanted = part.organization
        slug = wanted.slug
        with store_problems():
            key_ids = [record.key_id for record in wanted.keys]
            if refused := await stored.place_keys(self._store, key_ids, slug):
                raise Problem("conflict", f"the id of key {refused[0]!r} is in use elsewhere")
        if part.number == 1:
            await self._begin_anew(actor, slug)
        for license in wanted.licenses:
            await self._set(actor, slug, license.name, license.fields)
        for offline_license in wanted.offline:
            # It counts again, even if the seats were lowered since.
            await self._issue(actor, slug, offline_license)

        async def decide() -> Plan[None]:
            edits = [Edit(key_names.organization(slug), "name", wanted.name)]
            edits += [member.edit(slug) for member in wanted.members]
            edits += [record.edit() for record in wanted.keys]
            edits += [
                Edit(key_names.registered(slug, license.name), email, str(since))
                for license in wanted.licenses
                for email, since in license.users.items()
            ]
            shown = {"name": wanted.name, "part": part.number, "parts": part.of}
            return Plan(None, "organization.restore", slug, None, shown, edits)

        await self._changes.make(slug, actor, decide)
        if part.is_last:
            await self._operator_audit.record(actor, "organization.restore", slug)
            with store_problems():
                # Last: an organization that is listed is complete.
                await stored.list_organization(self._store, slug)

    async def _begin_anew(self, actor: Actor, slug: str) -> None:
        """What daemons remember of an earlier organization of this name counts no more."""

        async def decide() -> Plan[None]:
            return Plan(None, "organization.restore", slug, facts={ORGANIZATION: (0, THERE)})

        await self._changes.make(slug, actor, decide)

    async def _set(self, actor: Actor, slug: str, name: str, fields: Fields) -> None:
        async def decide() -> Plan[None]:
            quota = Quota(name, fields, force=True)
            return Plan(None, "license.restore", name, quota=quota)

        await self._changes.make(slug, actor, decide)

    async def _issue(self, actor: Actor, slug: str, record: OfflineRecord) -> None:
        with store_problems():
            if await offline.find(self._store, slug, record.serial) is not None:
                return  # an earlier attempt came so far
        plan = Plan(None, "offline.restore", record.serial)
        facts = {str(Target(OFFLINE, record.serial)): (0, record.pack())}
        _, issued = await self._run(
            slug,
            lambda context: offline.issue(
                self._store,
                slug,
                context,
                record,
                change_id=os.urandom(8),
                entry=entry_of(actor, plan),
                said=facts,
                is_forgotten=True,
            ),
        )
        await remember(self._memory, slug, issued.version, facts)


def _read_cursor(cursor: str | None) -> tuple[str, int, int]:
    """Slug, part and version at which to go on. Raises ``Problem`` ``invalid``."""
    if cursor is None:
        return "", 1, 0
    slug, _, place = cursor.partition(":")
    number, _, version = place.partition(":")
    if not (slug and _is_number(number) and int(number) and _is_number(version)):
        raise invalid("cursor", "must be the `next` of an earlier page")
    return slug, int(number), int(version)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 16
