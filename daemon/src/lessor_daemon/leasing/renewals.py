"""Renewals, collected: one script call per organization carries all that came meanwhile.

A renewal alone costs the store a call; five hundred in one call cost little more. So those that
come while a batch is under way ride along in the next one. A full one need not wait for it: the
store works on one while the daemon answers the other.

``submit`` takes a callback instead of making a task and a future for each request: a stream brings
tens of thousands of them a second. ``renew`` is the same for who would rather await.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from lessor_protocol.errors import Problem
from lessor_protocol.message import MAX_RENEWALS

from lessor_daemon import logs
from lessor_daemon.store.errors import STUCK_SECONDS
from lessor_daemon.store.scripts import Renewed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from lessor_protocol.messages import Renewal

COLLECT_SECONDS = 0.002
"""How long a batch waits for more where requests have several leases each: these keep the store
busy, and a fuller call costs it less. Requests of one lease keep the daemon busy, which gains
nothing from waiting (docs/performance.md)."""
ENOUGH = MAX_RENEWALS // 2
"""With so many leases waiting nobody is waited for: their share of a call is small already."""
BATCHES_AT_ONCE = 2
"""Of one organization. More would only queue up in the store, which runs one script at a time."""
MOST_PENDING = 50_000
"""Leases waiting for a batch, over all organizations; beyond it callers are told to come back."""

Result = Renewed
"""A renewed lease's ttl in ms, with a notice or without, or why it is lost."""

if TYPE_CHECKING:
    Answered = Callable[[list[Result] | Exception], None]
    """Gets the results in order, or what went wrong. It must not raise and should be quick: the
    others of its batch are answered after it."""


class Request:
    """The renewals of one caller, until they are answered."""

    __slots__ = ("answered", "renewals")

    def __init__(self, renewals: list[Renewal], answered: Answered) -> None:
        self.renewals = renewals
        self.answered: Answered | None = answered

    def withdraw(self) -> None:
        """Its caller has gone: nobody is told, and it is left out if it is not under way yet."""
        self.answered = None

    def answer(self, outcome: list[Result] | Exception) -> None:
        """Tell the caller, if it is still there."""
        if self.answered is not None:
            self.answered(outcome)


class _Line:
    """The requests of one organization that wait for a batch.

    ``workers`` are the tasks that work them off, each with when it last took a batch, by the event
    loop's clock.
    """

    __slots__ = ("leases", "requests", "workers")

    def __init__(self) -> None:
        self.requests: deque[Request] = deque()
        self.leases = 0
        self.workers: dict[asyncio.Task[None] | None, float] = {}

    def needs_a_worker(self, now: float) -> bool:
        """Whether those that are not stuck are too few."""
        able = sum(1 for since in self.workers.values() if now <= since + STUCK_SECONDS)
        return not able or (self.fills_a_batch and able < BATCHES_AT_ONCE)

    @property
    def gains_by_waiting(self) -> bool:
        return len(self.requests) < self.leases < ENOUGH

    @property
    def fills_a_batch(self) -> bool:
        return self.leases >= MAX_RENEWALS

    def append(self, request: Request) -> None:
        self.requests.append(request)
        self.leases += len(request.renewals)

    def popleft(self) -> Request:
        request = self.requests.popleft()
        self.leases -= len(request.renewals)
        return request


class Renewals:
    """Collects renewals per organization and hands them to ``flush(org, renewals)``."""

    def __init__(
        self,
        flush: Callable[[str, Sequence[Renewal]], Awaitable[list[Result]]],
        group: asyncio.TaskGroup,
    ) -> None:
        self._flush = flush
        self._group = group
        self._pending: dict[str, _Line] = {}
        self._pending_leases = 0

    async def renew(self, org: str, renewals: list[Renewal]) -> list[Result]:
        """The results, in order, for at most ``MAX_RENEWALS`` leases.

        Raises what ``flush`` raises, or ``Problem`` ``rate_limited`` when too much is pending.
        """
        if not renewals:
            return []
        future: asyncio.Future[list[Result]] = asyncio.get_running_loop().create_future()

        def settle(outcome: list[Result] | Exception) -> None:
            if future.done():
                return  # cancelled a moment ago, and not yet withdrawn
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

        request = self.submit(org, renewals, settle)
        try:
            return await future
        except asyncio.CancelledError:
            request.withdraw()
            raise

    def submit(self, org: str, renewals: list[Renewal], answered: Answered) -> Request:
        """Have ``answered`` called once, later, with the results for 1 to ``MAX_RENEWALS`` leases.

        Raises ``Problem`` ``rate_limited`` when too much is pending.
        """
        if self._pending_leases + len(renewals) > MOST_PENDING:
            raise Problem("rate_limited", "too many renewals are waiting", retry_after=1)
        line = self._pending.get(org)
        if line is None:
            line = self._pending[org] = _Line()
        request = Request(renewals, answered)
        line.append(request)
        self._pending_leases += len(renewals)
        now = asyncio.get_running_loop().time()
        if line.needs_a_worker(now):
            work = self._work_off(org, line)
            line.workers[self._group.create_task(work, name=f"renewals of {org}")] = now
        return request

    async def _work_off(self, org: str, line: _Line) -> None:
        """Flush batch after batch until nobody waits; then the next renewal starts anew."""
        me, loop = asyncio.current_task(), asyncio.get_running_loop()
        # It began in somebody's call, and what it logs is about others as well.
        logs.unbind()
        logs.bind(org=org)
        try:
            while line.requests:
                if line.gains_by_waiting:
                    await asyncio.sleep(COLLECT_SECONDS)
                line.workers[me] = loop.time()
                await self._answer(org, self._take_batch(line))
        finally:
            del line.workers[me]
            if not line.workers:
                del self._pending[org]
                while line.requests:
                    request = line.popleft()
                    self._pending_leases -= len(request.renewals)
                    request.answer(_stopping())

    def _take_batch(self, line: _Line) -> list[Request]:
        batch = []
        size = 0
        while line.requests and size + len(line.requests[0].renewals) <= MAX_RENEWALS:
            request = line.popleft()
            self._pending_leases -= len(request.renewals)
            if request.answered is not None:
                batch.append(request)
                size += len(request.renewals)
        return batch

    async def _answer(self, org: str, batch: list[Request]) -> None:
        if not batch:
            return
        try:
            results = await self._flush(org, [one for each in batch for one in each.renewals])
        except asyncio.CancelledError:
            for request in batch:
                request.answer(_stopping())
            raise
        except Exception as error:  # noqa: BLE001  # each caller gets it, and it is not ours to judge
            for request in batch:
                request.answer(error)
            return
        start = 0
        for request in batch:
            end = start + len(request.renewals)
            request.answer(results[start:end])
            start = end


def _stopping() -> Problem:
    return Problem("draining", "this daemon is shutting down", retry_after=1)
