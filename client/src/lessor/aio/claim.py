"""One seat from the first request to its release; every decision is ``lessor_protocol.lease``'s.

A renewal may carry many leases, so it is sent elsewhere (``renewing``), which reports here.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

from lessor_protocol import lease as machine
from lessor_protocol.errors import KEEPS_PLACE, Problem
from lessor_protocol.lease_id import format_lease_id
from lessor_protocol.message import UNLIMITED_WAIT_MS
from lessor_protocol.messages import Lease, Renewal
from lessor_protocol.queued import blocked_by_of, holders_of

from lessor.agent import explain
from lessor.clock import now_ms
from lessor.errors import NoAnswer, from_refusal
from lessor.notice import NoticeBoard

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lessor_protocol.messages import AcquireRequest
    from lessor_protocol.queued import Holder

    from lessor.errors import LessorError
    from lessor.notice import OnNotice

    from .calls import Calls

LONGEST_SLEEP_SECONDS = 0.25
"""The loop's timers stand still while the machine is suspended; short ones notice the resume."""


class Claim:
    """A lease that is sought, held or given back. ``lost`` is set when it is gone."""

    def __init__(self, calls: Calls, request: AcquireRequest, on_notice: OnNotice | None) -> None:
        self._calls = calls
        self._request = request
        self._certificate = request.certificate
        self._holders: Sequence[Holder] = ()
        self._blocked_by = self._field = ""
        self.state = machine.LeaseState()
        self.lost = asyncio.Event()
        self._touched_ms: int | None = None
        self.board = NoticeBoard(format_lease_id(request.lease_id), on_notice)
        self.may_be_known = False
        """Whether the server may have a seat or a place in the line under this id."""

    @property
    def lease_id(self) -> bytes:
        """The id, made by us."""
        return self._request.lease_id

    @property
    def renewal(self) -> Renewal:
        """What a renewal says of it."""
        idle_ms = None if self._touched_ms is None else now_ms() - self._touched_ms
        return Renewal(self.lease_id, self._certificate, idle_ms)

    def touch(self) -> None:
        """Something is done with the seat now; from the first time on its idleness is told."""
        self._touched_ms = now_ms()

    async def acquire(self, *, wait_ms: int | None, connect_timeout_ms: int) -> Lease:
        """Wait for a seat: ``None`` for ever, 0 asks once.

        Raises ``Denied``, ``NoSeat``, ``Unreachable``. Whoever ends it, by an error or by
        cancelling it, has to ``release`` if ``may_be_known``.
        """
        self.state = machine.begin(
            now_ms(),
            wait_ms=wait_ms,
            connect_timeout_ms=connect_timeout_ms,
            spread=random.random(),  # noqa: S311 - spread, no secret
        )
        granted: Lease | None = None
        while granted is None:
            self.state = machine.passed(self.state, now_ms())
            if self.state.phase not in (machine.ACQUIRING, machine.WAITING):
                raise self._why_not()
            if machine.next_request(self.state, now_ms()) is None:
                await self._sleep()
            else:
                granted = await self._ask()
        return granted

    async def release(self) -> None:
        """Give the seat, or the place, back. Ends within ``RELEASE_PATIENCE_MS``."""
        self.state = machine.let_go(self.state, now_ms())
        while not self.state.is_over:
            began_ms = now_ms()
            if machine.next_request(self.state, began_ms) is None:
                await self._sleep()
                self.state = machine.passed(self.state, now_ms())
                continue
            timeout_ms = machine.attempt_timeout_ms(self.state, began_ms)
            self.state = machine.sent(self.state, began_ms)
            try:
                await self._calls.release(self.lease_id, timeout_ms)
            except Problem as problem:
                self.refused(problem)
            except NoAnswer as error:
                self.failed(error)
            else:
                self.state = machine.released(self.state)

    def check_time(self) -> None:
        """A deadline may have come."""
        self._take(machine.passed(self.state, now_ms()))

    def sent(self, began_ms: int) -> None:
        """A renewal is about to be serialised."""
        self._take(machine.sent(self.state, began_ms))

    def renewed(self, ttl_ms: int, renew_after_ms: int) -> None:
        """It holds on."""
        self._take(
            machine.renewed(self.state, now_ms(), ttl_ms=ttl_ms, renew_after_ms=renew_after_ms)
        )

    def failed(self, error: NoAnswer) -> None:
        """No answer came."""
        self._take(machine.failed(self.state, now_ms(), reason=str(error)))

    def refused(self, problem: Problem) -> None:
        """The answer was a problem."""
        retry_after = problem.retry_after
        self._take(
            machine.refused(
                self.state,
                now_ms(),
                code=problem.code,
                reason=problem.detail,
                retry_after_ms=None if retry_after is None else round(retry_after * 1000),
            )
        )

    def noticed(self, found: Iterable[object]) -> None:
        """Notices came, maybe for this lease."""
        if self.state.phase == machine.HELD:
            self.board.take(found)

    def ended(self, code: str, reason: str) -> None:
        """The server says that it is no more."""
        self._take(machine.lost(self.state, code=code, reason=reason))

    def _take(self, state: machine.LeaseState) -> None:
        self.state = state
        if state.phase == machine.LOST:
            self.lost.set()

    async def _ask(self) -> Lease | None:
        began_ms = now_ms()
        timeout_ms = machine.attempt_timeout_ms(self.state, began_ms)
        request = self._request
        request.wait_ms = machine.remaining_wait_ms(
            self.state, began_ms, longest_ms=UNLIMITED_WAIT_MS
        )
        request.hold_ms = machine.hold_ms(self.state, began_ms)
        self.state = machine.sent(self.state, began_ms)
        # From here until the answer is read, whatever happens may have left a seat behind.
        known_before, self.may_be_known = self.may_be_known, True
        try:
            answer = await self._calls.acquire(request, timeout_ms)
        except Problem as problem:
            self.may_be_known = known_before or problem.code in KEEPS_PLACE
            self._holders = holders_of(problem) or self._holders
            self._blocked_by = blocked_by_of(problem)
            self._field = explain.field_of(problem)
            self.refused(problem)
            return None
        except NoAnswer as error:
            self.failed(error)
            return None
        if isinstance(answer, Lease):
            self._certificate = answer.certificate
            self.state = machine.granted(
                self.state, now_ms(), ttl_ms=answer.ttl_ms, renew_after_ms=answer.renew_after_ms
            )
            return answer if self.state.phase == machine.HELD else None
        self._holders, self._blocked_by = answer.holders, answer.blocked_by
        self.state = machine.queued(self.state, now_ms(), retry_after_ms=answer.retry_after_ms)
        return None

    async def _sleep(self) -> None:
        left_ms = machine.wake_at_ms(self.state) - now_ms()
        await asyncio.sleep(max(0.0, min(left_ms / 1000, LONGEST_SLEEP_SECONDS)))

    def _why_not(self) -> LessorError:
        text = explain.describe_refusal(
            self._request.license,
            self.state.code,
            self.state.reason,
            list(self._holders),
            time.time(),
            blocked_by=self._blocked_by,
            field=self._field,
            terms=explain.IN_PYTHON,
        )
        return from_refusal(self.state.code, text, holders=self._holders)
