"""The numbers of a run that are about processes and seats. ``comeback.py`` has those of outages."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING

from .history import (
    ABSENT,
    ACQUIRE,
    KEPT_GOING,
    LOOK,
    PRESENT,
    RECOVERING,
    RELEASE,
    RELEASED,
    RENEW,
)
from .invariants import is_excused, lateness

if TYPE_CHECKING:
    from .history import Fault, History, Ran

KILLERS = ("agent-kill", "leash-kill")
"""After these one of agent and leash lives, and gives the seat back."""


LOOKED_WITHIN = 0.3
"""Seconds between two looks at a seat; where it took longer, nobody knows when it was free."""
READ_WITHIN = 0.3
"""Seconds between an answer and a reading of the lease clock, which must not count for it."""


def percentile(values: list[float], share: float) -> float:
    """The value that ``share`` of them do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def counts(history: History) -> dict[str, int]:
    """How much of everything there was."""
    processes = [run for run in history.ran if run.is_process]
    return {
        "faults": sum(1 for one in history.faults if one.was_done),
        "processes that ran": len(processes),
        "virtual runs": len(history.ran) - len(processes),
        "requests": len(history.asked),
        "late or repeated requests": sum(1 for one in history.asked if one.late),
        "requests without an answer": sum(1 for one in history.asked if one.answered is None),
        "processes that lost their lease, untouched themselves": len(lost_untouched(history)),
    }


def fault_counts(history: History) -> Counter[str]:
    """How often each kind was done."""
    return Counter(fault.kind for fault in history.faults if fault.was_done)


def lost_untouched(history: History) -> list[Ran]:
    """Processes that were stopped since their lease ran out, and nothing was done to them."""
    return [run for run in history.ran if run.is_process and run.how == "lost" and not run.touched]


def past_deadline(history: History, *, excused: bool = False) -> list[float]:
    """Last stamp less deadline, in seconds, of those that the deadline stopped.

    Those are the ones that stamped within the last tenth of a ttl before it. ``excused``: instead,
    what is excused from invariant 2.
    """
    return [
        late
        for run, late in lateness(history)
        if run.is_process and run.how != "done"
        if is_excused(run) == excused and late > -history.ttl / 10
    ]


def given_back(history: History) -> list[float]:
    """Seconds from the SIGKILL of an agent or a leash to the answer to the other's release.

    Left out are those that another fault kept from it, or a store that had forgotten their key, and
    those whose command was done before: their seat was on its way back, whatever held that up.
    """
    runs = {run.lease: run for run in history.ran if run.is_process}
    kills = {one.note: one for one in history.faults if one.kind in KILLERS and one.was_done}
    found = []
    for one in history.asked:
        if one.verb != RELEASE or one.outcome != RELEASED or one.late or one.answered is None:
            continue
        kill = kills.get(one.lease)
        run = runs.get(one.lease)
        if kill is None or run is None or len(run.touched) != 1 or one.sent < kill.began:
            continue
        if run.how == "done" and run.ended < kill.began:
            continue
        if history.forgot_between(kill.began - history.ttl, one.answered):
            continue
        if not history.disturbed_between(kill.began, one.answered):
            found.append(one.answered - kill.began)
    return found


def abandoned(history: History) -> list[float]:
    """How long a seat stayed taken whose client died, in seconds of the lease clock.

    From its last answer, which it lived to see, to the first answer that the seat is gone. Left out
    are seats that a request without an answer may have kept later, those that nobody could look at
    in time, those that were due while the store took no writes, and all where it forgot or
    recovered, which gives no seat to anybody.
    """
    clock = _LeaseClock(history)
    recovering = sorted(
        one.answered for one in history.asked if one.outcome == RECOVERING and one.answered
    )
    found = []
    for asked in history.by_lease().values():
        kept = [one.answered for one in asked if one.outcome in KEPT_GOING and one.answered]
        gone = [one for one in asked if one.verb == LOOK and one.outcome == ABSENT]
        if not kept or not gone or gone[0].answered is None:
            continue
        last, absent = max(kept), gone[0].answered
        if history.forgot_between(last - history.ttl, absent):
            continue
        if bisect_left(recovering, last) != bisect_left(recovering, absent):
            continue
        if any(o.began < absent and o.ended > last + history.ttl for o in history.outages):
            continue
        if any(one.verb in (ACQUIRE, RENEW) and one.answered is None for one in asked):
            continue
        looks = [one for one in asked if one.outcome == PRESENT and one.sent < gone[0].sent]
        if not looks or absent - looks[-1].sent > LOOKED_WITHIN:
            continue
        seconds = clock.between(last, absent)
        if seconds is not None:
            found.append(seconds)
    return found


class _LeaseClock:
    def __init__(self, history: History) -> None:
        self._readings = history.readings
        self._times = [one.at for one in history.readings]

    def between(self, began: float, ended: float) -> float | None:
        """Seconds of the lease clock at most; None where nobody read it then."""
        before = bisect_left(self._times, began) - 1
        after = bisect_left(self._times, ended)
        if before < 0 or after >= len(self._readings):
            return None
        if max(began - self._times[before], self._times[after] - ended) > READ_WITHIN:
            return None
        return (self._readings[after].clock_ms - self._readings[before].clock_ms) / 1000


def unprotected(history: History, fault_kind: str) -> list[float]:
    """Of runs that this was done to and nobody could protect: seconds that they ran on."""
    faults: dict[str, Fault] = {
        one.note: one for one in history.faults if one.kind == fault_kind and one.was_done
    }
    return [
        max(0.0, run.ended - faults[run.lease].began)
        for run in history.ran
        if run.is_process and run.lease in faults
    ]
