"""``python -m bench``: every row, or those that ``ROW`` names, as a table and as JSON.

``OUT`` names a file for the JSON. The exit code is 0 whatever the figures say: a noisy machine is
no failure. Read them beside the load average in the last line.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from .rows import ROWS
from .servers import Failed

if TYPE_CHECKING:
    from .arithmetic import Figure


def main() -> int:
    wanted = os.environ.get("ROW", "").replace(",", " ").split()
    unknown = set(wanted) - {row.name for row in ROWS}
    if unknown:
        print(f"rows are {', '.join(row.name for row in ROWS)}, not {', '.join(unknown)}")
        return 2
    figures: list[Figure] = []
    print(f"{'row':<46} {'beside':<28} {'ratio':>6} {'reach':>7}  medians")
    for row in ROWS:
        if wanted and row.name not in wanted:
            continue
        try:
            with tempfile.TemporaryDirectory(prefix="lessor-bench-") as directory:
                figure = row.measure(Path(directory))
        except Failed as failed:
            print(f"{row.name:<46} not measured: {failed}", flush=True)
            continue
        figures.append(figure)
        mark = "" if figure.reach.is_met_by(figure.ratio) else "  missed"
        print(
            f"{figure.name:<46} {figure.beside:<28} {figure.ratio:>6.2f} {figure.reach!s:>7}  "
            f"{figure.ours:,.4g} beside {figure.theirs:,.4g} {figure.unit}{mark}",
            flush=True,
        )
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"\n{os.cpu_count()} cores, load average {load}")
    rows = [
        {
            **dataclasses.asdict(one),
            "reach": str(one.reach),
            "is_met": one.reach.is_met_by(one.ratio),
        }
        for one in figures
    ]
    if "OUT" in os.environ:
        Path(os.environ["OUT"]).write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
