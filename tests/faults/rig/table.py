"""The figures that the promise sets a mark for, of one run or of several together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from . import comeback, figures
from .plan import EMBEDDED

if TYPE_CHECKING:
    from collections.abc import Callable

    from .history import History

GRANTS_EMBEDDED, GRANTS_OTHER = "new grants again, embedded store", "new grants again, beyond G"
RENEWALS, HOME = "renewals again", "at home elsewhere"
DEAD, GIVEN_BACK, ABANDONED = "dead after the deadline", "given back", "abandoned"
BOTH_KILLED, FROZEN = "agent and leash killed", "whole tree frozen"


@dataclass
class Measured:
    """The figures of a run, or of several.

    ``values`` are seconds by figure; ``hurt`` is, by kind of fault, how often it came alone and how
    many healthy processes it cost.
    """

    values: dict[str, list[float]] = field(default_factory=dict)
    hurt: dict[str, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, history: History) -> Self:
        """All figures of one run."""
        found = cls({name: measure(history) for name, measure in MEASURES.items()})
        found.hurt = comeback.hurt(history)
        return found

    def add(self, other: Measured) -> None:
        """Take in another run."""
        for name, values in other.values.items():
            self.values.setdefault(name, []).extend(values)
        for kind, (times, killed) in other.hurt.items():
            before = self.hurt.get(kind, (0, 0))
            self.hurt[kind] = before[0] + times, before[1] + killed


def _embedded_grants(history: History) -> list[float]:
    return comeback.grants_again(history) if history.topology == EMBEDDED else []


def _other_grants(history: History) -> list[float]:
    """Less the grace that the lease clock has to run, and may not outrun."""
    if history.topology == EMBEDDED:
        return []
    return [max(0.0, seconds - history.recovery) for seconds in comeback.grants_again(history)]


def _overtime(history: History) -> list[float]:
    """Less what a seat may stay taken."""
    return [one - history.ttl - history.margin for one in figures.abandoned(history)]


MEASURES: dict[str, Callable[[History], list[float]]] = {
    RENEWALS: comeback.renewals_again,
    GRANTS_EMBEDDED: _embedded_grants,
    GRANTS_OTHER: _other_grants,
    HOME: comeback.at_home_elsewhere,
    DEAD: figures.past_deadline,
    GIVEN_BACK: figures.given_back,
    ABANDONED: _overtime,
    BOTH_KILLED: lambda history: figures.unprotected(history, "both-kill"),
    FROZEN: lambda history: figures.past_deadline(history, excused=True),
}

ROWS: tuple[tuple[str, str, str, float], ...] = (
    ("renewals again, after the store takes writes", RENEWALS, "p99 ≤ 1 s", 0.99),
    ("new grants again, embedded store", GRANTS_EMBEDDED, "≤ 2 s", 1.0),
    ("new grants again, other stores, beyond G", GRANTS_OTHER, "≤ 1 s", 1.0),
    ("agents of a killed daemon at home elsewhere", HOME, "p99 ≤ 3 s", 0.99),
    ("whole tree dead, after its deadline", DEAD, "p99 ≤ 100 ms", 0.99),
    ("seat back after SIGKILL of agent or leash", GIVEN_BACK, "at once", 0.99),
    ("seat of who died with both, beyond ttl + M, lease clock", ABANDONED, "≤ 500 ms", 1.0),
    ("hole: agent and leash killed at once, ran on for", BOTH_KILLED, "none", 1.0),
    ("hole: whole tree frozen, last seen after its deadline", FROZEN, "none", 1.0),
)


def lines(measured: Measured) -> list[str]:
    """Markdown: each figure with its mark, what half of them and what all (or 99 %) reached."""
    found = ["| figure | reach | seen: half | p99 or all | greatest | of |"]
    found.append("| --- | --- | ---: | ---: | ---: | ---: |")
    for kind, (times, killed) in sorted(measured.hurt.items()):
        reach = "none" if kind.endswith(comeback.BEYOND) else "0"
        found.append(f"| healthy processes killed by {kind} | {reach} | | {killed} | | {times} |")
    for name, key, mark, share in ROWS:
        values = measured.values.get(key, [])
        shares = " | ".join(_ms(values, one) for one in (0.5, share, 1.0))
        found.append(f"| {name} | {mark} | {shares} | {len(values)} |")
    return found


def _ms(values: list[float], share: float) -> str:
    return f"{figures.percentile(values, share) * 1000:.0f} ms" if values else "none"
