"""How long those in line will wait: the rest of the day, played through many times.

A plain function. In each trial every holder runs on for as long as sessions that got as old as it
did, everybody in line gets seats in order and keeps them as long as some recent session, and the
moment when each place is served is noted. The spread over the trials is the estimate. It knows of
no policy, no machines, and no day unlike the last sessions.
"""

from __future__ import annotations

import heapq
import random
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lessor_protocol.queued import Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST_SESSIONS = 10
"""With fewer an estimate would be a guess, and none is given."""
MOST_PLACES = 300
"""Behind them the estimate would be as wide as it is useless."""
TRIALS = 50
LEAST_OLDER = 3
"""So many sessions must have become older than a holder is, to say how much longer it runs."""
OUTRUN_AT_MOST = 100
"""Times its age that one who outran nearly all sessions is taken to run on, at most."""


@dataclass(frozen=True, slots=True)
class Use:
    """So many seats, for so long: a session that ended, or one that runs, and its age."""

    seats: int
    ms: int


def estimate_waits(
    past: Sequence[Use], running: Sequence[Use], seats: int, places: int
) -> list[Estimate]:
    """An estimate for each place from the first, at most ``MOST_PLACES``; none without history."""
    if len(past) < LEAST_SESSIONS or seats < 1:
        return []
    trials = _Trials(past, running, seats)
    waits_ms = [trials.next(min(places, MOST_PLACES)) for _ in range(TRIALS)]
    found = []
    for of_place in zip(*waits_ms, strict=True):
        waits = sorted(of_place)
        p50_ms, p90_ms = waits[len(waits) // 2], waits[len(waits) * 9 // 10]
        found.append(Estimate(p50_ms, p90_ms, len(past)))
    return found


class _Trials:
    def __init__(self, past: Sequence[Use], running: Sequence[Use], seats: int) -> None:
        self._past = past
        self._lengths = sorted(one.ms for one in past)
        self._running = running
        self._seats = seats
        # The same situation gets the same answer: nobody should see it jump because of our dice.
        self._dice = random.Random(0)  # noqa: S311  # not for secrets

    def next(self, places: int) -> list[int]:
        """When each place is served, ms from now."""
        free_at: list[int] = []
        for use in self._running:
            free_at += [self._rest(use.ms)] * use.seats
        free_at += [0] * (self._seats - len(free_at))
        heapq.heapify(free_at)
        waits, now_ms = [], 0
        for _ in range(places):
            one = self._dice.choice(self._past)
            seats = min(one.seats, self._seats)
            for _ in range(seats):
                now_ms = max(now_ms, heapq.heappop(free_at))
            for _ in range(seats):
                heapq.heappush(free_at, now_ms + one.ms)
            waits.append(now_ms)
        return waits

    def _rest(self, age_ms: int) -> int:
        """How much longer one of that age runs.

        Of one that outran nearly all sessions nothing is known but its age: half of such run as
        long again, one in ten nine times as long (J. R. Gott, Nature 363, 1993). To promise the
        length of a session would be to promise it again and again while it goes on.
        """
        lengths = self._lengths
        older = bisect_right(lengths, age_ms)
        if len(lengths) - older < LEAST_OLDER:
            share = self._dice.random()
            return round(age_ms * min(share / (1 - share), OUTRUN_AT_MOST))
        return lengths[self._dice.randrange(older, len(lengths))] - age_ms
