"""The timeline of a run as SVG: seats and who ran, above the faults.

``python -m faults.rig.picture HISTORY SVG FROM TO`` draws a part of a run that was kept.
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from .history import History

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .history import Fault, Limit, Ran
    from .invariants import Violation

WIDTH, LEFT, RIGHT = 1400, 160, 20
PLOT_HEIGHT, ROW_HEIGHT, GAP = 110, 13, 34
TARGETS = ("store", "store-path", "daemon", "path", "admin", "run")
COLOURS = {
    "store": "#b3261e",
    "store-path": "#d9730d",
    "daemon": "#7b3fb5",
    "path": "#c79a00",
    "admin": "#0b7285",
    "run": "#5f6b7a",
}
LETTER = 6.2
"""How wide one is, on average and more."""
MOST_LINES = 6
"""Of the grid behind a plot."""
STYLE = (
    "text{font:11px sans-serif;fill:#222}.t{font-weight:bold}.b{fill:white}"
    ".r{fill:#9ec5f4;stroke:#3569a8;stroke-width:.7}"
    ".p{fill:#17365d;fill-opacity:.75}.s{fill:none;stroke:#b3261e;stroke-width:1.6}"
    ".g{stroke:#ddd;stroke-width:1}"
)


def draw(
    history: History,
    violations: Sequence[Violation],
    between: tuple[float, float] | None = None,
) -> str:
    """The picture; ``between`` two times in seconds since the run began, or all of it."""
    began = min((run.began for run in history.ran), default=0.0)
    ended = max([run.ended for run in history.ran] + [f.ended for f in history.faults], default=1.0)
    if between is not None:
        began, ended = began + between[0], began + between[1]
    scale = _Scale(began, max(ended, began + 1))
    ran = [run for run in history.ran if scale.shows(run.began, run.ended)]
    faults = [one for one in history.faults if scale.shows(one.began, one.ended)]
    violations = [one for one in violations if scale.shows(one.at, one.at)]
    parts: list[str] = []
    top = 20
    for license in sorted({run.license for run in ran}):
        runs = [run for run in ran if run.license == license]
        limits = [limit for limit in history.limits if limit.license == license]
        parts += _plot(scale, top, license, runs, limits)
        top += PLOT_HEIGHT + GAP
    parts += _faults(scale, top, faults)
    rows = sum(_rows_of([f for f in faults if f.target == target]) for target in TARGETS)
    bottom = top + rows * ROW_HEIGHT + 20
    for one in violations:
        x = scale.x(one.at)
        parts.append(f'<line x1="{x}" x2="{x}" y1="10" y2="{bottom}" stroke="red"/>')
    parts = [*_axis(scale, bottom), *parts]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{bottom + 30}">'
    ground = f'<style>{STYLE}</style><rect width="{WIDTH}" height="{bottom + 30}" fill="white"/>'
    return "\n".join([head, ground, *parts, "</svg>"]) + "\n"


class _Scale:
    def __init__(self, began: float, ended: float) -> None:
        self.began, self.ended = began, ended

    def x(self, moment: float) -> float:
        share = (moment - self.began) / (self.ended - self.began)
        return round(LEFT + max(0.0, min(1.0, share)) * (WIDTH - LEFT - RIGHT), 1)

    def shows(self, began: float, ended: float) -> bool:
        return began <= self.ended and ended >= self.began


def _plot(
    scale: _Scale, top: float, license: str, runs: Sequence[Ran], limits: Sequence[Limit]
) -> list[str]:
    everyone = _steps(runs)
    processes = _steps([run for run in runs if run.is_process])
    seats = _in_force(limits, scale.began, scale.ended)
    most = max([n for _, n in everyone] + [n for _, n in seats], default=1)

    def y(number: float) -> float:
        return round(top + PLOT_HEIGHT - number / (most * 1.08) * PLOT_HEIGHT, 1)

    parts = [f'<text class="t" x="8" y="{top + 12}">{escape(license)}</text>']
    parts += [
        f'<text x="8" y="{top + 28}">seats (red)</text>',
        f'<text x="8" y="{top + 42}">used (light)</text>',
        f'<text x="8" y="{top + 56}">by processes (dark)</text>',
    ]
    for number in range(0, most + 1, _grid_step(most)):
        parts.append(
            f'<line class="g" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(number)}" y2="{y(number)}"/>'
        )
        parts.append(f'<text x="{LEFT - 6}" y="{y(number) + 4}" text-anchor="end">{number}</text>')
    for kind, steps in (("r", everyone), ("p", processes)):
        if steps:
            area = f"{_path(scale, y, steps)}V{y(0)}H{scale.x(steps[0][0])}Z"
            parts.append(f'<path class="{kind}" d="{area}"/>')
    parts.append(f'<path class="s" d="{_path(scale, y, seats)}"/>')
    return parts


def _in_force(limits: Iterable[Limit], began: float, ended: float) -> list[tuple[float, int]]:
    ordered = [one for one in sorted(limits, key=lambda one: one.since) if one.since <= ended]
    before = [one for one in ordered if one.since <= began][-1:]
    shown = [
        (max(one.since, began), one.seats) for one in ordered if one in before or one.since > began
    ]
    return [*shown, (ended, shown[-1][1])] if shown else []


def _grid_step(most: int) -> int:
    tens = 1
    while most > MOST_LINES * 10 * tens:
        tens *= 10
    return next(tens * few for few in (1, 2, 5, 10) if most <= MOST_LINES * tens * few)


def _steps(runs: Iterable[Ran]) -> list[tuple[float, int]]:
    """How many seats were used, from each moment at which that changed."""
    edges = [(run.began, run.seats) for run in runs] + [(run.ended, -run.seats) for run in runs]
    used, found = 0, []
    for moment, step in sorted(edges):
        used += step
        found.append((moment, used))
    return found


def _path(scale: _Scale, y: Callable[[float], float], steps: Sequence[tuple[float, int]]) -> str:
    """Where several changes fall on one spot, the greatest and the last of them are drawn."""
    found = ""
    for x, group in groupby(steps, key=lambda step: round(scale.x(step[0]) * 2) / 2):
        numbers = [number for _, number in group]
        found += f"H{x:g}" if found else f"M{x:g} {y(numbers[0])}"
        found += f"V{y(max(numbers))}"
        if numbers[-1] != max(numbers):
            found += f"V{y(numbers[-1])}"
    return found


def _lanes(faults: Sequence[Fault]) -> list[list[Fault]]:
    lanes: list[list[Fault]] = []
    for fault in sorted(faults, key=lambda one: one.began):
        for lane in lanes:
            if lane[-1].ended + 1.5 < fault.began:
                lane.append(fault)
                break
        else:
            lanes.append([fault])
    return lanes


def _rows_of(faults: Sequence[Fault]) -> int:
    return len(_lanes(faults)[:6])


def _faults(scale: _Scale, top: float, faults: Sequence[Fault]) -> list[str]:
    parts = []
    row = 0
    for target in TARGETS:
        lanes = _lanes([fault for fault in faults if fault.target == target])[:6]
        for i, lane in enumerate(lanes):
            y = top + row * ROW_HEIGHT
            if i == 0:
                parts.append(f'<text class="t" x="8" y="{y + 9}">{target}</text>')
            parts += [_bar(scale, y, fault) for fault in lane]
            row += 1
    return parts


def _bar(scale: _Scale, y: float, fault: Fault) -> str:
    x = scale.x(fault.began)
    width = max(2.0, round(scale.x(fault.ended) - x, 1))
    title = escape(f"{fault.kind} {fault.note}, {fault.ended - fault.began:.2f} s")
    bar = f'<rect x="{x}" y="{y}" width="{width}" height="{ROW_HEIGHT - 3}" rx="1.5" '
    bar += f'fill="{COLOURS[fault.target]}" opacity=".8"><title>{title}</title></rect>'
    if width > LETTER * len(fault.kind) + 6:
        bar += f'<text class="b" x="{x + 3}" y="{y + 9}">{fault.kind}</text>'
    return bar


def _axis(scale: _Scale, y: float) -> list[str]:
    seconds = scale.ended - scale.began
    step = next(s for s in (5, 10, 30, 60, 300, 600, 3600, 36000) if seconds / s <= 30)
    parts = []
    for number in range(int(seconds // step) + 1):
        x = scale.x(scale.began + number * step)
        parts.append(f'<line class="g" x1="{x}" x2="{x}" y1="10" y2="{y}"/>')
        parts.append(f'<text x="{x - 8}" y="{y + 15}">{number * step} s</text>')
    return parts


if __name__ == "__main__":
    kept, svg, first, last = sys.argv[1:]
    part = (float(first), float(last))
    Path(svg).write_text(draw(History.load(Path(kept)), (), part), encoding="utf-8")
