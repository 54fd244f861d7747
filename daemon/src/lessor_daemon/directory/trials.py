"""A dry run: the last day's sessions under another policy or seat count, and what changes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from lessor_daemon.store import leases
from lessor_daemon.store import sessions as stored
from lessor_daemon.store.errors import store_problems
from lessor_daemon.times import wall_text

from .policy import group_of, unpack_policy
from .replay import Run, Spread, replay
from .sessions import holder_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lessor_daemon.store.leases import LeaseRecord
    from lessor_daemon.store.sessions import PastSession
    from lessor_daemon.store.store import Store

    from .licenses import Licenses
    from .policy import Group

SPAN_MS = 86_400_000
READ_AT_ONCE = 500
MOST_READ = 20_000
"""Sessions of the organization that one dry run looks at; it says when there were more."""


class Trials:
    """Dry runs. Every method may raise ``Problem``."""

    def __init__(self, store: Store, licenses: Licenses, wall_ms: Callable[[], int]) -> None:
        self._store = store
        self._licenses = licenses
        self._wall_ms = wall_ms

    async def run(
        self, org: str, name: str, *, seats: int | None, policy: Sequence[Group] | None
    ) -> dict[str, object]:
        """Waits as they were, and replayed: with the license as it is, and as it would be.

        What is None stays as it is. Groups are told apart by the tried policy in all three.
        """
        use = await self._licenses.find(org, name)
        now_policy, now_seats = unpack_policy(use.policy), max(0, use.seats - use.offline_seats)
        tried_policy = now_policy if policy is None else policy
        tried_seats = now_seats if seats is None else max(0, seats - use.offline_seats)
        now_ms = self._wall_ms()
        past, is_whole = await self._past(org, name, now_ms - SPAN_MS)
        live = await self._live(org, name)
        runs = [_run(one, one.ended_at_wall_ms) for one in past]
        runs += [_run(one, now_ms) for one in live]
        recorded: list[int | None] = [one.waited_ms for one in past]
        recorded += [one.waited_ms for one in live]
        # A whole day of a busy license takes a while, and others must not wait for it.
        as_it_is = await asyncio.to_thread(replay, runs, now_seats, now_policy)
        as_tried = await asyncio.to_thread(replay, runs, tried_seats, tried_policy)
        names = [group_of(tried_policy, run.labels).name for run in runs]
        return {
            "license": name,
            "since": wall_text(now_ms - SPAN_MS),
            "is_whole": is_whole,
            "seats": use.seats,
            "tried_seats": use.seats if seats is None else seats,
            "recorded": _by_group(names, recorded),
            "replayed": _by_group(names, as_it_is),
            "tried": _by_group(names, as_tried),
        }

    async def _past(self, org: str, license: str, since_ms: int) -> tuple[list[PastSession], bool]:
        """The license's sessions that ended since then, and whether those are all."""
        found: list[PastSession] = []
        before, looked_at = "+", 0
        while looked_at < MOST_READ:
            with store_problems():
                page = await stored.past(
                    self._store, org, before=before, since=str(since_ms), about=READ_AT_ONCE
                )
            found += [one for one in page if one.license == license]
            if len(page) < READ_AT_ONCE:
                return found, True
            looked_at += len(page)
            before = f"({page[-1].entry_id}"
        return found, False

    async def _live(self, org: str, license: str) -> list[LeaseRecord]:
        found: list[LeaseRecord] = []
        cursor = 0
        with store_problems():
            while True:
                page, cursor = await leases.scan(self._store, org, cursor, about=READ_AT_ONCE)
                found += [one for one in page if one.license == license and not one.offered]
                if not cursor:
                    return found


def _run(session: PastSession | LeaseRecord, ended_wall_ms: int) -> Run:
    """Who still runs counts as having ended now."""
    began_ms = session.granted_at_wall_ms
    return Run(
        asked_ms=began_ms - session.waited_ms,
        seats=session.seats,
        lasted_ms=max(0, ended_wall_ms - began_ms),
        labels=holder_of(session).labels,
    )


def _by_group(names: Sequence[str], waits_ms: Sequence[int | None]) -> dict[str, object]:
    """``never`` counts those for whom there could never be seats enough."""
    groups: dict[str, list[int]] = {}
    for name, wait_ms in zip(names, waits_ms, strict=True):
        if wait_ms is not None:
            groups.setdefault(name, []).append(wait_ms)
    return {
        **Spread.of([one for waits in groups.values() for one in waits]).to_wire(),
        "never": sum(one is None for one in waits_ms),
        "groups": [{"name": name, **Spread.of(groups[name]).to_wire()} for name in sorted(groups)],
    }
