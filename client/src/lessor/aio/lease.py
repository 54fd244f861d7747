"""A held seat, as the program that works with it sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_protocol import lease as machine
from lessor_protocol.lease_id import format_lease_id

from lessor.clock import now_ms
from lessor.errors import LeaseLost

if TYPE_CHECKING:
    from lessor_protocol.messages import Lease as Grant

    from lessor.notice import Notice

    from .claim import Claim


class AsyncLease:
    """A held seat. Made by ``AsyncClient.acquire``; read there what it does not promise.

    ``token`` fences: it is higher than that of every lease before, so a resource that remembers
    the highest it saw can refuse a holder from the past. ``lost`` (an ``asyncio.Event``) is set
    when the lease is gone, with its reason in what ``check`` raises; where it is ended by somebody
    else, or goes over to another machine, that is within milliseconds.
    """

    def __init__(self, grant: Grant, claim: Claim) -> None:
        self.id = format_lease_id(grant.lease_id)
        self.license = grant.license
        self.token = grant.token
        self.seats = grant.seats
        self.idle_timeout = grant.idle_timeout_ms / 1000 or None
        """In seconds; None for no time-out."""
        self.lost = claim.lost
        self._claim = claim

    @property
    def deadline(self) -> float:
        """When the seat may go to somebody else, in seconds of ``time.CLOCK_BOOTTIME``.

        Each renewal moves it; work that uses the seat must have stopped by then.
        """
        return self._claim.state.deadline_ms / 1000

    @property
    def remaining(self) -> float:
        """Seconds until ``deadline``, 0 once the lease is lost or released."""
        if self._claim.state.phase != machine.HELD:
            return 0.0
        return max(0.0, (self._claim.state.deadline_ms - now_ms()) / 1000)

    @property
    def notices(self) -> list[Notice]:
        """What the holder was told so far, oldest first: above all, a request to finish."""
        return list(self._claim.board.notices)

    def check(self) -> None:
        """Raise ``LeaseLost`` unless the seat is held at this moment."""
        if self.remaining <= 0:
            state = self._claim.state
            raise LeaseLost(state.reason or "the lease is not held any more", code=state.code)

    def touch(self) -> None:
        """Say that the seat is in use now, where the license has an ``idle_timeout``.

        A program that never says so never counts as idle. Once it has, a silence of nearly the
        time-out brings a ``Notice`` ``idle``, and a longer one ends the lease. Costs nothing: the
        next renewal says it.
        """
        if self.idle_timeout is not None:
            self._claim.touch()

    def __repr__(self) -> str:
        return f"<lessor.AsyncLease {self.id} of {self.license}, token {self.token}>"
