"""The benchmark's own arithmetic. No I/O and no clock."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

REPETITIONS = 5
"""Measurements of each of a pair."""
AT_LEAST = ">="
AT_MOST = "<="
SHOWN = ""


@dataclass(frozen=True)
class Reach:
    """What a row's figure should be."""

    sign: str
    value: float

    def is_met_by(self, figure: float) -> bool:
        """Whether ``figure`` is good enough, as it is printed: with two decimals."""
        if self.sign == SHOWN:
            return True
        printed = round(figure, 2)
        return printed >= self.value if self.sign == AT_LEAST else printed <= self.value

    def __str__(self) -> str:
        if self.sign == SHOWN:
            return "-"
        return f"{'≥' if self.sign == AT_LEAST else '≤'} {self.value:,g}"


def at_least(value: float) -> Reach:
    """More is better."""
    return Reach(AT_LEAST, value)


def at_most(value: float) -> Reach:
    """Less is better."""
    return Reach(AT_MOST, value)


def shown() -> Reach:
    """To be seen beside the other, which does something else."""
    return Reach(SHOWN, 0)


@dataclass(frozen=True)
class Figure:
    """One row's outcome: the median ratio over pairs, and the median of ours and the peer's."""

    name: str
    beside: str
    ratio: float
    reach: Reach
    ours: float
    theirs: float
    unit: str


def figure_of(  # noqa: PLR0917 - a row of a table has columns
    name: str,
    beside: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    reach: Reach,
    unit: str,
) -> Figure:
    """The figure of pairs that were measured in turn."""
    ratio = median_ratio(ours, theirs)
    middle = statistics.median(ours), statistics.median(theirs)
    return Figure(name, beside, ratio, reach, *middle, unit)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` (0 to 1) of ``values`` do not exceed."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    # Not below the first, and counted in whole values: the nearest-rank definition.
    rank = max(1, -int(-share * len(ordered) // 1))
    return ordered[min(rank, len(ordered)) - 1]


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median over pairs that were measured one after the other.

    A machine that others use is sometimes fast and sometimes slow; both of a pair see the same.
    """
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


def alternately(
    repetitions: int, one: Callable[[], float], other: Callable[[], float]
) -> tuple[list[float], list[float]]:
    """Measure both in turn, each first as often as the other; both once before, uncounted."""
    one()
    other()
    ones: list[float] = []
    others: list[float] = []
    for i in range(repetitions):
        if i % 2:
            others.append(other())
            ones.append(one())
        else:
            ones.append(one())
            others.append(other())
    return ones, others
