"""Holders are told at once what they would learn with their next renewal.

A lease is ending, or its holder is asked to finish: the script that decides it publishes the
lease's id to all daemons. The daemon at which the lease is carried on a stream, or watched by a
held request, then reads from the store what there is to tell. The message carries nothing itself,
so a lost one costs time and nothing else.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog
from lessor_protocol.errors import Problem
from lessor_protocol.watch import WatchAnswer

from lessor_daemon.directory.callers import RUN
from lessor_daemon.side_by_side import SideBySide
from lessor_daemon.store.news import MOST_AT_ONCE, news

from .answers import UNKNOWN, notice_to_wire, why_lost
from .carriers import Carriers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lessor_protocol.messages import Lost
    from lessor_protocol.watch import Watched, WatchRequest

    from lessor_daemon.directory.callers import Caller
    from lessor_daemon.store.news import News as Found
    from lessor_daemon.store.store import Store

    from .carriers import Carrier
    from .clocks import LeaseClocks

LONGEST_WATCH_MS = 25_000
"""Below the 30 s after which proxies on the way commonly lose patience."""
MOST_WATCHED = 100_000
"""Leases in the watches held by one process; whoever comes then learns with renewals."""

_log = structlog.get_logger(__name__)


class Turn:
    """One held watch. Set it to have it look again; after ``end`` it looks a last time."""

    __slots__ = ("_event", "is_over")

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.is_over = False

    def wake(self) -> None:
        """There may be something to tell."""
        self._event.set()

    def end(self) -> None:
        """Answer now: the daemon goes, or nobody is there to hear the answer."""
        self.is_over = True
        self._event.set()

    async def wait(self) -> None:
        """Until it is woken."""
        await self._event.wait()
        self._event.clear()


class News:
    """Who is to be told at this process, on streams and in watches."""

    def __init__(self, store: Store, clocks: LeaseClocks, *, max_ttl_ms: int) -> None:
        self._store = store
        self._clocks = clocks
        self.carriers = Carriers()
        self._forget_seconds = max_ttl_ms / 1000
        self._turns: dict[bytes, set[Turn]] = {}
        self._watched = 0
        self._is_draining = False
        self._to_tell: dict[str, dict[bytes, Carrier]] = {}
        self._has_to_tell = asyncio.Event()

    def start(self, group: asyncio.TaskGroup) -> None:
        """Tell streams, in tasks of ``group``."""
        group.create_task(self._tell_carriers(), name="news")
        group.create_task(self._forget_carriers(), name="forget carriers")

    def heard(self, lease_id: bytes) -> None:
        """The store has something about this lease."""
        for turn in self._turns.get(lease_id, ()):
            turn.wake()
        carrier = self.carriers.of(lease_id)
        if carrier is not None:
            self._to_tell.setdefault(carrier.org, {})[lease_id] = carrier
            self._has_to_tell.set()

    def start_draining(self) -> None:
        """Answer every watch now, and hold none any more."""
        self._is_draining = True
        for turns in self._turns.values():
            for turn in turns:
                turn.end()

    async def watch(self, caller: Caller, request: WatchRequest, turn: Turn) -> WatchAnswer:
        """What is new about these leases: at once if there is something, else when there is.

        Empty after ``request.wait_ms``, or when ``turn`` is ended, and at once if none of them is
        live: only who holds a seat can have a request held. Raises ``Problem``.
        """
        org = caller.require(RUN)
        if self._is_draining:
            raise Problem("draining", "this daemon is shutting down", retry_after=1)
        if self._watched + len(request.watched) > MOST_WATCHED:
            raise Problem("rate_limited", "too many leases are watched", retry_after=10)
        until = asyncio.get_running_loop().time() + min(request.wait_ms, LONGEST_WATCH_MS) / 1000
        with self._kept(request.watched, turn):
            # Looked at after it is kept: what happens in between wakes the turn.
            while True:
                found = await self._news(org, [one.lease_id for one in request.watched])
                answer = _answer(request.watched, found)
                if turn.is_over or not answer.is_empty or not any(map(_is_live, found)):
                    return answer
                try:
                    async with asyncio.timeout_at(until):
                        await turn.wait()
                except TimeoutError:
                    return answer

    @contextmanager
    def _kept(self, watched: Sequence[Watched], turn: Turn) -> Iterator[None]:
        self._watched += len(watched)
        for one in watched:
            self._turns.setdefault(one.lease_id, set()).add(turn)
        try:
            yield
        finally:
            self._watched -= len(watched)
            for one in watched:
                turns = self._turns.get(one.lease_id)
                if turns is not None:  # named twice in one watch
                    turns.discard(turn)
                    if not turns:
                        del self._turns[one.lease_id]

    async def _news(self, org: str, lease_ids: Sequence[bytes]) -> list[Found]:
        _, found = await self._clocks.run(
            org, lambda context: news(self._store, org, context, lease_ids)
        )
        return found

    async def _tell_carriers(self) -> None:
        async with asyncio.TaskGroup() as group:
            under_way = SideBySide(group, _log, "news_not_told")  # the next renewal tells
            while True:
                await self._has_to_tell.wait()
                self._has_to_tell.clear()
                for org in self._to_tell:
                    under_way.begin(org, self._tell_all)

    async def _tell_all(self, org: str) -> None:
        while carriers := self._to_tell.pop(org, None):  # also what is heard meanwhile
            ids = list(carriers)
            for start in range(0, len(ids), MOST_AT_ONCE):
                await self._tell(org, ids[start : start + MOST_AT_ONCE], carriers)

    async def _tell(self, org: str, ids: list[bytes], carriers: dict[bytes, Carrier]) -> None:
        found = await self._news(org, ids)
        for lease_id, one in zip(ids, found, strict=True):
            if one == UNKNOWN:
                continue  # maybe forgotten: that is for a renewal with its certificate to settle
            if isinstance(one, str):
                carriers[lease_id].tell_lost(why_lost(lease_id, one))
            elif one is not None:
                carriers[lease_id].tell_notice(notice_to_wire(lease_id, one))

    async def _forget_carriers(self) -> None:
        while True:
            await asyncio.sleep(self._forget_seconds)
            self.carriers.forget()


def _is_live(found: Found) -> bool:
    return not isinstance(found, str)


def _answer(watched: Sequence[Watched], found: Sequence[Found]) -> WatchAnswer:
    lost: list[Lost] = []
    notices: list[object] = []
    for one, news_of_it in zip(watched, found, strict=True):
        if news_of_it is None or news_of_it == UNKNOWN:
            continue
        if isinstance(news_of_it, str):
            lost.append(why_lost(one.lease_id, news_of_it))
        elif not one.seen or news_of_it.get("id") != one.seen:
            notices.append(notice_to_wire(one.lease_id, news_of_it))
    return WatchAnswer(lost, notices)
