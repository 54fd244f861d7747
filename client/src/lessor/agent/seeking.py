"""Ask for a seat until there is one, and say meanwhile who holds the seats.

It drives ``lessor_protocol.lease``; how long it waits, for a seat or for any server at all, is
decided there.
"""

from __future__ import annotations

import os
import time

from lessor_protocol import lease
from lessor_protocol.errors import KEEPS_PLACE, Problem
from lessor_protocol.message import UNLIMITED_WAIT_MS
from lessor_protocol.messages import AcquireRequest, Process
from lessor_protocol.queued import Queued, blocked_by_of, holders_of

from lessor import ci, exits, machine
from lessor.clock import now_ms
from lessor.errors import NoAnswer, UsageError, from_refusal
from lessor.text import clean

from . import explain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lessor_protocol.lease import LeaseState
    from lessor_protocol.messages import Lease
    from lessor_protocol.queued import Estimate, Holder

    from lessor.server import Server

    from .narrator import Events, Narrator
    from .options import Options

_RETELL_EVERY_MS = 30_000
_COMMAND_TOLD = 200


class Seeker:
    """``state`` is the lease's; ``has_asked`` says that there may be something to give back.

    ``pause(until_ms)`` waits, ``on_ask`` is called before the first request for a seat.
    """

    def __init__(
        self,
        *,
        options: Options,
        license: str,
        environ: Mapping[str, str],
        lease_id: bytes,
        server: Server,
        narrator: Narrator,
        events: Events,
        pause: Callable[[int], None],
        on_ask: Callable[[], None],
    ) -> None:
        self.may_stand_in_line = False
        self.state: LeaseState = lease.begin(
            now_ms(),
            wait_ms=options.wait_ms,
            connect_timeout_ms=options.connect_timeout_ms,
            spread=lease_id[0] / 256,
        )
        self._options = options
        self._license = license
        self._environ = environ
        self._lease_id = lease_id
        self._server = server
        self._narrator = narrator
        self._events = events
        self._pause = pause
        self._on_ask = on_ask
        self._request: AcquireRequest | None = None
        self._granted: Lease | None = None
        self._holders: list[Holder] = []
        self._blocked_by = ""
        self._field = ""
        self._told: object = None
        self._told_ms = 0

    @property
    def has_asked(self) -> bool:
        """Whether a request for a seat may have gone out."""
        return self._request is not None

    def seek(self) -> Lease | None:
        """The lease, or ``None`` when there is none to be had; ``explain_refusal`` says why.

        Raises ``UsageError`` when only the server can tell that a license must be named.
        """
        while self.state.phase in (lease.ACQUIRING, lease.WAITING):
            now = now_ms()
            self.state = lease.passed(self.state, now)
            if lease.next_request(self.state, now) == lease.SEND_ACQUIRE:
                self._ask_for_seat(now)
            elif not self.state.is_over:
                self._tell_waiting_again(now)
                self._pause(min(lease.wake_at_ms(self.state), now + _RETELL_EVERY_MS))
        return self._granted

    def _ask_for_seat(self, now: int) -> None:
        timeout_ms = lease.attempt_timeout_ms(self.state, now)
        self.state = lease.sent(self.state, now)
        try:
            request = self._acquire_request(timeout_ms)
            request.wait_ms = lease.remaining_wait_ms(self.state, now, longest_ms=UNLIMITED_WAIT_MS)
            request.hold_ms = lease.hold_ms(self.state, now)
            answer = self._server.acquire(request, timeout_ms)
        except Problem as problem:
            self._take_problem(problem)
        except NoAnswer as error:
            if self.state.failures == 0:
                self._narrator.say(f"no answer yet: {error}")
            self.state = lease.failed(self.state, now_ms(), reason=str(error))
        else:
            if isinstance(answer, Queued):
                self._take_queued(answer)
            else:
                self._take_grant(answer)

    def _acquire_request(self, timeout_ms: int) -> AcquireRequest:
        if self._request is None:
            if not self._license:
                self._license = self._ask_for_license(timeout_ms)
            labels = {**ci.labels(self._environ), **self._options.labels}
            command = clean(" ".join(self._options.command), _COMMAND_TOLD)
            self._request = AcquireRequest(
                self._lease_id,
                self._license,
                machine.identify(self._environ, self._options.machine, self._options.ephemeral),
                Process(os.getpid(), command, machine.user_name()),
                labels=labels,
                seats=self._options.least_seats,
                most_seats=self._options.most_seats,
            )
            self._on_ask()
        return self._request

    def _ask_for_license(self, timeout_ms: int) -> str:
        found = self._server.whoami(timeout_ms).get("default_license")
        if isinstance(found, str) and found:
            return found
        raise UsageError(
            "say which license: --license NAME or LESSOR_LICENSE "
            "(the organization has not exactly one floating license)"
        )

    def _take_grant(self, granted: Lease) -> None:
        self.state = lease.granted(
            self.state,
            now_ms(),
            ttl_ms=granted.ttl_ms,
            renew_after_ms=granted.renew_after_ms,
        )
        if self.state.phase == lease.HELD:
            self._granted = granted

    def _take_queued(self, queued: Queued) -> None:
        self.state = lease.queued(self.state, now_ms(), retry_after_ms=queued.retry_after_ms)
        self.may_stand_in_line = True
        self._blocked_by = queued.blocked_by
        self._tell_waiting(queued.position, queued.blocked_by, queued.holders, queued.estimate)

    def _take_problem(self, problem: Problem) -> None:
        retry_after_ms = None if problem.retry_after is None else round(problem.retry_after * 1000)
        self._holders = holders_of(problem)
        self._blocked_by = blocked_by_of(problem)
        self._field = explain.field_of(problem)
        self.may_stand_in_line |= problem.code in KEEPS_PLACE
        is_first = self.state.failures == 0
        self.state = lease.refused(
            self.state,
            now_ms(),
            code=problem.code,
            reason=problem.detail,
            retry_after_ms=retry_after_ms,
        )
        if self.state.phase == lease.WAITING:
            self._tell_waiting(0, self._blocked_by or problem.code, self._holders)
        elif self.state.phase == lease.ACQUIRING and is_first:
            self._narrator.say(f"no seat yet: {problem.detail}")

    def _tell_waiting(
        self,
        position: int,
        blocked_by: str,
        holders: list[Holder],
        estimate: Estimate | None = None,
    ) -> None:
        """Tell on change; ``_tell_waiting_again`` sees to it that 30 s never pass in silence."""
        self._holders = holders
        told = (position, blocked_by, [(h.user, h.machine, h.since) for h in holders])
        if told == self._told and now_ms() < self._told_ms + _RETELL_EVERY_MS:
            return
        self._told, self._told_ms = told, now_ms()
        self._narrator.say(
            explain.describe_wait(
                self._license, position, blocked_by, holders, time.time(), estimate=estimate
            )
        )
        self._events.emit(
            "waiting",
            license=self._license,
            position=position,
            ahead=max(0, position - 1),
            blocked_by=blocked_by,
            estimate=None if estimate is None else estimate.to_wire(),
            holders=[holder.to_wire() for holder in holders],
        )

    def _tell_waiting_again(self, now: int) -> None:
        """While no server answers, or answers rarely."""
        since_ms = now - self._told_ms
        if self._told_ms and since_ms >= _RETELL_EVERY_MS:
            self._told_ms = now
            trouble = f" ({self.state.reason})" if self.state.reason else ""
            self._narrator.say(f"still waiting for a seat of {self._license}{trouble}")

    def explain_refusal(self) -> int:
        """Say why there is no seat. Returns the exit code."""
        state = self.state
        text = explain.describe_refusal(
            self._license,
            state.code,
            state.reason,
            self._holders,
            time.time(),
            blocked_by=self._blocked_by,
            field=self._field,
        )
        self._narrator.fail(text)
        code = from_refusal(state.code, state.reason).exit_code
        if code == exits.NO_SEAT and self._options.no_seat_code is not None:
            return self._options.no_seat_code
        return code
