"""The invariants about service: order, rest, patience, promptness, and the lease clock."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from . import invariants
from .history import ABSENT, ACQUIRE, GRANTED, KEPT_GOING, LOST, QUEUED, RELEASE, RELEASED, Beats
from .invariants import Violation

if TYPE_CHECKING:
    from collections.abc import Callable

    from .history import Asked, History

ASKS_WITHIN = 1.0
"""Who waits longer than this before asking again was not a live waiter."""
ANSWERED_WITHIN = 2.0
"""Nor was one whose question hung for longer: it may have missed a seat that was offered to it."""
MEET_WITHIN = 2.0
"""Within so many seconds a freed seat goes to a live waiter."""
UNLIMITED_MACHINES = "line"
"""The license on which no machine quota lets a waiter pass another."""


def first_come_first_served(history: History) -> list[Violation]:
    """(5) Nobody is served before a live waiter who was told its place before the other came.

    It counts only if the waiter asked again *after* the other was served and was told to wait on:
    before that it may have been offered a seat that it had not claimed yet.
    """
    waits = [wait for wait in _waits(history) if wait.license == UNLIMITED_MACHINES]
    grants = sorted(
        (wait.first_sent, wait.granted, wait.lease) for wait in waits if wait.granted is not None
    )
    came = [grant[0] for grant in grants]
    found = []
    for wait in waits:
        for told, still in wait.steady:
            for sent, granted, lease in grants[bisect_left(came, told) :]:
                if sent >= still:
                    break
                if granted < still and lease != wait.lease and not _unsettled(history, told, still):
                    what = f"{lease[:8]}, which came later, was served before {wait.lease[:8]}"
                    found.append(Violation(5, granted, what))
    return found


class _Wait:
    """One lease's time in the line. ``steady``: spans in which it never ceased to ask.

    Each span goes from the answer that told the place to the last sending that was answered with
    a place again. ``silent`` are those between two askings that were too long for that.
    """

    def __init__(self, asked: list[Asked]) -> None:
        self.lease, self.license = asked[0].lease, asked[0].license
        self.first_sent = asked[0].sent
        self.granted: float | None = None
        self.steady: list[tuple[float, float]] = []
        self.silent: list[tuple[float, float]] = []
        told: float | None = None
        last: float | None = None
        for one in asked:
            if last is not None and one.sent - last > ASKS_WITHIN:
                self.silent.append((last, one.sent))
            if one.outcome == QUEUED and one.answered is not None:
                was_away = last is None or one.sent - last > ASKS_WITHIN
                if told is None or was_away or one.answered - one.sent > ANSWERED_WITHIN:
                    told = one.answered
                else:
                    self._extend(told, one.sent)
                last = one.answered
            elif one.outcome == GRANTED and one.answered is not None:
                self.granted = one.answered
                return
            else:
                told = last = None

    def _extend(self, told: float, still: float) -> None:
        if self.steady and self.steady[-1][0] == told:
            self.steady[-1] = (told, still)
        else:
            self.steady.append((told, still))


def _waits(history: History) -> list[_Wait]:
    found = []
    for asked in history.by_lease().values():
        acquires = [one for one in asked if one.verb == ACQUIRE and not one.late]
        if acquires:
            found.append(_Wait(acquires))
    return found


def _unsettled(history: History, began: float, ended: float) -> bool:
    """A store that forgets may forget places as well."""
    return history.forgot_between(began, ended)


def rest(history: History) -> list[Violation]:
    """(6) When all have finished, no lease, no machine, no place and no process is left."""
    return [
        Violation(6, 0.0, f"{one.license}: {one}")
        for one in history.rest
        if one.leases or one.machines or one.queue or one.living_processes
    ]


def patience(history: History) -> list[Violation]:
    """(7) Who lost the lease was cut off for half a ttl at least.

    How long is measured by probes on the same paths, from the last renewal that was sent half a
    ttl before the end: the answer of a later one comes too late only after a bad time. Who was
    itself frozen or killed, or was ended by an admin, is not meant.
    """
    beats = Beats(history)
    ended = {run.lease: run.ended for run in history.ran}
    renewed: dict[str, float] = {}
    for one in sorted(history.asked, key=lambda asked: asked.sent):
        is_early = one.sent <= ended.get(one.lease, 0.0) - history.ttl / 2
        if one.outcome in KEPT_GOING and not one.late and (is_early or one.lease not in renewed):
            renewed[one.lease] = one.sent
    found = []
    for run in history.ran:
        if run.how != "lost" or run.touched or run.lease not in renewed:
            continue
        gap = beats.longest_gap(renewed[run.lease] - history.ttl / 4, run.ended)
        if gap < history.ttl / 2:
            what = f"lease {run.lease[:8]} was lost, its path disturbed for {gap:.2f} s at most"
            found.append(Violation(7, run.ended, what))
    return found


def promptness(history: History) -> list[Violation]:
    """(8) A seat given back while somebody waits is granted to somebody soon.

    Only where nothing was being done to the system, for licenses without a machine quota, and where
    nobody was silent in the line: who is costs those behind as long as an offer waits.
    """
    waits = [wait for wait in _waits(history) if wait.license == UNLIMITED_MACHINES]
    served = sorted(wait.granted for wait in waits if wait.granted is not None)
    spans = [span for wait in waits for span in wait.steady]
    silences = [span for wait in waits for span in wait.silent]
    beats = Beats(history)
    found = []
    for one in history.asked:
        if not (one.verb == RELEASE and one.outcome == RELEASED and one.answered is not None):
            continue
        if one.license != UNLIMITED_MACHINES or one.late or not one.token:
            continue
        until = one.answered + MEET_WITHIN
        is_wanted = any(told < one.sent and still > until for told, still in spans)
        if not is_wanted or history.disturbed_between(one.sent - history.ttl, until):
            continue
        if any(began < until and ended > one.sent for began, ended in silences):
            continue
        following = bisect_left(served, one.sent)
        is_met = following < len(served) and served[following] <= until
        if not is_met and beats.longest_gap(one.sent, until) < MEET_WITHIN / 2:
            what = f"the seat of {one.lease[:8]} met no waiter within {MEET_WITHIN} s"
            found.append(Violation(8, until, what))
    return found


def lease_clock(history: History) -> list[Violation]:
    """(9) No seat is free again before the deadline of its client, who was not heard of since.

    The lease clock says when; that it may run ahead by the margin and no more is what counts. A
    store that forgot has no lease to show, but does not give its seat away either: see (1).
    """
    found = []
    for lease, asked in history.by_lease().items():
        extended = 0.0
        for one in asked:
            if one.outcome in KEPT_GOING:
                extended = max(extended, one.sent + one.ttl)
            elif one.verb == RELEASE:
                break
            elif (
                one.answered is None
                or not _says_lapsed(one)
                or (
                    one.outcome == ABSENT
                    and history.forgot_between(extended - 3 * history.ttl, one.answered)
                )
            ):
                continue
            elif one.answered < extended:
                early = extended - one.answered
                what = f"lease {lease[:8]} lapsed {early * 1000:.0f} ms before its deadline"
                found.append(Violation(9, one.answered, what))
                break
    return found


def _says_lapsed(one: Asked) -> bool:
    """A released one is absent too, but then its client has asked for it."""
    if one.outcome in (LOST, "lease_ended"):
        return one.reason == "lapsed"
    return one.outcome == ABSENT


ALL: tuple[Callable[[History], list[Violation]], ...] = (
    invariants.seats_and_machines,
    invariants.deadlines,
    invariants.tokens,
    invariants.one_seat_an_id,
    first_come_first_served,
    rest,
    patience,
    promptness,
    lease_clock,
)


def judge(history: History) -> list[Violation]:
    """Every violation of every invariant, in the order they showed."""
    return sorted(
        (violation for check in ALL for violation in check(history)), key=lambda one: one.at
    )
