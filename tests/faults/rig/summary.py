"""Several runs in one table: ``python -m faults.rig.summary DIRECTORY…``, each with a history."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from . import figures, table
from .history import History
from .service import judge
from .table import Measured

COUNTED = ("faults", "processes that ran", "virtual runs", "requests")


@dataclass
class Together:
    """The runs on one topology with the same durations."""

    runs: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    violations: Counter[int] = field(default_factory=Counter)
    measured: Measured = field(default_factory=Measured)

    def add(self, history: History) -> None:
        """Take in a run."""
        self.runs += 1
        self.counts.update(figures.counts(history))
        self.violations.update(one.invariant for one in judge(history))
        self.measured.add(Measured.of(history))


def main(directories: list[str]) -> int:
    """Prints Markdown. 1 if there was a violation."""
    found: dict[tuple[float, str], Together] = {}
    for directory in directories:
        path = Path(directory)
        history = History.load(path / "history.jsonl")
        # Histories of earlier rigs do not say it, but their directories do.
        topology = history.topology or path.name.partition("-")[0]
        history.topology = topology
        found.setdefault((history.ttl, topology), Together()).add(history)
    print("| store | ttl | runs |", " | ".join(COUNTED), "| violations |")
    print("| --- | ---: | ---: |", " | ".join("---:" for _ in COUNTED), "| ---: |")
    for (ttl, topology), one in sorted(found.items()):
        counts = " | ".join(f"{one.counts[name]:,}" for name in COUNTED)
        broken = ", ".join(f"({n}) {times}" for n, times in sorted(one.violations.items()))
        print(f"| {topology} | {ttl:g} s | {one.runs} | {counts} | {broken or 0} |")
    for ttl in sorted({ttl for ttl, _ in found}):
        measured = Measured()
        for (other, _), one in found.items():
            if other == ttl:
                measured.add(one.measured)
        print(f"\nttl {ttl:g} s\n")
        print("\n".join(table.lines(measured)))
    return any(one.violations for one in found.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
