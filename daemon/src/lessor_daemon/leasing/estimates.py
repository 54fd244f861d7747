"""Estimates for the lines of all licenses, made at most every few seconds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from lessor_daemon.store import leases, sessions
from lessor_daemon.store.errors import store_problems

from .estimate import Use, estimate_waits

if TYPE_CHECKING:
    from collections.abc import Callable

    from lessor_protocol.queued import Estimate

    from lessor_daemon.store.store import Store

KEPT_MS = 5_000
OLDEST_MS = 2 * KEPT_MS
"""What is still told while it is being made anew."""
SESSIONS_READ = 500
"""The latest of the organization; those of other licenses among them do not count."""
HOLDERS_READ = 500
MOST_LICENSES_KEPT = 1_000


class Estimates:
    """What was computed a moment ago, by license."""

    def __init__(
        self, store: Store, *, boottime_ms: Callable[[], int], wall_ms: Callable[[], int]
    ) -> None:
        self._store = store
        self._boottime_ms = boottime_ms
        self._wall_ms = wall_ms
        self._kept: dict[tuple[str, str], tuple[int, list[Estimate]]] = {}
        self._under_way: set[tuple[str, str]] = set()

    async def of(self, org: str, license: str, position: int) -> Estimate | None:
        """For a place in line, from 1; None where nothing can be said.

        Raises ``Problem`` ``store_unavailable``.
        """
        found = await self._all(org, license)
        return found[position - 1] if position <= len(found) else None

    async def _all(self, org: str, license: str) -> list[Estimate]:
        now_ms = self._boottime_ms()
        made_ms, found = self._kept.get((org, license), (now_ms - OLDEST_MS, []))
        age_ms = now_ms - made_ms
        if age_ms < KEPT_MS:
            return found
        if (org, license) in self._under_way:  # one computes, not everybody in line
            return found if age_ms < OLDEST_MS else []
        self._under_way.add((org, license))
        try:
            with store_problems():
                found = await self._make(org, license)
        finally:
            self._under_way.discard((org, license))
        if len(self._kept) >= MOST_LICENSES_KEPT:
            self._kept.clear()
        self._kept[org, license] = (now_ms, found)
        return found

    async def _make(self, org: str, license: str) -> list[Estimate]:
        uses = await leases.license_use(self._store, org, [license])
        if not uses or not uses[0].queue_length:
            return []
        past = await sessions.past(self._store, org, before="+", since="-", about=SESSIONS_READ)
        ended = [
            Use(one.seats, max(0, one.ended_at_wall_ms - one.granted_at_wall_ms))
            for one in past
            if one.license == license
        ]
        holders = await leases.holders(self._store, org, license, HOLDERS_READ)
        now_ms = self._wall_ms()
        running = [Use(one.seats, max(0, now_ms - one.granted_at_wall_ms)) for one in holders]
        seats = uses[0].seats - uses[0].offline_seats
        return await asyncio.to_thread(estimate_waits, ended, running, seats, uses[0].queue_length)
