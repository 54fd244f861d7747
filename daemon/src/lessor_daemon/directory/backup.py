"""The whole directory as one document, and putting it back into another store.

It holds organizations with their members, licenses, registered users, API keys (never a secret,
only its hash) and offline licenses that still count. What lives from moment to moment, such as
leases and registered machines, is not in it; neither are past sessions and the audit, which are
exported on their own. Of two stores that hold the same licenses only one may grant: stop the old
one first.
"""

from __future__ import annotations

import os
import zlib
from base64 import b64decode, b64encode
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import msgpack
from lessor_protocol.errors import Problem
from lessor_protocol.fields import invalid

from lessor_daemon.store import directory as stored
from lessor_daemon.store import keys as key_names
from lessor_daemon.store import offline, registered
from lessor_daemon.store.changes import Edit
from lessor_daemon.store.directory import KeyRecord, Member
from lessor_daemon.store.errors import store_problems
from lessor_daemon.store.offline import OfflineRecord
from lessor_daemon.times import wall_text

from .changes import Plan, Quota, entry_of, remember
from .licenses import stored_fields
from .restrictions import OFFLINE, ORGANIZATION, THERE, Target

if TYPE_CHECKING:
    from collections.abc import Callable

    from lessor_daemon.store.store import Store

    from .callers import Actor
    from .changes import Changes, RunScript
    from .licenses import Fields, Licenses
    from .memory import Memory
    from .operator_audit import OperatorAudit

VERSION = 1
MOST_UNPACKED_BYTES = 64 << 20
"""An organization is packed tightly; this is how far it may unfold."""


@dataclass(frozen=True, slots=True)
class _License:
    name: str
    fields: Fields
    users: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Organization:
    """One organization, whole."""

    slug: str
    name: str
    members: list[Member]
    licenses: list[_License]
    keys: list[KeyRecord]
    offline: list[OfflineRecord]

    def to_wire(self) -> dict[str, object]:
        fields = asdict(self)
        for key in fields["keys"]:
            key["scopes"] = sorted(key["scopes"])
        return {
            "slug": self.slug,
            "name": self.name,
            "members": len(self.members),
            "licenses": len(self.licenses),
            "keys": len(self.keys),
            "data": b64encode(zlib.compress(msgpack.packb(fields))).decode(),
        }

    @classmethod
    def from_data(cls, data: str, field: str) -> _Organization:
        try:
            unpacker = zlib.decompressobj()
            packed = unpacker.decompress(b64decode(data, validate=True), MOST_UNPACKED_BYTES)
            if not unpacker.eof:
                raise ValueError("it is cut short, or unfolds too far")
            fields: dict[str, Any] = msgpack.unpackb(packed)
            return cls(
                slug=fields["slug"],
                name=fields["name"],
                members=[Member(**one) for one in fields["members"]],
                licenses=[_License(**one) for one in fields["licenses"]],
                keys=[
                    KeyRecord(**(one | {"scopes": frozenset(one["scopes"])}))
                    for one in fields["keys"]
                ],
                offline=[OfflineRecord(**one) for one in fields["offline"]],
            )
        except (ValueError, KeyError, TypeError, zlib.error, msgpack.UnpackException) as error:
            raise invalid(field, f"is not an organization of a backup: {error}") from None


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

    async def read(self) -> dict[str, object]:
        """All organizations. Each is read in one go; a change between two of them may show."""
        with store_problems():
            slugs = await stored.organizations(self._store)
            organizations = [await self._read(slug) for slug in slugs]
        return {
            "version": VERSION,
            "made": wall_text(self._wall_ms()),
            "organizations": [one.to_wire() for one in organizations],
        }

    async def restore(
        self, actor: Actor, packed: list[tuple[str, str]], *, dry_run: bool
    ) -> list[str]:
        """Make these organizations; ``packed`` is the field and the data of each. Says their slugs.

        Raises ``Problem`` ``conflict``, before anything is done, if there is one of the same slug.
        """
        wanted = [_Organization.from_data(data, field) for field, data in packed]
        with store_problems():
            taken = set(await stored.organizations(self._store))
        for one in wanted:
            if one.slug in taken:
                raise Problem("conflict", f"there is an organization {one.slug!r} already")
            taken.add(one.slug)
        for one in [] if dry_run else wanted:
            await self._restore(actor, one)
        return [one.slug for one in wanted]

    async def _read(self, slug: str) -> _Organization:
        licenses = []
        for use in await self._licenses.uses(slug):
            users = await registered.users(self._store, slug, use.license)
            since = {user.email: user.since_wall_seconds for user in users.values()}
            licenses.append(_License(use.license, stored_fields(use), since))
        now = self._wall_ms() / 1000
        return _Organization(
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

    async def _restore(self, actor: Actor, wanted: _Organization) -> None:
        """Cut short, it leaves an organization that is not listed, and may be called again."""
        slug = wanted.slug
        with store_problems():
            for record in wanted.keys:
                if not await stored.place_key(self._store, record.key_id, slug):
                    raise Problem("conflict", f"the id of key {record.name!r} is in use elsewhere")
        await self._begin_anew(actor, slug)
        for license in wanted.licenses:
            await self._restore_license(actor, wanted, license)

        async def decide() -> Plan[None]:
            edits = [Edit(key_names.organization(slug), "name", wanted.name)]
            edits += [member.edit(slug) for member in wanted.members]
            edits += [record.edit() for record in wanted.keys]
            edits += [
                Edit(key_names.registered(slug, license.name), email, str(since))
                for license in wanted.licenses
                for email, since in license.users.items()
            ]
            return Plan(None, "organization.restore", slug, None, {"name": wanted.name}, edits)

        await self._changes.make(slug, actor, decide)
        await self._operator_audit.record(actor, "organization.restore", slug)
        with store_problems():
            # Last: an organization that is listed is complete.
            await stored.list_organization(self._store, slug)

    async def _begin_anew(self, actor: Actor, slug: str) -> None:
        """What daemons remember of an earlier organization of this name counts no more."""

        async def decide() -> Plan[None]:
            return Plan(None, "organization.restore", slug, facts={ORGANIZATION: (0, THERE)})

        await self._changes.make(slug, actor, decide)

    async def _restore_license(
        self, actor: Actor, wanted: _Organization, license: _License
    ) -> None:
        """Offline licenses that were issued count again, even if the seats were lowered since."""
        await self._set(actor, wanted.slug, license.name, license.fields)
        for record in wanted.offline:
            if record.license == license.name:
                await self._issue(actor, wanted.slug, record)

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
