"""Calls that are held open until a seat is offered to them.

The line is in the store; here is only who waits at this daemon. A script that offers a seat
publishes the waiter's id to all daemons, so the call that waits goes on within milliseconds,
wherever the seat was freed. Meanwhile the daemon keeps the places of all its waiters with one call
for hundreds of them; that call also finds an offer whose message was lost.

A call that was held in vain is repeated at once. While the line stands still, what it was told
before holds, and the store is not asked again for each.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from lessor_daemon.side_by_side import SideBySide
from lessor_daemon.store import scripts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lessor_protocol.messages import AcquireRequest
    from lessor_protocol.queued import Queued

    from lessor_daemon.directory.callers import Caller
    from lessor_daemon.store.store import Store

    from .clocks import LeaseClocks

KEEP_EVERY_SECONDS = 2.5
"""Well below ``GONE_MS`` in ``store/lua/lib/line.lua``; below ``OFFER_MS`` for a lost message."""
MOST_A_CALL = 500

REPEATED_WITHIN_MS = 2_000
"""A call that comes later than this after the one that was held in vain asks the store."""
TOLD_ANEW_MS = 30_000
"""So old what people read about their place may become: who holds the seats, and how long yet."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """What the store said of a place in line, to whom and about what, at ``told_ms``.

    ``ttl_ms`` is what a lease would have.
    """

    answer: Queued
    ttl_ms: int
    caller: Caller
    content: object
    told_ms: int


@dataclass(slots=True)
class Turn:
    """A call that is held, for as long as somebody is there to be answered.

    ``position`` is where the place was when it was last kept, at ``kept_ms``.
    """

    is_there: Callable[[], bool]
    has_come: asyncio.Event = field(default_factory=asyncio.Event)
    position: int = 0
    kept_ms: int = 0


class Waiting:
    """Who waits at this daemon."""

    def __init__(
        self, store: Store, clocks: LeaseClocks, *, boottime_ms: Callable[[], int]
    ) -> None:
        self._store = store
        self._clocks = clocks
        self._boottime_ms = boottime_ms
        self._turns: dict[str, dict[bytes, Turn]] = {}
        self._held_in_vain: dict[bytes, tuple[int, Place]] = {}
        """Places whose call will be repeated, and since when."""

    def start(self, group: asyncio.TaskGroup) -> None:
        """Keep the places, in a task of ``group``."""
        group.create_task(self._keep_places(), name="keep places")

    @contextmanager
    def turn_of(self, org: str, lease_id: bytes, is_there: Callable[[], bool]) -> Iterator[Turn]:
        """A call; its ``has_come`` is set when it is worth asking again.

        Its place is kept only while ``is_there()``: who died in the middle of a call is gone from
        the line as soon as one who died between two.
        Enter before asking: an offer that comes between the answer and the wait is not missed.
        """
        turns = self._turns.setdefault(org, {})
        turn = turns[lease_id] = Turn(is_there)
        try:
            yield turn
        finally:
            if turns.get(lease_id) is turn:
                del turns[lease_id]
            if not turns and self._turns.get(org) is turns:
                del self._turns[org]

    def held_in_vain(self, lease_id: bytes, turn: Turn, place: Place) -> None:
        """Remember what the call was told, if that holds for one that follows it at once."""
        now_ms = self._boottime_ms()
        is_kept = turn.kept_ms and now_ms - turn.kept_ms <= 2_000 * KEEP_EVERY_SECONDS
        is_fresh = now_ms - place.told_ms < TOLD_ANEW_MS
        if is_kept and is_fresh and turn.position == place.answer.position:
            self._held_in_vain[lease_id] = (now_ms, place)

    def recall(self, caller: Caller, request: AcquireRequest) -> Place | None:
        """What the store would say to a call that follows at once; None where it is to be asked."""
        at_ms, place = self._held_in_vain.pop(request.lease_id, (0, None))
        if place is None or self._boottime_ms() - at_ms > REPEATED_WITHIN_MS:
            return None
        is_the_same = place.caller == caller and place.content == request.content()
        return place if is_the_same else None

    def wake_all(self) -> None:
        """Let every call that waits here ask again now."""
        self._held_in_vain.clear()
        for turns in self._turns.values():
            for turn in turns.values():
                turn.has_come.set()

    def offered(self, lease_id: bytes) -> None:
        """A seat is offered to this waiter, who may be another daemon's."""
        self._held_in_vain.pop(lease_id, None)
        for turns in self._turns.values():
            if lease_id in turns:
                turns[lease_id].has_come.set()

    async def _keep_places(self) -> None:
        async with asyncio.TaskGroup() as group:
            under_way = SideBySide(group, _log, "places_not_kept")
            while True:
                await asyncio.sleep(KEEP_EVERY_SECONDS)
                self._forget_who_went_away()
                for org in self._turns:
                    under_way.begin(org, self._keep_all)

    def _forget_who_went_away(self) -> None:
        oldest_ms = self._boottime_ms() - REPEATED_WITHIN_MS
        self._held_in_vain = {
            lease_id: (at_ms, place)
            for lease_id, (at_ms, place) in self._held_in_vain.items()
            if at_ms >= oldest_ms
        }

    async def _keep_all(self, org: str) -> None:
        turns = self._turns.get(org, {})
        ids = [lease_id for lease_id, turn in turns.items() if turn.is_there()]
        for start in range(0, len(ids), MOST_A_CALL):
            await self._keep(org, ids[start : start + MOST_A_CALL])

    async def _keep(self, org: str, ids: list[bytes]) -> None:
        reading, positions = await self._clocks.run(
            org, lambda context: scripts.keep(self._store, org, context, ids)
        )
        turns = self._turns.get(org, {})
        # Who waits for a recovery to end asks the store, and is told how long that takes.
        kept_ms = 0 if reading.recovering_ms else self._boottime_ms()
        for lease_id, position in zip(ids, positions, strict=True):
            turn = turns.get(lease_id)
            if turn is None:
                continue
            turn.position, turn.kept_ms = position, kept_ms
            if not position:
                turn.has_come.set()
