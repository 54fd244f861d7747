"""What the line would have done: sessions of the past under another policy or seat count.

A plain function of its arguments. It follows the rule of ``docs/policy.md`` as the scripts do, with
these differences: an offer is claimed at once, nobody gives up waiting, and the machine quota is
left out.
"""

from __future__ import annotations

import heapq
import math
from bisect import insort
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .policy import EVERYBODY_ELSE, group_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .policy import Group


@dataclass(frozen=True, slots=True)
class Run:
    """Somebody asked at ``asked_ms`` for ``seats`` together, and had them for ``lasted_ms``."""

    asked_ms: int
    seats: int
    lasted_ms: int
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Spread:
    """Waits: half and 95 % of them were no longer than ``p50_ms`` and ``p95_ms``."""

    count: int
    p50_ms: int
    p95_ms: int
    most_ms: int

    @classmethod
    def of(cls, waits_ms: Sequence[int]) -> Spread:
        """All 0 for none."""
        ordered = sorted(waits_ms) or [0]
        return cls(len(waits_ms), quantile(ordered, 0.5), quantile(ordered, 0.95), ordered[-1])

    def to_wire(self) -> dict[str, object]:
        """Seconds."""
        return {
            "sessions": self.count,
            "p50": self.p50_ms / 1000,
            "p95": self.p95_ms / 1000,
            "most": self.most_ms / 1000,
        }


def quantile(ordered: Sequence[int], share: float) -> int:
    """The least value that ``share`` of all do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def replay(runs: Sequence[Run], seats: int, policy: Sequence[Group]) -> list[int | None]:
    """How long each run would have waited, ms, in the order given; None: it could never start."""
    return _Replay(runs, seats, policy).waits_ms()


class _Replay:
    def __init__(self, runs: Sequence[Run], seats: int, policy: Sequence[Group]) -> None:
        self._runs = runs
        self._free = seats
        self._seats = seats
        self._groups = [*policy, EVERYBODY_ELSE]
        self._group_of = [group_of(policy, run.labels) for run in runs]
        self._used: Counter[str] = Counter()
        self._ends: list[tuple[int, int]] = []
        self._lines: dict[str, list[tuple[int, int, int]]] = {one.name: [] for one in self._groups}
        """Per group those who wait: place, order of asking, number of the run."""
        self._waits: list[int | None] = [None] * len(runs)

    def waits_ms(self) -> list[int | None]:
        arriving = sorted(range(len(self._runs)), key=lambda i: self._runs[i].asked_ms)
        for order, number in enumerate(arriving):
            now_ms = self._runs[number].asked_ms
            self._pass_time(now_ms)
            group = self._group_of[number]
            if not self._is_impossible(number):
                insort(self._lines[group.name], (now_ms - group.head_start_ms, order, number))
                self._serve(now_ms)
        self._pass_time(None)
        return self._waits

    def _pass_time(self, until_ms: int | None) -> None:
        """End what ends by then (None: all), and hand the seats on each time."""
        while self._ends and (until_ms is None or self._ends[0][0] <= until_ms):
            now_ms, number = heapq.heappop(self._ends)
            self._free += self._runs[number].seats
            self._used[self._group_of[number].name] -= self._runs[number].seats
            self._serve(now_ms)

    def _serve(self, now_ms: int) -> None:
        while self._free > 0:
            turn = self._whose_turn()
            if turn is None or self._runs[turn].seats > self._free:
                return  # nobody, or seats gather for one who needs several
            run, group = self._runs[turn], self._group_of[turn]
            del self._lines[group.name][0]
            self._waits[turn] = now_ms - run.asked_ms
            self._free -= run.seats
            self._used[group.name] += run.seats
            heapq.heappush(self._ends, (now_ms + run.lasted_ms, turn))

    def _whose_turn(self) -> int | None:
        best: tuple[bool, int, int] | None = None
        turn = None
        for group in self._groups:
            line, used = self._lines[group.name], self._used[group.name]
            if not line:
                continue
            place, order, number = line[0]
            if group.cap is not None and used + self._runs[number].seats > group.cap:
                continue
            # A group below its reserve comes first, whatever its place.
            found = (used >= group.reserve, place, order)
            if best is None or found < best:
                best, turn = found, number
        return turn

    def _is_impossible(self, number: int) -> bool:
        wanted, cap = self._runs[number].seats, self._group_of[number].cap
        return wanted > self._seats or (cap is not None and wanted > cap)
