"""Drives one lease through its life: asks, waits, renews, gives back.

All decisions are ``lessor_protocol.lease``'s; here are only the sending and the sleeping. The
Python API keeps its lease this way in a thread, ``lessor acquire`` in a background process.
"""

from __future__ import annotations

import os
import select
import time

from lessor_protocol import lease as machine
from lessor_protocol.errors import KEEPS_PLACE, Problem
from lessor_protocol.lease_id import format_lease_id
from lessor_protocol.message import UNLIMITED_WAIT_MS
from lessor_protocol.messages import Lease, Renewal
from lessor_protocol.queued import blocked_by_of, holders_of

from .agent import explain
from .clock import now_ms
from .connection import TimedOut
from .errors import NoAnswer, from_refusal
from .listening import Listening
from .notice import NoticeBoard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lessor_protocol.messages import AcquireRequest, Lost
    from lessor_protocol.queued import Estimate, Holder

    from .errors import LessorError
    from .notice import OnNotice
    from .server import Server

    OnWait = Callable[[int, str, Sequence[Holder], Estimate | None], None]
    """Called with position (0: not known), what blocks, who holds the seats, and how long yet."""

_LONGEST_POLL_MS = 250
# A poll's own time-out stands still while the machine is suspended; short ones notice the resume.
_WITHDRAW_TIMEOUT_MS = 2_000


class Woken(Exception):
    """A descriptor that the waiter watches became readable."""


class Waiter:
    """Waits for a request's descriptor, and is woken by others: signals, a process that ended."""

    def __init__(self, *wake_fds: int) -> None:
        self._wake_fds = wake_fds

    def __call__(self, fd: int, for_write: bool, until_ms: int) -> None:
        """As ``connection.Wait``. Raises ``Woken`` besides."""
        if not self._poll(fd, for_write, until_ms):
            raise TimedOut

    def now_ms(self) -> int:
        """The time by which the lease is kept."""
        return now_ms()

    def pause(self, until_ms: int) -> None:
        """Sleep. Raises ``Woken``."""
        self._poll(None, False, until_ms)

    def ignore_wakes(self) -> None:
        """From now on nothing wakes: the seat is on its way back, which is bounded anyway."""
        self._wake_fds = ()

    def _poll(self, fd: int | None, for_write: bool, until_ms: int) -> bool:
        poller = select.poll()
        for wake_fd in self._wake_fds:
            poller.register(wake_fd, select.POLLIN)
        if fd is not None:
            poller.register(fd, select.POLLOUT if for_write else select.POLLIN)
        while True:
            left_ms = until_ms - self.now_ms()
            ready = [found for found, _ in poller.poll(max(0, min(left_ms, _LONGEST_POLL_MS)))]
            if any(found in self._wake_fds for found in ready):
                raise Woken
            if ready:
                return True
            if left_ms <= 0:
                return False


class Keeper:
    """One lease and its state.

    ``server`` must wait with ``waiter``; ``terms`` are those of ``explain.describe_refusal``.
    """

    def __init__(
        self,
        server: Server,
        waiter: Waiter,
        request: AcquireRequest,
        *,
        listening: Listening | None = None,
        on_notice: OnNotice | None = None,
        terms: Mapping[str, str] = explain.COMMAND_LINE,
    ) -> None:
        self._server = server
        self._waiter = waiter
        self._request = request
        self._certificate = request.certificate
        self._may_be_known = False
        self._blocked_by = self._field = ""
        self._terms = terms
        self._listening = listening or Listening(is_possible=False)
        self.board = NoticeBoard(format_lease_id(request.lease_id), on_notice)
        self.state = machine.LeaseState()
        self._touched_ms: int | None = None

    def touch(self) -> None:
        """Something is done with the seat now; from the first time on its idleness is told."""
        self._touched_ms = self._now_ms()

    @property
    def _idle_ms(self) -> int | None:
        return None if self._touched_ms is None else self._now_ms() - self._touched_ms

    @property
    def is_held(self) -> bool:
        """Whether the lease is held at this moment, by its own deadline."""
        self.state = machine.passed(self.state, self._now_ms())
        return self.state.phase == machine.HELD

    def resume(self, state: machine.LeaseState, certificate: str) -> None:
        """Take over a lease that another process of this machine acquired."""
        self.state = state
        self._certificate = certificate

    def acquire(self, *, wait_ms: int | None, connect_timeout_ms: int, on_wait: OnWait) -> Lease:
        """Wait for a seat: ``None`` for ever, 0 asks once.

        Raises ``Denied``, ``NoSeat``, ``Unreachable``; then, and when anything else stops the
        wait, the place in the queue is given back.
        """
        self.state = machine.begin(
            self._now_ms(),
            wait_ms=wait_ms,
            connect_timeout_ms=connect_timeout_ms,
            spread=_spread(),
        )
        granted: Lease | None = None
        holders: Sequence[Holder] = ()
        try:
            while granted is None or not self.is_held:
                if self.state.phase not in (machine.ACQUIRING, machine.WAITING):
                    raise self._why_not(holders)
                if machine.next_request(self.state, self._now_ms()) is None:
                    self._pause()
                    continue
                granted, holders = self._ask(on_wait, holders)
        finally:
            if self.state.phase != machine.HELD and self._may_be_known:
                self._withdraw()
        return granted

    def _why_not(self, holders: Sequence[Holder]) -> LessorError:
        state = self.state
        text = explain.describe_refusal(
            self._request.license,
            state.code,
            state.reason,
            list(holders),
            time.time(),
            blocked_by=self._blocked_by,
            field=self._field,
            terms=self._terms,
        )
        return from_refusal(state.code, text, holders=holders)

    def _ask(
        self, on_wait: OnWait, holders: Sequence[Holder]
    ) -> tuple[Lease | None, Sequence[Holder]]:
        began_ms = self._now_ms()
        timeout_ms = machine.attempt_timeout_ms(self.state, began_ms)
        self._request.wait_ms = machine.remaining_wait_ms(
            self.state, began_ms, longest_ms=UNLIMITED_WAIT_MS
        )
        self._request.hold_ms = machine.hold_ms(self.state, began_ms)
        self.state = machine.sent(self.state, began_ms)
        known_before, self._may_be_known = self._may_be_known, True
        try:
            answer = self._server.acquire(self._request, timeout_ms)
        except Problem as problem:
            self._may_be_known = known_before or problem.code in KEEPS_PLACE
            self._refused(problem)
            self._blocked_by = blocked_by_of(problem)
            self._field = explain.field_of(problem)
            holders = holders_of(problem) or holders
            if self.state.phase == machine.WAITING:
                on_wait(0, problem.code, holders, None)
        except NoAnswer as error:
            self.state = machine.failed(self.state, self._now_ms(), reason=str(error))
        else:
            if isinstance(answer, Lease):
                self._certificate = answer.certificate
                self.state = machine.granted(
                    self.state,
                    self._now_ms(),
                    ttl_ms=answer.ttl_ms,
                    renew_after_ms=answer.renew_after_ms,
                )
                return answer, holders
            self.state = machine.queued(
                self.state, self._now_ms(), retry_after_ms=answer.retry_after_ms
            )
            holders, self._blocked_by = answer.holders, answer.blocked_by
            on_wait(answer.position, answer.blocked_by, holders, answer.estimate)
        return None, holders

    def step(self, until_ms: int = machine.NEVER) -> None:
        """Renew if it is time, else sleep until it is, at most until ``until_ms``.

        Afterwards ``is_held`` says whether the lease was lost. Raises ``Woken``.
        """
        if machine.next_request(self.state, self._now_ms()) == machine.SEND_RENEW:
            self._renew()
        elif wait_ms := self._listening.wait_ms(self.state, self._now_ms(), until_ms):
            self._listen(wait_ms, until_ms)
        else:
            self._pause(min(until_ms, self._listening.begins_ms(self._now_ms())))

    def _listen(self, wait_ms: int, until_ms: int) -> None:
        until_ms = min(self.state.due_ms, until_ms)
        lease_id = self._request.lease_id
        news = self._listening.hear(self._server, lease_id, self.board.seen, wait_ms, until_ms)
        if news is not None:
            self._take_lost(news.lost)
            self.board.take(news.notices)

    def _take_lost(self, found: Sequence[Lost]) -> None:
        for lost in found:
            if lost.lease_id == self._request.lease_id:
                self.state = machine.lost(self.state, code=lost.code, reason=lost.reason)

    def _renew(self) -> None:
        began_ms = self._now_ms()
        timeout_ms = machine.attempt_timeout_ms(self.state, began_ms)
        self.state = machine.sent(self.state, began_ms)
        renewal = Renewal(self._request.lease_id, self._certificate, self._idle_ms)
        try:
            answer = self._server.renew([renewal], timeout_ms)
        except Problem as problem:
            self._refused(problem)
            return
        except NoAnswer as error:
            self.state = machine.failed(self.state, self._now_ms(), reason=str(error))
            return
        self._take_lost(answer.lost)
        self.board.take(answer.notices)
        if renewal.lease_id in answer.renewed:
            self.state = machine.renewed(
                self.state,
                self._now_ms(),
                ttl_ms=answer.ttl_ms,
                renew_after_ms=answer.renew_after_ms,
            )
        elif self.state.sent_ms is not None:
            reason = "the server answered a renewal without a word about this lease"
            self.state = machine.failed(self.state, self._now_ms(), reason=reason)

    def release(self) -> bool:
        """Give the seat back; whether the server heard. Else it returns at its deadline."""
        self._waiter.ignore_wakes()
        heard = False
        self.state = machine.let_go(self.state, self._now_ms())
        while not self.state.is_over:
            began_ms = self._now_ms()
            if machine.next_request(self.state, began_ms) is None:
                self._pause()
                continue
            timeout_ms = machine.attempt_timeout_ms(self.state, began_ms)
            self.state = machine.sent(self.state, began_ms)
            try:
                self._server.release(self._request.lease_id, timeout_ms)
            except Problem as problem:
                self._refused(problem)
                heard = self.state.is_over
            except NoAnswer as error:
                self.state = machine.failed(self.state, self._now_ms(), reason=str(error))
            else:
                self.state = machine.released(self.state)
                heard = True
        return heard

    def _withdraw(self) -> None:
        """One try to give back what a lost reply may have granted, or a place in the queue."""
        self._waiter.ignore_wakes()
        try:
            self._server.release(self._request.lease_id, _WITHDRAW_TIMEOUT_MS)
        except (Problem, NoAnswer):
            return  # the server forgets the place, or the seat, by itself

    def _now_ms(self) -> int:
        return self._waiter.now_ms()

    def _refused(self, problem: Problem) -> None:
        retry_after = problem.retry_after
        self.state = machine.refused(
            self.state,
            self._now_ms(),
            code=problem.code,
            reason=problem.detail,
            retry_after_ms=None if retry_after is None else round(retry_after * 1000),
        )

    def _pause(self, until_ms: int = machine.NEVER) -> None:
        self._waiter.pause(min(machine.wake_at_ms(self.state), until_ms))
        self.state = machine.passed(self.state, self._now_ms())


def _spread() -> float:
    return os.urandom(1)[0] / 256
