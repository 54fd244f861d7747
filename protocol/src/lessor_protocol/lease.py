"""The life of a lease as its client sees it: pure functions of (state, event, now).

Every client and every transport drives this one machine: it asks ``next_request`` what to send,
sleeps until ``wake_at_ms``, and reports what happened. There is no clock and no I/O in here;
``now_ms`` is always the caller's ``CLOCK_BOOTTIME`` in milliseconds, so that a suspended machine
does not stretch a lease.

::

    begin ─▶ ACQUIRING ──granted──▶ HELD ──let_go──▶ RELEASING ──released──▶ DONE
              │   ▲                  │                    ▲
            queued │ (asks again)    │ lost, or deadline  │ let_go
              ▼   │                  ▼                    │
             WAITING ──gave up──▶ REFUSED               LOST

Two rules carry the promise:

* ``deadline_ms`` counts from the moment *before* the request was serialised, never from a reply.
* Nothing leaves LOST but ``let_go``: a reply that outlives the deadline revives nothing.
"""

from __future__ import annotations

from . import timing
from .errors import HOLDING_KEEPS_ON, HTTP_STATUS, NO_SEAT, TRANSIENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

ACQUIRING: Final = "acquiring"
WAITING: Final = "waiting"
HELD: Final = "held"
LOST: Final = "lost"
REFUSED: Final = "refused"
RELEASING: Final = "releasing"
DONE: Final = "done"

SEND_ACQUIRE: Final = "acquire"
SEND_RENEW: Final = "renew"
SEND_RELEASE: Final = "release"

UNREACHABLE: Final = "unreachable"
"""Why a client gave up when no server answered: a code of the client's own, not of the wire."""
EXPIRED: Final = "expired"
"""Why a lease was lost when no renewal came through before its deadline."""

ATTEMPT_TIMEOUT_MS = 10_000
"""For requests that no deadline bounds."""
ONE_TRY_LEAST_MS = 1_000
"""Who asks once waits so long for the answer even with a shorter time to reach a server."""
FIRST_RETRY_MS = 100
LAST_RETRY_MS = 2_000
HOLD_MS = 6_000
"""How long an acquire may be held open while nothing is free; well below ``ATTEMPT_TIMEOUT_MS``."""
RELEASE_PATIENCE_MS = 5_000
"""How long a release is tried; after that the seat returns by itself at the server's deadline."""
RELEASE_ATTEMPT_MS = 1_500
"""Short, so that a release lost on a connection that had silently died is repeated on a new one."""

NEVER = 1 << 62


class LeaseState:
    """One moment in the life of a lease. Treat it as immutable: each event makes a new one.

    ``due_ms`` is when the next request should start, ``sent_ms`` when the one in flight did
    (``None``: none is). ``wait_until_ms`` and ``reach_until_ms`` bound the wait for a seat and for
    any answer at all; the latter counts anew, ``connect_timeout_ms``, from each outage on.
    ``spread`` in [0, 1) keeps clients that started together apart.
    """

    __slots__ = (
        "code",
        "connect_timeout_ms",
        "deadline_ms",
        "due_ms",
        "failures",
        "one_try",
        "phase",
        "reach_until_ms",
        "reason",
        "release_until_ms",
        "renew_after_ms",
        "sent_ms",
        "spread",
        "ttl_ms",
        "wait_until_ms",
    )

    def __init__(self) -> None:
        self.phase: str = ACQUIRING
        self.code = ""
        self.reason = ""
        self.ttl_ms = 0
        self.renew_after_ms = 0
        self.deadline_ms = 0
        self.due_ms = 0
        self.sent_ms: int | None = None
        self.failures = 0
        self.one_try = False
        self.connect_timeout_ms = 0
        self.wait_until_ms = NEVER
        self.reach_until_ms = NEVER
        self.release_until_ms = NEVER
        self.spread = 0.0

    def __repr__(self) -> str:
        return f"LeaseState({', '.join(f'{n}={getattr(self, n)!r}' for n in self.__slots__)})"

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be sent."""
        return self.phase in (DONE, REFUSED)


def _replace(state: LeaseState, **changes: object) -> LeaseState:
    following = LeaseState()
    for name in LeaseState.__slots__:
        setattr(following, name, changes.get(name, getattr(state, name)))
    return following


def begin(
    now_ms: int, *, wait_ms: int | None, connect_timeout_ms: int, spread: float = 0.0
) -> LeaseState:
    """A client that wants a seat from now on. ``wait_ms`` ``None`` waits for ever, 0 asks once."""
    return _replace(
        LeaseState(),
        due_ms=now_ms,
        one_try=wait_ms == 0,
        wait_until_ms=NEVER if wait_ms is None else now_ms + wait_ms,
        connect_timeout_ms=connect_timeout_ms,
        reach_until_ms=now_ms + connect_timeout_ms,
        spread=spread,
    )


def next_request(state: LeaseState, now_ms: int) -> str | None:
    """What to send now: ``SEND_ACQUIRE``, ``SEND_RENEW``, ``SEND_RELEASE`` or nothing yet."""
    if state.sent_ms is not None or now_ms < state.due_ms:
        return None
    if state.phase in (ACQUIRING, WAITING):
        return SEND_ACQUIRE
    if state.phase == HELD:
        return SEND_RENEW
    if state.phase == RELEASING:
        return SEND_RELEASE
    return None


def wake_at_ms(state: LeaseState) -> int:
    """When ``passed`` or ``next_request`` will have something new to say, replies aside."""
    due_ms = state.due_ms if state.sent_ms is None else NEVER
    if state.phase in (ACQUIRING, WAITING):
        return min(due_ms, state.wait_until_ms if state.phase == WAITING else NEVER)
    if state.phase == HELD:
        return min(due_ms, state.deadline_ms)
    if state.phase == RELEASING:
        return min(due_ms, state.release_until_ms)
    return NEVER


def remaining_wait_ms(state: LeaseState, now_ms: int, *, longest_ms: int) -> int:
    """What to tell the server as ``wait``."""
    return max(0, min(state.wait_until_ms - now_ms, longest_ms))


def hold_ms(state: LeaseState, now_ms: int) -> int:
    """What to tell the server as ``hold``: its answer may take so long.

    The first is not held, so that people soon learn why they wait, and that a server is there.
    """
    if state.phase == ACQUIRING:
        return 0
    return max(0, min(state.wait_until_ms - now_ms, HOLD_MS))


def attempt_timeout_ms(state: LeaseState, now_ms: int) -> int:
    """How long the request that is about to be sent may take. At least 1."""
    if state.phase == HELD:
        limit = min(timing.attempt_timeout_ms(state.ttl_ms), state.deadline_ms - now_ms)
    elif state.phase == RELEASING:
        limit = min(RELEASE_ATTEMPT_MS, state.release_until_ms - now_ms)
    else:
        limit = ATTEMPT_TIMEOUT_MS
        if state.phase == ACQUIRING:
            least_ms = ONE_TRY_LEAST_MS if state.one_try else FIRST_RETRY_MS
            limit = min(limit, max(state.reach_until_ms - now_ms, least_ms))
    return max(1, limit)


def sent(state: LeaseState, now_ms: int) -> LeaseState:
    """A request is about to be serialised. The time must be read before, never after."""
    return _replace(state, sent_ms=now_ms)


def granted(state: LeaseState, now_ms: int, *, ttl_ms: int, renew_after_ms: int) -> LeaseState:
    """The acquire was answered with a lease.

    An answer that took more than half a ttl is no base to start anything on: the same acquire again
    gets the same lease, with all its time.
    """
    if state.sent_ms is None or state.phase not in (ACQUIRING, WAITING):
        return state
    is_late = now_ms - state.sent_ms > ttl_ms // 2
    if is_late and not state.one_try and now_ms < state.wait_until_ms:
        return _replace(state, sent_ms=None, due_ms=now_ms)
    return _extended(state, now_ms, ttl_ms, renew_after_ms)


def renewed(state: LeaseState, now_ms: int, *, ttl_ms: int, renew_after_ms: int) -> LeaseState:
    """The renewal was answered: the lease holds on."""
    if state.sent_ms is None or state.phase != HELD:
        return _replace(state, sent_ms=None)
    return _extended(state, now_ms, ttl_ms, renew_after_ms)


def _extended(state: LeaseState, now_ms: int, ttl_ms: int, renew_after_ms: int) -> LeaseState:
    if state.sent_ms is None:
        return state
    deadline_ms = state.sent_ms + ttl_ms
    # Renewing early by up to a tenth, never late: with a late tenth an outage of half a ttl
    # could reach SIGTERM (at ttl 5 s: 1.375 + 2.5 + 0.333 s is later than 5 s less 1/6).
    pause_ms = renew_after_ms - int(renew_after_ms * 0.1 * state.spread)
    held = _replace(
        state,
        phase=HELD,
        code="",
        reason="",
        ttl_ms=ttl_ms,
        renew_after_ms=renew_after_ms,
        deadline_ms=deadline_ms,
        due_ms=state.sent_ms + pause_ms,
        sent_ms=None,
        failures=0,
    )
    return passed(held, now_ms)


def queued(state: LeaseState, now_ms: int, *, retry_after_ms: int) -> LeaseState:
    """The acquire got a place in the line."""
    if state.phase not in (ACQUIRING, WAITING):
        return _replace(state, sent_ms=None)
    # The first request was not held, so the next follows at once and is; then the server paces.
    return _wait(state, now_ms, 0 if state.phase == ACQUIRING else retry_after_ms)


def _wait(state: LeaseState, now_ms: int, pause_ms: int) -> LeaseState:
    due_ms = min(now_ms + pause_ms, state.wait_until_ms)
    waiting = _replace(state, phase=WAITING, code="", due_ms=due_ms, sent_ms=None, failures=0)
    return passed(waiting, now_ms)


def refused(
    state: LeaseState, now_ms: int, *, code: str, reason: str, retry_after_ms: int | None = None
) -> LeaseState:
    """The request was answered with a problem of this ``code``."""
    if state.phase in (ACQUIRING, WAITING):
        return _acquire_refused(state, now_ms, code, reason, retry_after_ms)
    if state.phase == HELD:
        # A code that is not of this protocol says nothing about the lease: a gateway's, perhaps.
        if code in TRANSIENT or code in HOLDING_KEEPS_ON or code not in HTTP_STATUS:
            return _again(state, now_ms, code, reason)
        return lost(state, code=code, reason=reason)
    if state.phase == RELEASING:
        if code in TRANSIENT:
            return _again(state, now_ms, code, reason)
        return released(state)
    return _replace(state, sent_ms=None)


def _acquire_refused(
    state: LeaseState, now_ms: int, code: str, reason: str, retry_after_ms: int | None
) -> LeaseState:
    if code in NO_SEAT and not state.one_try:
        return _wait(state, now_ms, retry_after_ms or LAST_RETRY_MS)
    if code == "recovering" and not state.one_try:
        # The server is there and will grant again: that is a wait for a seat, not for a server.
        again = _wait(state, now_ms, retry_after_ms or LAST_RETRY_MS)
        return _replace(again, code=code, reason=reason)
    if code in TRANSIENT and not state.one_try:
        return _again(state, now_ms, code, reason, retry_after_ms)
    return _replace(state, phase=REFUSED, code=code, reason=reason, sent_ms=None)


def failed(state: LeaseState, now_ms: int, *, reason: str) -> LeaseState:
    """The request got no answer: refused, timed out, cut off, or not to be understood."""
    if state.phase not in (ACQUIRING, WAITING, HELD, RELEASING):
        return _replace(state, sent_ms=None)
    return _again(state, now_ms, UNREACHABLE, reason)


def _again(
    state: LeaseState, now_ms: int, code: str, reason: str, retry_after_ms: int | None = None
) -> LeaseState:
    """Plan another attempt, or give up where trying on is pointless."""
    began_ms = now_ms if state.sent_ms is None else state.sent_ms
    if state.phase == HELD:
        pause_ms = timing.retry_every_ms(state.ttl_ms)
    else:
        backoff_ms = min(FIRST_RETRY_MS << min(state.failures, 8), LAST_RETRY_MS)
        pause_ms = max(backoff_ms + int(backoff_ms * state.spread / 2), retry_after_ms or 0)
    due_ms = max(now_ms, began_ms + pause_ms)
    again = _replace(
        state, code=code, reason=reason, sent_ms=None, failures=state.failures + 1, due_ms=due_ms
    )
    if state.phase not in (ACQUIRING, WAITING):
        return passed(again, now_ms)
    reach_until_ms = state.reach_until_ms
    if state.phase == WAITING and state.failures == 0:
        reach_until_ms = now_ms + state.connect_timeout_ms
    if state.one_try or now_ms >= reach_until_ms:
        return _replace(again, phase=REFUSED)
    due_ms = min(due_ms, reach_until_ms)
    return passed(_replace(again, reach_until_ms=reach_until_ms, due_ms=due_ms), now_ms)


def lost(state: LeaseState, *, code: str, reason: str) -> LeaseState:
    """The server says that the lease is no more."""
    if state.phase != HELD:
        return _replace(state, sent_ms=None)
    return _replace(state, phase=LOST, code=code, reason=reason, due_ms=NEVER, sent_ms=None)


def passed(state: LeaseState, now_ms: int) -> LeaseState:
    """Time has passed: a deadline or the end of the wait may have come."""
    if state.phase == HELD and now_ms >= state.deadline_ms:
        reason = state.reason or "no renewal was answered in time"
        return _replace(state, phase=LOST, code=EXPIRED, reason=reason, due_ms=NEVER, sent_ms=None)
    if state.phase == WAITING and state.sent_ms is None and now_ms >= state.wait_until_ms:
        return _replace(state, phase=REFUSED, code=state.code or "seats_exhausted")
    if state.phase == RELEASING and now_ms >= state.release_until_ms:
        return _replace(state, phase=DONE, code=UNREACHABLE, sent_ms=None)
    return state


def let_go(state: LeaseState, now_ms: int) -> LeaseState:
    """The holder is finished (or gave up waiting): give the seat, or the place, back.

    Also from REFUSED, where a lost reply may have granted what nobody will use.
    """
    if state.phase in (RELEASING, DONE):
        return state
    return _replace(
        state,
        phase=RELEASING,
        code="",
        reason="",
        due_ms=now_ms,
        sent_ms=None,
        failures=0,
        release_until_ms=now_ms + RELEASE_PATIENCE_MS,
    )


def released(state: LeaseState) -> LeaseState:
    """The release was answered, be it that there was nothing to release."""
    if state.phase != RELEASING:
        return state
    return _replace(state, phase=DONE, code="", reason="", sent_ms=None)
