"""Hearing between renewals that a lease was ended or its holder is asked something.

A watch is a request that the server holds on the one kept connection (protocol, 3.6). It must cost
nothing that matters: it ends before the next renewal is due, whoever has something more urgent to
do drops it together with its connection, and where it does not work it is tried less and less
often. What it does not bring, the next renewal does.
"""

from __future__ import annotations

from lessor_protocol.errors import Problem
from lessor_protocol.lease import HELD, NEVER

from .clock import now_ms
from .errors import NoAnswer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lessor_protocol.lease import LeaseState
    from lessor_protocol.watch import WatchAnswer

    from .server import Server

FIRST_MS = 1_000
"""What is over sooner pays nothing for this, not even a second connection for its release."""
LONGEST_MS = 25_000
LEAST_MS = 100
LONGEST_LEAD_MS = 250
"""So long before a renewal is due the server answers; a tenth of the pace if that is less."""
MOST_SKIPPED = 32
"""Renewals between two tries where watches do not come through."""
_UNKNOWN_TO_SERVER = "method_not_allowed"


class Listening:
    """When to watch the lease, by its state. ``is_possible`` False: never."""

    def __init__(self, *, is_possible: bool = True) -> None:
        self._from_ms = NEVER
        self._due_ms = 0
        self._skip = 0
        self._failures = 0
        self._is_possible = is_possible

    def begins_ms(self, now: int) -> int:
        """When the first watch may begin, if that is still to come: sleep no longer."""
        return self._from_ms if self._is_possible and now < self._from_ms else NEVER

    def wait_ms(self, state: LeaseState, now: int, until_ms: int = NEVER) -> int:
        """How long a watch that began now would be held; 0 when there should be none."""
        if not self._is_possible or state.phase != HELD or state.failures:
            return 0
        if self._from_ms == NEVER:
            self._from_ms = now + FIRST_MS
        if state.due_ms != self._due_ms:
            self._due_ms = state.due_ms
            self._skip = max(0, self._skip - 1)
        if self._skip or now < self._from_ms:
            return 0
        lead_ms = min(state.renew_after_ms // 10, LONGEST_LEAD_MS)
        wait_ms = min(state.due_ms - now - lead_ms, until_ms - now - lead_ms, LONGEST_MS)
        return wait_ms if wait_ms >= LEAST_MS else 0

    def hear(
        self, server: Server, lease_id: bytes, seen: str, wait_ms: int, until_ms: int
    ) -> WatchAnswer | None:
        """Watch. What there is to tell, or None; never an error, for only renewals decide."""
        began_ms = now_ms()
        try:
            answer = server.watch(lease_id, seen, wait_ms, max(1, until_ms - began_ms))
        except Problem as problem:
            if problem.code == _UNKNOWN_TO_SERVER:
                self._is_possible = False
            self._failed()
            return None
        except NoAnswer:
            self._failed()
            return None
        if answer.is_empty:
            if now_ms() - began_ms < wait_ms // 2:
                self._failed()
            else:
                self._failures = 0
            return None
        self._failures = 0
        return answer

    def _failed(self) -> None:
        self._skip = min(1 << self._failures, MOST_SKIPPED)
        self._failures = min(self._failures + 1, MOST_SKIPPED)
