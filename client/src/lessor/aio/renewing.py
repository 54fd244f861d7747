"""Renewing all leases of a client: those due within a few milliseconds travel in one request."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from typing import TYPE_CHECKING

from lessor_protocol import lease as machine
from lessor_protocol.errors import Problem
from lessor_protocol.lease_id import parse_lease_id
from lessor_protocol.message import MAX_RENEWALS

from lessor.clock import now_ms
from lessor.errors import NoAnswer

from .claim import LONGEST_SLEEP_SECONDS

if TYPE_CHECKING:
    from lessor_protocol.messages import Lost, RenewAnswer

    from .calls import Calls
    from .claim import Claim

GATHER_MS = 10
"""A lease due within so long is renewed at once with those that are due now."""


class Renewing:
    """Renews what ``keep`` was told until ``forget``. ``run`` must run as long as it is used."""

    def __init__(self, calls: Calls, tasks: asyncio.TaskGroup) -> None:
        self._calls = calls
        self._tasks = tasks
        self._kept: dict[bytes, Claim] = {}
        # When to look at which lease. A lease that is looked at again earlier, or forgotten,
        # leaves an entry behind that finds nothing to do.
        self._agenda: list[tuple[int, int, Claim]] = []
        self._order = itertools.count()
        self._changed = asyncio.Event()
        self.changes = 0
        """How often a lease was added or taken out."""
        self._kept_changed = asyncio.Event()

    @property
    def kept(self) -> list[Claim]:
        """What is renewed."""
        return list(self._kept.values())

    async def has_changed(self) -> None:
        """Return when a lease is added or taken out."""
        await self._kept_changed.wait()

    def keep(self, claim: Claim) -> None:
        """Renew this held lease from now on."""
        self._kept[claim.lease_id] = claim
        self._count_change()
        self._plan(claim)
        self._changed.set()

    def forget(self, claim: Claim) -> None:
        """It is on its way back."""
        if self._kept.pop(claim.lease_id, None) is not None:
            self._count_change()

    def _count_change(self) -> None:
        self.changes += 1
        changed, self._kept_changed = self._kept_changed, asyncio.Event()
        changed.set()

    def lost(self, lost: Lost) -> None:
        """The server says unasked that a lease is no more."""
        claim = self._kept.get(lost.lease_id)
        if claim is not None:
            claim.ended(lost.code, lost.reason)

    def noticed(self, notice: object) -> None:
        """The server has a word for the holder of a lease."""
        lease = notice.get("lease") if isinstance(notice, dict) else None
        if isinstance(lease, str):
            try:
                claim = self._kept.get(parse_lease_id(lease))
            except ValueError:
                return
            if claim is not None:
                claim.noticed([notice])

    async def run(self) -> None:
        """Renew for ever."""
        while True:
            self._changed.clear()
            for due in self._take_due():
                for i in range(0, len(due), MAX_RENEWALS):
                    some = due[i : i + MAX_RENEWALS]
                    began_ms = now_ms()
                    for claim in some:
                        claim.sent(began_ms)
                        self._plan(claim)
                    self._tasks.create_task(self._renew(some, began_ms), name="renewal")
            await self._sleep()

    def _plan(self, claim: Claim) -> None:
        wake_ms = machine.wake_at_ms(claim.state)
        if wake_ms < machine.NEVER:
            heapq.heappush(self._agenda, (wake_ms, next(self._order), claim))

    def _take_due(self) -> list[list[Claim]]:
        """Those of one ttl together: the answer names the smallest of a request."""
        due: dict[bytes, Claim] = {}
        until_ms = now_ms() + GATHER_MS
        while self._agenda and self._agenda[0][0] <= until_ms:
            wake_ms, _, claim = heapq.heappop(self._agenda)
            if claim.lease_id not in self._kept or claim.lease_id in due:
                continue
            claim.check_time()
            if machine.next_request(claim.state, until_ms) == machine.SEND_RENEW:
                due[claim.lease_id] = claim
            elif wake_ms == machine.wake_at_ms(claim.state):
                # A deadline that is a few milliseconds off.
                heapq.heappush(self._agenda, (wake_ms, next(self._order), claim))
                break
        by_ttl: dict[int, list[Claim]] = {}
        for claim in due.values():
            by_ttl.setdefault(claim.state.ttl_ms, []).append(claim)
        return list(by_ttl.values())

    async def _sleep(self) -> None:
        seconds = LONGEST_SLEEP_SECONDS
        if self._agenda:
            seconds = min(seconds, (self._agenda[0][0] - now_ms()) / 1000)
        try:
            async with asyncio.timeout(max(seconds, 0.001) if self._agenda else None):
                await self._changed.wait()
        except TimeoutError:
            pass  # somebody is due

    async def _renew(self, claims: list[Claim], began_ms: int) -> None:
        timeout_ms = min(machine.attempt_timeout_ms(claim.state, began_ms) for claim in claims)
        try:
            answer = await self._calls.renew([claim.renewal for claim in claims], timeout_ms)
        except Problem as problem:
            for claim in claims:
                claim.refused(problem)
        except NoAnswer as error:
            for claim in claims:
                claim.failed(error)
        else:
            _report(claims, answer)
            for notice in answer.notices:
                self.noticed(notice)
        for claim in claims:
            self._plan(claim)
        self._changed.set()


def _report(claims: list[Claim], answer: RenewAnswer) -> None:
    renewed = set(answer.renewed)
    lost = {one.lease_id: one for one in answer.lost}
    for claim in claims:
        gone = lost.get(claim.lease_id)
        if claim.lease_id in renewed:
            claim.renewed(answer.ttl_ms, answer.renew_after_ms)
        elif gone is not None:
            claim.ended(gone.code, gone.reason)
        else:
            reason = "the server answered a renewal without a word about this lease"
            claim.failed(NoAnswer(reason))
