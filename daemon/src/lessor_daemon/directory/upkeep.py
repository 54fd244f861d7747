"""What goes on by itself, on the wall clock: expiries, retention, reminders of a term that ends."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from lessor_daemon.containment import contained
from lessor_daemon.side_by_side import SideBySide
from lessor_daemon.store import directory, sessions

from .licenses import DAY_SECONDS, days_left, due_reminder

if TYPE_CHECKING:
    from collections.abc import Callable

    from lessor_daemon.store.leases import LicenseUse
    from lessor_daemon.store.store import Store

    from .changes import RunScript
    from .licenses import Licenses
    from .reassertion import Reassertion

SWEEP_EVERY_SECONDS = 5.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Retention:
    """For how many days records are kept. The scripts also bound how many of each."""

    sessions_days: int
    audit_days: int


class Upkeep:
    """Sweeps each organization every few seconds. Any number of daemons may do so at once."""

    def __init__(
        self,
        store: Store,
        run: RunScript,
        licenses: Licenses,
        reassertion: Reassertion,
        wall_ms: Callable[[], int],
        *,
        retention: Retention,
    ) -> None:
        self._store = store
        self._run = run
        self._licenses = licenses
        self._reassertion = reassertion
        self._wall_ms = wall_ms
        self._retention = retention
        self._reminded: dict[tuple[str, str], tuple[int, int]] = {}
        """Organization and license → expiry, and the number of days that was said last."""

    async def keep_up(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as group:
            under_way = SideBySide(group, _log, "sweep_failed")
            while True:
                await asyncio.sleep(SWEEP_EVERY_SECONDS)
                # The servers of these may be there when the one that lists all is not.
                orgs = await self._reassertion.organizations()
                with contained(_log, "sweep_failed"):
                    orgs = await self.organizations()
                for org in orgs:
                    under_way.begin(org, self.sweep)

    async def organizations(self) -> list[str]:
        """Those that the store lists, and those that it forgot to list."""
        listed = await directory.organizations(self._store)
        return sorted({*listed, *await self._reassertion.organizations()})

    async def sweep(self, org: str) -> None:
        """One organization. May raise ``Problem``."""
        now_ms = self._wall_ms()
        reading, swept = await self._run(
            org,
            lambda context: sessions.sweep(
                self._store,
                org,
                context,
                wall_ms=now_ms,
                sessions_since_ms=now_ms - self._retention.sessions_days * DAY_SECONDS * 1000,
                audit_since_ms=now_ms - self._retention.audit_days * DAY_SECONDS * 1000,
            ),
        )
        await self._reassertion.check(org, reading, swept.version)
        for use in await self._licenses.uses(org):
            if use.expires_wall_seconds:
                self._remind(org, use, now_ms)

    def _remind(self, org: str, use: LicenseUse, now_ms: int) -> None:
        mark = due_reminder(use.expires_wall_seconds - now_ms / 1000)
        if mark is None:
            return
        said = (use.expires_wall_seconds, mark)
        if self._reminded.get((org, use.license)) == said:
            return
        self._reminded[org, use.license] = said
        log = _log.bind(org=org, license=use.license, days=days_left(use, now_ms))
        if mark:
            log.warning("license_expires")
        else:
            log.warning("license_has_expired")
