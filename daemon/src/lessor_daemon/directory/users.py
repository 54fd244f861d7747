"""Registered users of named-user licenses. Never more than seats; each is a member."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_protocol.errors import Problem
from lessor_protocol.lease_id import format_lease_id

from lessor_daemon.store import directory as stored
from lessor_daemon.store import keys as key_names
from lessor_daemon.store import leases, registered
from lessor_daemon.store.changes import Edit, EndOnline
from lessor_daemon.store.errors import store_problems
from lessor_daemon.times import wall_text

from .changes import Plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from lessor_daemon.store.leases import LicenseUse
    from lessor_daemon.store.registered import RegisteredUser
    from lessor_daemon.store.store import Store

    from .callers import Actor
    from .changes import Changes
    from .licenses import Licenses

WITHDRAWN = "the license was withdrawn from you"


class RegisteredUsers:
    """Who may use which named-user license. Every method may raise ``Problem``."""

    def __init__(
        self, store: Store, changes: Changes, licenses: Licenses, wall_ms: Callable[[], int]
    ) -> None:
        self._store = store
        self._changes = changes
        self._licenses = licenses
        self._wall_ms = wall_ms

    async def all(self, org: str, license: str) -> list[dict[str, object]]:
        """All, by e-mail address, and who of them is online where."""
        await self._named_user(org, license)
        with store_problems():
            found = await registered.users(self._store, org, license)
            return [await self._to_wire(org, one) for one in found.values()]

    async def assign(
        self, actor: Actor, org: str, license: str, email: str
    ) -> tuple[dict[str, object], bool]:
        """Put a member on the list. Says whether they were not on it before.

        Raises ``Problem`` ``seats_exhausted`` when all seats have their users.
        """

        async def decide() -> Plan[bool]:
            use = await self._named_user(org, license)
            users = await registered.users(self._store, org, license)
            if email in users:
                return Plan(False, "user.assign", email)
            await self._require_member(org, email)
            if len(users) >= use.seats:
                raise Problem(
                    "seats_exhausted",
                    f"each seat of license {license!r} ({use.seats}) has a registered user; "
                    "withdraw it from one, or add seats",
                    data={"seats": use.seats, "registered_users": len(users)},
                )
            after = {"license": license, "email": email}
            return Plan(True, "user.assign", email, None, after, [self._edit(org, license, email)])

        is_new, _ = await self._changes.make(org, actor, decide)
        return await self._get(org, license, email), is_new

    async def withdraw(
        self, actor: Actor, org: str, license: str, email: str, *, dry_run: bool
    ) -> int:
        """Take a member off the list; their online session ends at once. Says how many ended."""

        async def decide() -> Plan[None]:
            await self._named_user(org, license)
            await self._require_user(org, license, email)
            return Plan(
                None,
                "user.withdraw",
                email,
                {"license": license, "email": email},
                None,
                edits=[Edit(key_names.registered(org, license), email)],
                endings=[EndOnline(license, email, "withdrawn", WITHDRAWN)],
            )

        return (await self._changes.make(org, actor, decide, dry_run=dry_run))[1]

    async def transfer(
        self, actor: Actor, org: str, license: str, email: str, to: str
    ) -> dict[str, object]:
        """Take one member off the list and put another on it, in one step."""

        async def decide() -> Plan[None]:
            await self._named_user(org, license)
            await self._require_user(org, license, email)
            await self._require_member(org, to)
            if to in await registered.users(self._store, org, license):
                raise Problem("conflict", f"{to} is a registered user already")
            return Plan(
                None,
                "user.transfer",
                email,
                {"license": license, "email": email},
                {"license": license, "email": to},
                edits=[
                    Edit(key_names.registered(org, license), email),
                    self._edit(org, license, to),
                ],
                endings=[EndOnline(license, email, "withdrawn", WITHDRAWN)],
            )

        await self._changes.make(org, actor, decide)
        return await self._get(org, license, to)

    def _edit(self, org: str, license: str, email: str) -> Edit:
        return Edit(key_names.registered(org, license), email, str(self._wall_ms() // 1000))

    async def _named_user(self, org: str, license: str) -> LicenseUse:
        use = await self._licenses.find(org, license)
        if use.kind != leases.NAMED_USER:
            raise Problem("conflict", f"license {license!r} is floating: any member may use it")
        return use

    async def _require_member(self, org: str, email: str) -> None:
        if await stored.member(self._store, org, email) is None:
            raise Problem("not_found", f"no member {email}; add them first")

    async def _require_user(self, org: str, license: str, email: str) -> None:
        if email not in await registered.users(self._store, org, license):
            raise Problem("not_found", f"{email} is not a registered user of {license!r}")

    async def _get(self, org: str, license: str, email: str) -> dict[str, object]:
        with store_problems():
            users = await registered.users(self._store, org, license)
            found = users.get(email)
            if found is None:
                raise Problem("not_found", f"{email} is not a registered user any more")
            return await self._to_wire(org, found)

    async def _to_wire(self, org: str, user: RegisteredUser) -> dict[str, object]:
        shown: dict[str, object] = {
            "email": user.email,
            "since": wall_text(user.since_wall_seconds * 1000),
        }
        lease = await leases.find(self._store, org, user.lease_id) if user.lease_id else None
        if lease is not None:
            shown["online"] = {
                "session": format_lease_id(lease.lease_id),
                "machine": lease.machine,
                "since": wall_text(lease.granted_at_wall_ms),
            }
        return shown
