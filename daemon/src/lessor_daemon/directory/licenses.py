"""Licenses: what an organization subscribed to, and how much of it is in use."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lessor_protocol.errors import Problem
from lessor_protocol.fields import invalid

from lessor_daemon.store import keys as key_names
from lessor_daemon.store import leases
from lessor_daemon.store.changes import AS_SEATS, UNLIMITED, Edit
from lessor_daemon.store.errors import store_problems
from lessor_daemon.times import wall_text

from .changes import Plan, Quota
from .etags import check_match
from .policy import policy_to_wire, refuse_for_named_users, unpack_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lessor_daemon.store.leases import LicenseUse
    from lessor_daemon.store.store import Store

    from .callers import Actor
    from .changes import Changes

DAY_SECONDS = 86_400
MOST_LICENSES = 1_000
REMIND_DAYS = (30, 7, 1)
"""How long before its end a license's term is told of."""

Fields = dict[str, str | int | bytes]
"""Settings as the ``quota`` script takes them."""

DEFAULTS: Fields = {
    "kind": leases.FLOATING,
    "machines": AS_SEATS,
    "ttl": 30_000,
    "starts": 0,
    "expires": 0,
    "retention": -1,
    "offline_allowed": 1,
    "product": "",
    "policy": b"",
    "drained": 0,
    "idle": 0,
}


class Licenses:
    """The licenses of organizations. Every method may raise ``Problem``."""

    def __init__(
        self,
        store: Store,
        changes: Changes,
        wall_ms: Callable[[], int],
        ttl_range_ms: tuple[int, int],
    ) -> None:
        self._store = store
        self._changes = changes
        self._wall_ms = wall_ms
        self._ttl_range_ms = ttl_range_ms

    async def all(self, org: str) -> list[dict[str, object]]:
        """All, by name."""
        return [self.to_wire(use) for use in await self.uses(org)]

    async def uses(self, org: str) -> list[LicenseUse]:
        """All, by name, in numbers."""
        with store_problems():
            names = await leases.license_names(self._store, org)
            return await leases.license_use(self._store, org, names)

    async def get(self, org: str, name: str) -> dict[str, object]:
        """One. Raises ``Problem`` ``unknown_license``."""
        return self.to_wire(await self.find(org, name))

    async def find(self, org: str, name: str) -> LicenseUse:
        """One, in numbers. Raises ``Problem`` ``unknown_license``."""
        with store_problems():
            found = await leases.license_use(self._store, org, [name])
        if not found:
            raise Problem("unknown_license", f"there is no license {name!r}")
        return found[0]

    async def add(
        self,
        actor: Actor,
        org: str,
        name: str,
        fields: Mapping[str, str | int | bytes],
        *,
        force: bool = False,
        is_silent: bool = False,
    ) -> dict[str, object]:
        """Add a license; ``fields`` must hold the seats. See ``Plan`` for ``is_silent``.

        ``force`` also where leases that were put back hold more.
        """
        wanted = DEFAULTS | dict(fields)
        wanted["ttl"] = fields.get("ttl") or min(int(wanted["ttl"]), self._ttl_range_ms[1])
        self._check(wanted)
        _check_kind(wanted, str(wanted["kind"]))

        async def decide() -> Plan[None]:
            names = await leases.license_names(self._store, org)
            if name in names:
                raise Problem("conflict", f"there is a license {name!r} already")
            if len(names) >= MOST_LICENSES:
                raise Problem("conflict", f"an organization has at most {MOST_LICENSES} licenses")
            quota = Quota(name, wanted, force=force)
            shown = shown_fields(wanted)
            return Plan(None, "license.add", name, None, shown, quota=quota, is_silent=is_silent)

        await self._changes.make(org, actor, decide)
        return await self.get(org, name)

    async def change(
        self,
        actor: Actor,
        org: str,
        name: str,
        fields: Mapping[str, str | int | bytes],
        *,
        force: bool,
        if_match: str | None = None,
        is_silent: bool = False,
    ) -> dict[str, object]:
        """Change what ``fields`` names, at run time.

        Raises ``Problem`` ``quota_below_use`` with the numbers when more is in use, unless forced:
        then the running finish and nothing new starts until below.
        """
        self._check(fields)

        async def decide() -> Plan[None]:
            use = await self.find(org, name)
            check_match(if_match, settings(use))
            _check_kind(fields, use.kind)
            before = stored_fields(use)
            changed = {one: value for one, value in fields.items() if before[one] != value}
            quota = Quota(name, changed, force) if changed else None
            shown = shown_fields({one: before[one] for one in changed})
            action = "license.force" if force else "license.change"
            return Plan(
                None, action, name, shown, shown_fields(changed), quota=quota, is_silent=is_silent
            )

        await self._changes.make(org, actor, decide)
        return await self.get(org, name)

    async def remove(
        self, actor: Actor, org: str, name: str, *, dry_run: bool, if_match: str | None = None
    ) -> None:
        """Remove a license that holds no seat. Raises ``Problem`` ``conflict`` if it does."""

        async def decide() -> Plan[None]:
            use = await self.find(org, name)
            check_match(if_match, settings(use))
            if use.leases or use.offline_seats:
                raise Problem(
                    "conflict",
                    f"license {name!r} holds {use.leases} online and {use.offline_seats} offline "
                    "seats; end its sessions and wait for its offline licenses first",
                    data={"leases": use.leases, "offline_seats": use.offline_seats},
                )
            edits = [Edit(key) for key in key_names.of_license(org, name)]
            # Its waiters are told at their next call that there is no such license.
            edits.append(Edit(key_names.licenses(org), name))
            return Plan(None, "license.remove", name, settings(use), None, edits, unused=[name])

        await self._changes.make(org, actor, decide, dry_run=dry_run)

    def to_wire(self, use: LicenseUse) -> dict[str, object]:
        """A license as the wire shows it."""
        shown = settings(use) | {
            "offline_seats": use.offline_seats,
            "leases": use.leases,
            "available": use.available,
            "machines": use.machines,
            "registered_users": use.registered_users,
            "queue_length": use.queue_length,
        }
        if use.expires_wall_seconds:
            now_ms = self._wall_ms()
            shown["expires_in_days"] = days_left(use, now_ms)
            reminder = due_reminder(use.expires_wall_seconds - now_ms / 1000)
            if reminder is not None:
                shown["reminder"] = reminder
        return shown

    def _check(self, fields: Mapping[str, str | int | bytes]) -> None:
        ttl_ms = fields.get("ttl")
        low, high = self._ttl_range_ms
        if ttl_ms is not None and not low <= int(ttl_ms) <= high:
            raise invalid("ttl", f"must be from {low / 1000:g} to {high / 1000:g} seconds")
        starts, expires = int(fields.get("starts", 0)), int(fields.get("expires", 0))
        if starts and expires and expires <= starts:
            raise invalid("expires", "must be later than starts")


def _check_kind(fields: Mapping[str, str | int | bytes], kind: str) -> None:
    """Some settings mean something for one kind of license only."""
    if kind == leases.FLOATING:
        if fields.get("idle"):
            raise invalid(
                "idle_timeout", "is for named-user licenses: a floating seat goes with its process"
            )
        return
    if fields.get("policy"):
        raise refuse_for_named_users()
    if int(fields.get("machines", AS_SEATS)) >= 0:
        raise invalid(
            "machines", "is for floating licenses: a named user is on one machine at a time anyway"
        )


def days_left(use: LicenseUse, wall_ms: int) -> int:
    """Whole days until the license expires, 0 on the last day and afterwards."""
    return max(0, math.floor((use.expires_wall_seconds - wall_ms / 1000) / DAY_SECONDS))


def due_reminder(seconds_left: float) -> int | None:
    """The reminder that is due: the least of ``REMIND_DAYS`` that covers the time left.

    0 when the term has ended, None when it is too early for any.
    """
    if seconds_left <= 0:
        return 0
    covering = [days for days in REMIND_DAYS if seconds_left <= days * DAY_SECONDS]
    return min(covering, default=None)


def settings(use: LicenseUse) -> dict[str, object]:
    """What an ``ETag`` of a license stands for."""
    shown: dict[str, object] = {
        "name": use.license,
        "kind": use.kind,
        "product": use.product,
        "seats": use.seats,
        "machine_quota": "unlimited" if use.machine_quota is None else use.machine_quota,
        "ttl": use.ttl_ms / 1000,
        "offline_allowed": use.offline_allowed,
        "drained": use.drained,
    }
    if use.kind == leases.FLOATING:
        shown["policy"] = policy_to_wire(unpack_policy(use.policy))
    if use.starts_wall_seconds:
        shown["starts"] = wall_text(use.starts_wall_seconds * 1000)
    if use.expires_wall_seconds:
        shown["expires"] = wall_text(use.expires_wall_seconds * 1000)
    if use.retention_seconds is not None:
        shown["machine_retention"] = use.retention_seconds
    if use.idle_seconds:
        shown["idle_timeout"] = use.idle_seconds
    return shown


def stored_fields(use: LicenseUse) -> Fields:
    """The settings as the ``quota`` script takes them."""
    retention = use.retention_seconds
    return {
        "kind": use.kind,
        "product": use.product,
        "seats": use.seats,
        "machines": use.machines_setting,
        "ttl": use.ttl_ms,
        "starts": use.starts_wall_seconds,
        "expires": use.expires_wall_seconds,
        "retention": UNLIMITED if retention is None else retention,
        "offline_allowed": int(use.offline_allowed),
        "policy": use.policy,
        "drained": int(use.drained),
        "idle": use.idle_seconds,
    }


def _moment(seconds: int) -> str | None:
    return wall_text(seconds * 1000) if seconds else None


_AS_GIVEN: Mapping[str, Callable[[int], object]] = {
    "machines": lambda count: {AS_SEATS: "as-seats", UNLIMITED: "unlimited"}.get(count, count),
    "ttl": lambda ms: ms / 1000,
    "starts": _moment,
    "expires": _moment,
    "retention": lambda seconds: None if seconds == UNLIMITED else seconds,
    "idle": lambda seconds: seconds or None,
    "offline_allowed": bool,
    "drained": bool,
}


def shown_fields(fields: Mapping[str, str | int | bytes]) -> dict[str, object]:
    """Settings as the audit shows them, which is as they are given."""
    return {name: _shown(name, value) for name, value in fields.items()}


def _shown(name: str, value: str | int | bytes) -> object:
    if isinstance(value, bytes):
        return policy_to_wire(unpack_policy(value))
    if isinstance(value, int) and name in _AS_GIVEN:
        return _AS_GIVEN[name](value)
    return value
