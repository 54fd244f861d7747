"""When a process tree is asked to stop and when it is killed: pure functions of time.

Agent and leash each follow one ``Watch``. All times are milliseconds of ``CLOCK_BOOTTIME``.

::

    hold …………………………▶│ask: signal to the tree      │kill: SIGKILL       │deadline
                       deadline - stop grace         deadline - kill lead

The newest ``hold`` counts, also when it brings the deadline forward: the server may have shortened
the ttl, and the earlier deadline is always the safe one. A tree that was asked to stop stays asked:
a renewal that came through too late does not un-ask a command that is already shutting down.
"""

from __future__ import annotations

from lessor_protocol.lease import NEVER
from lessor_protocol.timing import kill_lead_ms, stop_grace_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

REST: Final = "rest"
ASK: Final = "ask"
KILL: Final = "kill"

AT_DEADLINE: Final = "deadline"
"""Why a tree is stopped when nobody ordered it."""


class Watch:
    """``why`` is the first cause of the stop, empty as long as there is none.

    With ``enforce`` false (``--on-lost warn``) only orders stop the tree, never the deadline.
    """

    def __init__(self, kill_after_ms: int, *, enforce: bool = True) -> None:
        self._kill_after_ms = kill_after_ms
        self._enforce = enforce
        self._ask_at_ms = NEVER
        self._last_call_ms = NEVER
        self._stop_began_ms: int | None = None
        self._killed = False
        self.deadline_ms = NEVER
        self.ttl_ms = 0
        self.why = ""

    @property
    def is_stopping(self) -> bool:
        """Whether the tree has been asked, or is about to be."""
        return bool(self.why)

    def hold(self, deadline_ms: int, ttl_ms: int) -> None:
        """The lease holds until ``deadline_ms``."""
        self.deadline_ms = deadline_ms
        self.ttl_ms = ttl_ms
        if self._enforce:
            self._last_call_ms = deadline_ms - kill_lead_ms(ttl_ms)
            grace_ms = stop_grace_ms(ttl_ms, self._kill_after_ms)
            self._ask_at_ms = min(deadline_ms - grace_ms, self._last_call_ms)

    def stop(self, now_ms: int, why: str) -> None:
        """Ask the tree to stop. Only the first cause counts, and starts the time to the kill."""
        if not self.why:
            self.why = why
            self._stop_began_ms = now_ms

    def kill(self, now_ms: int, why: str) -> None:
        """Kill the tree without waiting any longer."""
        self.stop(now_ms, why)
        self._killed = True

    def due(self, now_ms: int) -> str:
        """``REST``, ``ASK`` or ``KILL``: what holds at ``now_ms``."""
        if not self.why and now_ms >= self._ask_at_ms:
            self.stop(now_ms, AT_DEADLINE)
        if not self.why:
            return REST
        return KILL if self._killed or now_ms >= self.kill_at_ms else ASK

    @property
    def kill_at_ms(self) -> int:
        """When it is killed, as things stand."""
        if self._stop_began_ms is None:
            return self._last_call_ms
        return min(self._stop_began_ms + self._kill_after_ms, self._last_call_ms)

    @property
    def wake_at_ms(self) -> int:
        """When ``due`` will have something new to say."""
        return self.kill_at_ms if self.why else min(self._ask_at_ms, self._last_call_ms)
