"""The safety invariants, each a pure function from a history to its violations.

They are judged one-sidedly: a history that a slow machine made look worse than it was must not
count as a violation, so every doubt is decided for the product. What decides is said at each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .history import (
    ABSENT,
    ACQUIRE,
    GRANTED,
    KEPT_GOING,
    LOOK,
    LOST,
    QUEUED,
    RELEASE,
    RELEASED,
    RENEW,
    Limit,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .history import Asked, History, Ran

KILL_SLACK = 0.1
"""Seconds after the deadline within which a tree counts as dead in time: the kernel needs some."""
UNPROTECTED = frozenset({"agent+leash SIGKILL", "whole tree SIGSTOP"})
"""What no process can prevent, see docs/guarantees.md: measured, and excused by name."""

NAMES = {
    1: "running processes ≤ seats (and ≤ the cap of a group), their machines ≤ machine quota",
    2: "no process outlives its deadline",
    3: "tokens are unique and grow in the order of grants",
    4: "one lease id, at most one seat; the same answer; no resurrection",
    5: "first come, first served among live waiters",
    6: "at rest nothing is left",
    7: "a disturbance of less than half a ttl kills nobody",
    8: "a free seat and a live waiter meet within a bound",
    9: "the lease clock does not outrun real time",
}


@dataclass(frozen=True, slots=True)
class Violation:
    """``at`` is when it showed, in seconds of the history's clock."""

    invariant: int
    at: float
    what: str


def seats_and_machines(history: History) -> list[Violation]:
    """(1) At no time more run than the greatest limit in force since the oldest of them began.

    Who runs is known by their own stamps: a time between two stamps of one process counts as run.
    """
    found = []
    for license in sorted({ran.license for ran in history.ran}):
        limits = [limit for limit in history.limits if limit.license == license]
        runs = [ran for ran in history.ran if ran.license == license and not is_excused(ran)]
        found += list(_overshoots(runs, limits))
        if license in history.caps:
            team, cap = history.caps[license]
            of_team = [ran for ran in runs if ran.team == team]
            found += list(_overshoots(of_team, [Limit(license, 0.0, cap, None)]))
    return found


def _overshoots(runs: list[Ran], limits: list[Limit]) -> Iterator[Violation]:
    # One killed at its first stamp has no length, and would begin after it had ended.
    runs = [run for run in runs if run.ended > run.began]
    edges = sorted(
        # An end before a beginning at the same moment: those that only touch do not overlap.
        [(run.began, 1, run) for run in runs] + [(run.ended, 0, run) for run in runs],
        key=lambda edge: (edge[0], edge[1]),
    )
    running: dict[str, Ran] = {}
    for moment, is_begin, run in edges:
        if not is_begin:
            running.pop(run.lease, None)
            continue
        running[run.lease] = run
        since = min(one.began for one in running.values())
        seats, machines = greatest_limit(limits, since, moment)
        used = {one.machine for one in running.values()}
        who = ", ".join(f"{one.lease[:8]} on {one.machine}" for one in running.values())
        held = sum(one.seats for one in running.values())
        if held > seats:
            yield Violation(1, moment, f"{held} seats of {seats} are used: {who}")
        if machines is not None and len(used) > machines:
            yield Violation(1, moment, f"{len(used)} machines of {machines}: {who}")


def greatest_limit(
    limits: Iterable[Limit], since: float, until: float
) -> tuple[float, float | None]:
    """The most seats and machines that any limit in force between these times allowed."""
    ordered = sorted(limits, key=lambda limit: limit.since)
    in_force = [limit for limit in ordered if limit.since <= since][-1:]
    in_force += [limit for limit in ordered if since < limit.since <= until]
    if not in_force:
        return float("inf"), None
    machines = [limit.machines for limit in in_force]
    most = None if None in machines else max(one for one in machines if one is not None)
    return max(limit.seats for limit in in_force), most


def deadlines(history: History) -> list[Violation]:
    """(2) Nothing runs later than the deadline of the last request that was answered.

    That request is timed where it passed the proxy, later than it was sent, and its answer counts
    even if it came too late to be used: the true deadline is no later than the one judged by.
    Where the machine gave no turns to those who only sleep, agent and leash had none either: they
    are allowed the longest such time about the deadline, and never more than the margin.
    """
    found = []
    for run, late in lateness(history):
        stalled = history.stalled_between(run.ended - late - history.ttl / 4, run.ended)
        if late > min(KILL_SLACK + stalled, history.margin) and not is_excused(run):
            what = f"lease {run.lease[:8]} ran {late * 1000:.0f} ms past its deadline"
            found.append(Violation(2, run.ended, what))
    return found


def lateness(history: History) -> list[tuple[Ran, float]]:
    """How long after its deadline each process last ran; negative is in time."""
    extended: dict[str, float] = {}
    for one in history.asked:
        if one.outcome in KEPT_GOING and not one.late:
            extended[one.lease] = max(extended.get(one.lease, 0.0), one.sent + one.ttl)
    return [(run, run.ended - extended[run.lease]) for run in history.ran if run.lease in extended]


def tokens(history: History) -> list[Violation]:
    """(3) No two leases share a token, and a grant that ended before another began has the smaller.

    A grant began, at the earliest, with the first request after the last one that was answered
    without a seat.
    """
    found = []
    grants: list[tuple[float, float, int, str]] = []
    holders: dict[int, str] = {}
    for lease, asked in history.by_lease().items():
        began = None
        for one in asked:
            if one.verb != ACQUIRE or one.late:
                continue
            if one.outcome == GRANTED and one.answered is not None:
                other = holders.setdefault(one.token, lease)
                if other != lease:
                    what = f"token {one.token} of {lease[:8]} and of {other[:8]}"
                    found.append(Violation(3, one.answered, what))
                grants.append(
                    (one.sent if began is None else began, one.answered, one.token, lease)
                )
                break
            if one.outcome == QUEUED or began is None:
                began = one.sent
    answered = sorted(grants, key=lambda grant: grant[1])
    highest, next_answer = (0, ""), 0
    for began, at, token, lease in sorted(grants):
        while next_answer < len(answered) and answered[next_answer][1] <= began:
            highest = max(highest, (answered[next_answer][2], answered[next_answer][3]))
            next_answer += 1
        if token < highest[0]:
            what = f"token {token} of {lease[:8]} after {highest[0]} of {highest[1][:8]}"
            found.append(Violation(3, at, what))
    return found


def one_seat_an_id(history: History) -> list[Violation]:
    """(4) All grants of one id carry one token; what has ended stays ended.

    The memory of ends goes back as far as a lease lasts on the server; what is answered later than
    that is not judged. Excused, where the store forgot, are renewals that the network kept back:
    their certificates put back a lease whose end was forgotten, and nobody runs on it. An acquire
    is not excused, but one may be decided anew that was granted in an earlier epoch.
    """
    found = []
    for lease, asked in history.by_lease().items():
        over = end_of(asked)
        remembered_until = (over or float("inf")) + history.ttl + history.margin
        grants = [one for one in asked if one.outcome == GRANTED]
        grants = [one for one in grants if (one.answered or one.sent) <= remembered_until]
        tokens_seen = sorted({one.token for one in grants})
        if len(tokens_seen) > 1 and not history.forgot_between(grants[0].sent, grants[-1].sent):
            what = f"lease {lease[:8]} was granted with tokens {tokens_seen}"
            found.append(Violation(4, grants[-1].sent, what))
        for one in asked:
            if over is None or one.sent <= over or one.outcome not in KEPT_GOING:
                continue
            is_forgotten = history.forgot_between(over - 3 * history.ttl, one.sent)
            if (one.answered or one.sent) > remembered_until or (
                one.verb == RENEW and is_forgotten
            ):
                continue
            what = f"lease {lease[:8]} had ended, and a later {one.verb} was answered {one.outcome}"
            found.append(Violation(4, one.answered or one.sent, what))
    return found


def end_of(asked: list[Asked]) -> float | None:
    """When its client was first told that the lease has ended."""
    ends = [
        one.answered
        for one in asked
        if one.answered is not None
        and (
            (one.verb == RELEASE and one.outcome == RELEASED)
            or (one.verb == RENEW and one.outcome == LOST)
            or (one.verb == LOOK and one.outcome == ABSENT)
            or one.outcome == "lease_ended"
        )
    ]
    return min(ends, default=None)


def is_excused(run: Ran) -> bool:
    """Whether something was done to it that no process can prevent the effects of."""
    return not UNPROTECTED.isdisjoint(run.touched)
