"""The numbers of a run that are about outages: who was hurt, and how soon all was well again."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from lessor_protocol import timing

from .figures import lost_untouched
from .history import ACQUIRE, GRANTED, KEPT_GOING, RENEW, RENEWED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .history import Fault, History, Outage

BLAMED = ("store-kill", "failover", "daemon-kill", "daemon-restart")
"""Faults that may hurt no healthy process, where the store is back within half a ttl."""
BEYOND = ", the store away for half a ttl or longer"
"""Added to the kind of those where it was not: nothing is promised then."""
HARMLESS = frozenset(
    {
        *("script-flush", "client-kill", "path-repeat", "path-reset", "wall-jump", "clock-drift"),
        *("replica-kill", "sentinel-kill"),
    }
)
ELSEWHERE = ("daemon", "path", "store-path")
"""Targets whose faults delay an answer though the store takes writes."""
STORE_SLOW = frozenset({"slow-disk", "maxmemory", "store-freeze", "slot-move", "disk-full"})


def hurt(history: History) -> dict[str, tuple[int, int]]:
    """By kind of fault: how often it came alone, and how many healthy processes it cost then.

    Apart, as the kind and ``BEYOND``, those that a lease need not outlive.
    """
    lost = [run.ended for run in lost_untouched(history)]
    found: dict[str, tuple[int, int]] = {}
    for fault in history.faults:
        until = fault.ended + history.ttl
        if fault.kind not in BLAMED or not fault.was_done:
            continue
        if _others(history, fault, fault.began - history.ttl, until):
            continue
        away = [
            outage.ended - outage.began
            for outage in history.outages
            if outage.began <= until and outage.ended >= fault.began
        ]
        kind = fault.kind + (BEYOND if max(away, default=0) >= history.ttl / 2 else "")
        times, killed = found.get(kind, (0, 0))
        killed += sum(1 for moment in lost if fault.began <= moment <= until)
        found[kind] = times + 1, killed
    return found


def _others(history: History, fault: Fault, began: float, ended: float) -> bool:
    return any(
        other is not fault and other.target not in ("run", "admin") and other.kind not in HARMLESS
        for other in _under_way(history, began, ended)
    )


def _under_way(history: History, began: float, ended: float) -> Iterable[Fault]:
    return (one for one in history.faults if one.began <= ended and one.ended >= began)


def renewals_again(history: History) -> list[float]:
    """Seconds from the store's first write after an outage to the first renewal on each path.

    Only after outages that leases outlive, and on paths where somebody renewed before: else there
    is nothing to renew.
    """
    paths = _renewals_by_path(history)
    found = []
    for outage in history.outages:
        if outage.ended - outage.began > history.ttl * 0.8:
            continue
        for times in paths.values():
            again = next((moment for moment in times if moment > outage.ended), None)
            if (
                times[0] < outage.began
                and again is not None
                and not _is_hidden(history, outage, again)
            ):
                found.append(again - outage.ended)
    return found


def _renewals_by_path(history: History) -> dict[str, list[float]]:
    """When renewals were answered on the way to each daemon, by its agents and its probe."""
    found: dict[str, list[float]] = {}
    for one in history.asked:
        if one.verb == RENEW and one.outcome == RENEWED and one.answered is not None:
            for prefix in ("path-", "probe-worker-20"):
                if not one.late and one.client.startswith(prefix):
                    found.setdefault(one.client[len(prefix) :], []).append(one.answered)
    return {path: sorted(times) for path, times in found.items()}


def grants_again(history: History) -> list[float]:
    """Seconds from the store's first write after an outage to the first new grant.

    A master that is back and is followed by another takes writes all the time, and its successor
    begins a recovery of its own: it counts from there, where the lease clock went back.
    """
    grants = sorted(
        one.answered
        for one in history.asked
        if one.verb == ACQUIRE and one.outcome == GRANTED
        if one.answered is not None and not one.late
    )
    went_back = [
        now.at for before, now in pairwise(history.readings) if now.clock_ms < before.clock_ms
    ]
    found = []
    for outage in history.outages:
        again = next((moment for moment in grants if moment > outage.ended), None)
        if again is not None and not _is_hidden(history, outage, again):
            begun = [moment for moment in went_back if outage.ended < moment < again]
            found.append(again - max(begun, default=outage.ended))
    return found


def _is_hidden(history: History, outage: Outage, again: float) -> bool:
    """Whether something else kept the answer back: the figure would be that one's."""
    if any(outage.ended < other.began < again for other in history.outages):
        return True
    return any(
        one.kind not in HARMLESS and (one.target in ELSEWHERE or one.kind in STORE_SLOW)
        for one in _under_way(history, outage.ended, again)
    )


def at_home_elsewhere(history: History) -> list[float]:
    """Of agents of a killed daemon: seconds from when they next had to ask, to an answer.

    They had to as soon as a renewal was due, at the earliest when the daemon was killed.
    """
    due = timing.renew_after_ms(round(history.ttl * 1000)) / 1000 * 0.9
    ended = {run.lease: run.ended for run in history.ran if run.is_process and not run.touched}
    kills = [one for one in history.faults if one.kind == "daemon-kill" and one.was_done]
    kills = [one for one in kills if not _others(history, one, one.began, one.began + history.ttl)]
    found = []
    for lease, asked in history.by_lease().items():
        kept = [one for one in asked if one.outcome in KEPT_GOING and not one.late]
        for kill in kills:
            before = [one for one in kept if (one.answered or one.sent) < kill.began]
            after = [one for one in kept if (one.answered or one.sent) > kill.began]
            number = kill.note.removeprefix("daemon ")
            if not before or not after or before[-1].client != f"path-{number}":
                continue
            if ended.get(lease, 0.0) < kill.began or after[0].answered is None:
                continue
            found.append(after[0].answered - max(kill.began, before[-1].sent + due))
    return found
