"""Give a seat, or a place in the queue, back: the same for the agent and for a leash alone."""

from __future__ import annotations

from lessor_protocol import lease
from lessor_protocol.errors import Problem

from lessor.clock import now_ms
from lessor.errors import NoAnswer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lessor_protocol.lease import LeaseState

    from lessor.server import Server


def give_back(
    server: Server,
    lease_id: bytes,
    state: LeaseState,
    pause: Callable[[int], None],
    *,
    patience_ms: int = lease.RELEASE_PATIENCE_MS,
) -> bool:
    """Release until the server has answered, or patience ends. Whether it answered.

    ``pause(until_ms)`` waits. Unanswered, the seat comes back by itself at the server's deadline.
    """
    began_ms = now_ms()
    state = lease.let_go(state, began_ms)
    while not state.is_over:
        now = now_ms()
        if now >= began_ms + patience_ms:
            return False
        if lease.next_request(state, now) is None:
            pause(min(lease.wake_at_ms(state), began_ms + patience_ms))
            state = lease.passed(state, now_ms())
            continue
        timeout_ms = min(lease.attempt_timeout_ms(state, now), began_ms + patience_ms - now)
        state = lease.sent(state, now)
        try:
            server.release(lease_id, timeout_ms)
        except Problem as problem:
            state = lease.refused(state, now_ms(), code=problem.code, reason=problem.detail)
        except NoAnswer as error:
            state = lease.failed(state, now_ms(), reason=str(error))
        else:
            state = lease.released(state)
    return state.code != lease.UNREACHABLE
