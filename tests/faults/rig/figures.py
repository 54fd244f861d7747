"""The numbers of a run."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from .history import ABSENT, ACQUIRE, GRANTED, KEPT_GOING, LOOK, RENEW, RENEWED
from .invariants import lateness

if TYPE_CHECKING:
    from .history import Fault, History

OUTAGES = ("daemon-kill", "daemon-restart", "store-kill", "failover", "forget", "rollback")


def percentile(values: list[float], share: float) -> float:
    """The value that ``share`` of them do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def counts(history: History) -> dict[str, int]:
    """How much of everything there was."""
    processes = [run for run in history.ran if run.is_process]
    return {
        "faults": sum(1 for one in history.faults if not one.note.startswith("no")),
        "processes that ran": len(processes),
        "virtual runs": len(history.ran) - len(processes),
        "requests": len(history.asked),
        "late or repeated requests": sum(1 for one in history.asked if one.late),
        "requests without an answer": sum(1 for one in history.asked if one.answered is None),
        "healthy processes that lost their lease": sum(
            1 for run in processes if run.how == "lost" and not run.touched
        ),
    }


def fault_counts(history: History) -> Counter[str]:
    """How often each kind was done."""
    return Counter(fault.kind for fault in history.faults)


def past_deadline(history: History) -> list[float]:
    """For runs whose lease ran out or was taken: last stamp less deadline, in seconds."""
    return [
        late
        for run, late in lateness(history)
        if run.is_process and run.how != "done" and late > -1
    ]


def after_outages(history: History, verb: str) -> dict[str, list[float]]:
    """By kind of outage: seconds from its end to the first answered renewal, or new grant."""
    wanted = {RENEW: RENEWED, ACQUIRE: GRANTED}[verb]
    good = sorted(
        one.answered
        for one in history.asked
        if one.outcome == wanted and one.answered is not None and not one.late
    )
    found: dict[str, list[float]] = {}
    for fault in history.faults:
        if fault.kind in OUTAGES:
            after = next((moment for moment in good if moment > fault.ended), None)
            if after is not None and not _is_covered(history, fault, after):
                found.setdefault(fault.kind, []).append(after - fault.ended)
    return found


def _is_covered(history: History, fault: Fault, until: float) -> bool:
    """Whether another fault on the way of all makes this figure that one's."""
    return any(
        other is not fault
        and other.target not in ("run", "admin")
        and other.began <= until
        and other.ended > fault.ended
        for other in history.faults
    )


def abandoned(history: History) -> list[float]:
    """Seconds from the last renewal of a client that died to the moment its seat was free."""
    found = []
    for asked in history.by_lease().values():
        extended = max((one.sent for one in asked if one.outcome in KEPT_GOING), default=None)
        gone = [one.answered for one in asked if one.verb == LOOK and one.outcome == ABSENT]
        if extended is None or not gone or gone[0] is None:
            continue
        if not history.disturbed_between(extended, gone[0]):
            found.append(gone[0] - extended)
    return found
