"""The report of a run: Markdown with a picture beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import figures, picture, table
from .invariants import NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .history import History
    from .invariants import Violation

SHOWN = 20


def write(
    out: Path,
    title: str,
    history: History,
    violations: Sequence[Violation],
    *,
    wall_seconds: float,
) -> None:
    """``report.md`` and ``timeline.svg`` in ``out``."""
    (out / "timeline.svg").write_text(picture.draw(history, violations), encoding="utf-8")
    (out / "report.md").write_text(
        text(title, history, violations, wall_seconds=wall_seconds), encoding="utf-8"
    )


def text(
    title: str, history: History, violations: Sequence[Violation], *, wall_seconds: float
) -> str:
    """The Markdown."""
    lines = [f"# Faults: {title}", "", f"ttl {history.ttl:g} s, margin {history.margin:g} s, "]
    lines[-1] += f"{wall_seconds:.0f} s in all. {'No' if not violations else len(violations)} "
    lines[-1] += f"violation{'' if len(violations) == 1 else 's'}."
    lines += ["", "![Seats, running processes and faults](timeline.svg)", ""]
    lines += ["| invariant | violations |", "| --- | ---: |"]
    for number, name in NAMES.items():
        count = sum(1 for one in violations if one.invariant == number)
        lines.append(f"| ({number}) {name} | {count} |")
    lines += ["", "| | |", "| --- | ---: |"]
    lines += [f"| {name} | {count} |" for name, count in figures.counts(history).items()]
    lines += ["", *table.lines(table.Measured.of(history))]
    lines += ["", "| fault | times |", "| --- | ---: |"]
    lines += [f"| {kind} | {n} |" for kind, n in sorted(figures.fault_counts(history).items())]
    if violations:
        began = min((run.began for run in history.ran), default=0.0)
        lines += ["", "## Violations", ""]
        lines += [
            f"- ({one.invariant}) at {one.at - began:.2f} s: {one.what}"
            for one in violations[:SHOWN]
        ]
        if len(violations) > SHOWN:
            lines.append(f"- and {len(violations) - SHOWN} more")
    return "\n".join(lines) + "\n"
