"""Calls that are held open until a seat is offered to them.

The line is in the store; here is only who waits at this daemon. A script that offers a seat
publishes the waiter's id to all daemons, so the call that waits goes on within milliseconds,
wherever the seat was freed. Meanwhile the daemon keeps the places of all its waiters with one call
for hundreds of them; that call also finds an offer whose message was lost.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog
from lessor_protocol.errors import Problem

from lessor_daemon.store import scripts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lessor_daemon.store.store import Store

    from .clocks import LeaseClocks

KEEP_EVERY_SECONDS = 2.5
"""Well below ``GONE_MS`` in ``store/lua/lib/line.lua``; below ``OFFER_MS`` for a lost message."""
MOST_A_CALL = 500

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Turn:
    """A call that is held, for as long as somebody is there to be answered."""

    is_there: Callable[[], bool]
    has_come: asyncio.Event = field(default_factory=asyncio.Event)


class Waiting:
    """Who waits at this daemon."""

    def __init__(self, store: Store, clocks: LeaseClocks) -> None:
        self._store = store
        self._clocks = clocks
        self._turns: dict[str, dict[bytes, _Turn]] = {}

    def start(self, group: asyncio.TaskGroup) -> None:
        """Keep the places, in a task of ``group``."""
        group.create_task(self._keep_places(), name="keep places")

    @contextmanager
    def turn_of(
        self, org: str, lease_id: bytes, is_there: Callable[[], bool]
    ) -> Iterator[asyncio.Event]:
        """An event that is set when it is worth asking again.

        Its place is kept only while ``is_there()``: who died in the middle of a call is gone from
        the line as soon as one who died between two.
        Enter before asking: an offer that comes between the answer and the wait is not missed.
        """
        turns = self._turns.setdefault(org, {})
        turn = turns[lease_id] = _Turn(is_there)
        try:
            yield turn.has_come
        finally:
            if turns.get(lease_id) is turn:
                del turns[lease_id]
            if not turns and self._turns.get(org) is turns:
                del self._turns[org]

    def wake_all(self) -> None:
        """Let every call that waits here ask again now."""
        for turns in self._turns.values():
            for turn in turns.values():
                turn.has_come.set()

    def offered(self, lease_id: bytes) -> None:
        """A seat is offered to this waiter, who may be another daemon's."""
        for turns in self._turns.values():
            if lease_id in turns:
                turns[lease_id].has_come.set()

    async def _keep_places(self) -> None:
        while True:
            await asyncio.sleep(KEEP_EVERY_SECONDS)
            for org, turns in list(self._turns.items()):
                ids = [lease_id for lease_id, turn in turns.items() if turn.is_there()]
                for start in range(0, len(ids), MOST_A_CALL):
                    await self._keep(org, ids[start : start + MOST_A_CALL])

    async def _keep(self, org: str, ids: list[bytes]) -> None:
        try:
            _, kept = await self._clocks.run(
                org, lambda context: scripts.keep(self._store, org, context, ids)
            )
        except Problem as problem:
            _log.debug("places_not_kept", org=org, error=problem.detail)
            return
        turns = self._turns.get(org, {})
        for lease_id, waits in zip(ids, kept, strict=True):
            if not waits and lease_id in turns:
                turns[lease_id].has_come.set()
