"""Renewals, collected: one script call per organization carries those of a few milliseconds.

A renewal alone costs the store a call; five hundred in one call cost little more. So the first
renewal of an organization opens a batch, those that come while it is open ride along, and while a
batch is under way the next one fills.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from lessor_protocol.errors import Problem
from lessor_protocol.messages import MAX_RENEWALS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from lessor_protocol.messages import Renewal

COLLECT_SECONDS = 0.002
MOST_PENDING = 50_000
"""Leases waiting for a batch, over all organizations; beyond it callers are told to come back."""

Result = int | str
"""A renewed lease's ttl in ms, or why it is lost."""


class Renewals:
    """Collects renewals per organization and hands them to ``flush(org, renewals)``."""

    def __init__(
        self,
        flush: Callable[[str, Sequence[Renewal]], Awaitable[list[Result]]],
        group: asyncio.TaskGroup,
    ) -> None:
        self._flush = flush
        self._group = group
        self._pending: dict[str, deque[tuple[list[Renewal], asyncio.Future[list[Result]]]]] = {}
        self._pending_leases = 0

    async def renew(self, org: str, renewals: list[Renewal]) -> list[Result]:
        """The results, in order, for at most ``MAX_RENEWALS`` leases.

        Raises what ``flush`` raises, or ``Problem`` ``rate_limited`` when too much is pending.
        """
        if not renewals:
            return []
        if self._pending_leases + len(renewals) > MOST_PENDING:
            raise Problem("rate_limited", "too many renewals are waiting", retry_after=1)
        answer: asyncio.Future[list[Result]] = asyncio.get_running_loop().create_future()
        waiting = self._pending.get(org)
        if waiting is None:
            waiting = self._pending[org] = deque()
            self._group.create_task(self._work_off(org, waiting), name=f"renewals of {org}")
        waiting.append((renewals, answer))
        self._pending_leases += len(renewals)
        return await answer

    async def _work_off(
        self, org: str, waiting: deque[tuple[list[Renewal], asyncio.Future[list[Result]]]]
    ) -> None:
        """Flush batch after batch until nobody waits; then the next renewal starts anew."""
        await asyncio.sleep(COLLECT_SECONDS)
        try:
            while waiting:
                batch = self._take_batch(waiting)
                await self._answer(org, batch)
        finally:
            del self._pending[org]
            for renewals, answer in waiting:
                self._pending_leases -= len(renewals)
                answer.cancel()

    def _take_batch(
        self, waiting: deque[tuple[list[Renewal], asyncio.Future[list[Result]]]]
    ) -> list[tuple[list[Renewal], asyncio.Future[list[Result]]]]:
        batch = []
        size = 0
        while waiting and size + len(waiting[0][0]) <= MAX_RENEWALS:
            renewals, answer = waiting.popleft()
            self._pending_leases -= len(renewals)
            if not answer.done():  # its caller may have gone
                batch.append((renewals, answer))
                size += len(renewals)
        return batch

    async def _answer(
        self, org: str, batch: list[tuple[list[Renewal], asyncio.Future[list[Result]]]]
    ) -> None:
        try:
            results = await self._flush(org, [one for renewals, _ in batch for one in renewals])
        except Exception as error:  # noqa: BLE001  # each caller gets it, and it is not ours to judge
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return
        start = 0
        for renewals, answer in batch:
            if not answer.done():
                answer.set_result(results[start : start + len(renewals)])
            start += len(renewals)
