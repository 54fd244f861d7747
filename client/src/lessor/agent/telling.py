"""What a run tells of its lease and its command: lines for people, events for programs."""

from __future__ import annotations

import os

from lessor_protocol import lease
from lessor_protocol.duration import format_duration
from lessor_protocol.lease_id import format_lease_id

from lessor.clock import now_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lessor_protocol.lease import LeaseState
    from lessor_protocol.messages import Lease

    from .narrator import Events, Narrator

_NOT_RENEWED = "no renewal came through and the seat ends"


class Telling:
    """``why_it_ends`` says better than that no renewal came through why a deadline came.

    The loss of the lease is told once, by whichever comes first: the word of the server, the
    deadline, or the leash, which stops the command some time before it.
    """

    def __init__(
        self, narrator: Narrator, events: Events, *, warn_on_lost: bool, why_it_ends: str = ""
    ) -> None:
        self._narrator = narrator
        self._events = events
        self._warn_on_lost = warn_on_lost
        self._why_it_ends = why_it_ends
        self.is_loss_told = False

    def granted(self, granted: Lease) -> None:
        """There is a seat."""
        lease_id = format_lease_id(granted.lease_id)
        self._narrator.detail(
            f"seat of {granted.license} granted: lease {lease_id}, token {granted.token}"
        )
        self._events.emit(
            "granted",
            lease_id=lease_id,
            license=granted.license,
            seats=granted.seats,
            token=granted.token,
            ttl=granted.ttl_ms / 1000,
        )

    def started(self, leash_pid: int, child_pid: int) -> None:
        """The command runs."""
        self._events.emit(
            "started", agent_pid=os.getpid(), leash_pid=leash_pid, child_pid=child_pid
        )
        self._narrator.detail(f"the command runs as pid {child_pid}")

    def left_over(self, count: str, processes: str) -> None:
        """The command has ended and others of its tree have not."""
        self._narrator.say(f"the command left {count} running, which are stopped: {processes}")
        self._events.emit("notice", notice={"code": "leftover", "processes": processes})

    def renew_failed(self, state: LeaseState) -> None:
        """A renewal got no answer, or one that says nothing about the lease."""
        left_ms = max(0, state.deadline_ms - now_ms())
        self._events.emit(
            "renew_failed", code=state.code, reason=state.reason, deadline_in=left_ms / 1000
        )
        text = f"renewing failed, the seat holds for {format_duration(left_ms)}: {state.reason}"
        (self._narrator.say if state.failures == 1 else self._narrator.detail)(text)

    def renewed_again(self) -> None:
        """One came through after some that did not."""
        self._narrator.say("the lease is renewed again")

    def lost(self, state: LeaseState) -> None:
        """The server says so, or the deadline has come."""
        why = state.reason or state.code
        if self._warn_on_lost:
            text = f"THE LEASE IS LOST ({why}): the command runs on without a seat"
        else:
            text = f"the lease is lost ({why}): the command is stopped"
        self._lose(state.code, state.reason, text)

    def stopping_at_deadline(self, state: LeaseState) -> None:
        """The leash stops the command, so that all is dead by the deadline."""
        why = self._why_it_ends or _NOT_RENEWED
        self._lose(lease.EXPIRED, state.reason or why, f"the command is stopped: {why}")

    def stopped(
        self, why: str, status: int | None, *, is_lost: bool = False, leash: str = ""
    ) -> None:
        """Nothing of the command is left. ``leash`` says what became of the leash."""
        if is_lost:
            end = "was not started" if status is None else "is stopped"
            text = f"the lease is lost ({_NOT_RENEWED}): the command {end}"
            self._lose(lease.EXPIRED, _NOT_RENEWED, text)
        if leash:
            self._narrator.fail(f"{leash}: the command was killed")
            self._events.emit("stopped", why=why, leash=leash)
            return
        code = None if status is None else os.waitstatus_to_exitcode(status)
        self._events.emit("stopped", why=why, exit=code)

    def returned(self, lease_id: bytes) -> None:
        """A server took the seat back."""
        self._events.emit("released", lease_id=format_lease_id(lease_id))

    def not_returned(self) -> None:
        """None did."""
        self._narrator.fail("no server took the seat back; it is free again after its deadline")

    def _lose(self, code: str, reason: str, text: str) -> None:
        if self.is_loss_told:
            return
        self.is_loss_told = True
        self._events.emit("lost", code=code, reason=reason)
        self._narrator.fail(text)
