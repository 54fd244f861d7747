"""Hearing between renewals where calls go by HTTP: what a stream would say unasked.

A watch is a request that the server holds until there is something to tell (protocol, 3.6). It is
a courtesy: what it does not bring, the next renewal does, so its failures are nobody's business but
its own, and where it does not work it is tried less and less often.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from lessor_protocol.errors import Problem
from lessor_protocol.watch import MAX_WATCHED, Watched

from lessor.clock import now_ms
from lessor.errors import NoAnswer

if TYPE_CHECKING:
    from .calls import Calls
    from .claim import Claim
    from .link import Link
    from .renewing import Renewing

HELD_MS = 25_000
"""Below the 30 s after which proxies on the way commonly lose patience."""
LATE_MS = 5_000
"""An answer that is so late does not come."""
GATHER_SECONDS = 0.5
"""Leases that begin or end within so long change the watch once: who is over in a moment pays
nothing."""
LONGEST_PAUSE_SECONDS = 60.0
_UNKNOWN_TO_SERVER = "method_not_allowed"


class Listening:
    """Watches what ``renewing`` keeps. ``run`` must run as long as it is used."""

    def __init__(self, calls: Calls, link: Link, renewing: Renewing) -> None:
        self._calls = calls
        self._link = link
        self._renewing = renewing
        self._pause_seconds = GATHER_SECONDS

    async def run(self) -> None:
        """Watch for ever, while calls go by HTTP."""
        while True:
            await self._link.by_http.wait()
            await asyncio.sleep(self._pause_seconds)
            kept = self._renewing.kept[:MAX_WATCHED]
            changes = self._renewing.changes
            if not kept:
                await self._until_changed(changes)
                continue
            watch = asyncio.ensure_future(self._watch(kept))
            changed = asyncio.ensure_future(self._until_changed(changes))
            try:
                await asyncio.wait({watch, changed}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                # A watch that is dropped takes its connection along; the server notices.
                watch.cancel()
                changed.cancel()
                await asyncio.gather(watch, changed, return_exceptions=True)

    async def _until_changed(self, changes: int) -> None:
        while self._renewing.changes == changes:
            await self._renewing.has_changed()

    async def _watch(self, kept: list[Claim]) -> None:
        watched = [Watched(claim.lease_id, claim.board.seen) for claim in kept]
        began_ms = now_ms()
        try:
            answer = await self._calls.watch(watched, HELD_MS, HELD_MS + LATE_MS)
        except Problem as problem:
            is_unknown = problem.code == _UNKNOWN_TO_SERVER
            self._tire(LONGEST_PAUSE_SECONDS if is_unknown else 0)
            return
        except NoAnswer:
            self._tire()
            return
        for lost in answer.lost:
            self._renewing.lost(lost)
        for notice in answer.notices:
            self._renewing.noticed(notice)
        if answer.is_empty and now_ms() - began_ms < HELD_MS // 2:
            self._tire()
        else:
            self._pause_seconds = GATHER_SECONDS

    def _tire(self, least_seconds: float = 0) -> None:
        doubled = min(2 * self._pause_seconds, LONGEST_PAUSE_SECONDS)
        self._pause_seconds = max(doubled, least_seconds)
