"""The timeline of a run as SVG: seats and who ran, above the faults."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .history import Fault, History, Limit, Ran
    from .invariants import Violation

WIDTH, LEFT, RIGHT = 1400, 130, 20
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
STYLE = (
    "text{font:11px sans-serif;fill:#222}.t{font-weight:bold}"
    ".r{fill:#9ec5f4;stroke:#3569a8;stroke-width:.7}"
    ".p{fill:none;stroke:#17365d;stroke-width:1}.s{fill:none;stroke:#b3261e;stroke-width:1.4}"
    ".g{stroke:#ddd;stroke-width:1}"
)


def draw(history: History, violations: Sequence[Violation]) -> str:
    """The whole picture."""
    began = min((run.began for run in history.ran), default=0.0)
    ended = max([run.ended for run in history.ran] + [f.ended for f in history.faults], default=1.0)
    scale = _Scale(began, max(ended, began + 1))
    parts: list[str] = []
    top = 20
    for license in sorted({run.license for run in history.ran}):
        runs = [run for run in history.ran if run.license == license]
        limits = [limit for limit in history.limits if limit.license == license]
        parts += _plot(scale, top, license, runs, limits)
        top += PLOT_HEIGHT + GAP
    parts += _faults(scale, top, history.faults)
    rows = sum(_rows_of([f for f in history.faults if f.target == target]) for target in TARGETS)
    bottom = top + rows * ROW_HEIGHT + 20
    for one in violations:
        x = scale.x(one.at)
        parts.append(f'<line x1="{x}" x2="{x}" y1="10" y2="{bottom}" stroke="red"/>')
    parts += _axis(scale, bottom)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{bottom + 30}">'
    ground = f'<style>{STYLE}</style><rect width="{WIDTH}" height="{bottom + 30}" fill="white"/>'
    return "\n".join([head, ground, *parts, "</svg>"]) + "\n"


class _Scale:
    def __init__(self, began: float, ended: float) -> None:
        self.began, self.ended = began, ended

    def x(self, moment: float) -> float:
        share = (moment - self.began) / (self.ended - self.began)
        return round(LEFT + max(0.0, min(1.0, share)) * (WIDTH - LEFT - RIGHT), 1)


def _plot(
    scale: _Scale, top: float, license: str, runs: Sequence[Ran], limits: Sequence[Limit]
) -> list[str]:
    everyone = _steps((run.began, run.ended) for run in runs)
    processes = _steps((run.began, run.ended) for run in runs if run.is_process)
    seats = [(limit.since, limit.seats) for limit in sorted(limits, key=lambda one: one.since)]
    most = max([n for _, n in everyone] + [n for _, n in seats], default=1)

    def y(number: float) -> float:
        return round(top + PLOT_HEIGHT - number / (most + 0.5) * PLOT_HEIGHT, 1)

    parts = [f'<text class="t" x="8" y="{top + 12}">{escape(license)}</text>']
    parts += [
        f'<text x="8" y="{top + 28}">seats (red)</text>',
        f'<text x="8" y="{top + 42}">running (blue)</text>',
        f'<text x="8" y="{top + 56}">processes (dark)</text>',
    ]
    for number in range(most + 1):
        parts.append(
            f'<line class="g" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(number)}" y2="{y(number)}"/>'
        )
        parts.append(f'<text x="{LEFT - 14}" y="{y(number) + 4}">{number}</text>')
    area = _path(scale, y, everyone)
    if area:
        parts.append(f'<path class="r" d="{area} V{y(0)} H{scale.x(everyone[0][0])} Z"/>')
    parts.append(f'<path class="p" d="{_path(scale, y, processes)}"/>')
    parts.append(f'<path class="s" d="{_path(scale, y, [*seats, (scale.ended, seats[-1][1])])}"/>')
    return parts


def _steps(spans: Iterable[tuple[float, float]]) -> list[tuple[float, int]]:
    edges = sorted(edge for began, ended in spans for edge in ((began, 1), (ended, -1)))
    running, found = 0, []
    for moment, step in edges:
        running += step
        found.append((moment, running))
    return found


def _path(scale: _Scale, y: object, steps: Sequence[tuple[float, int]]) -> str:
    if not steps or not callable(y):
        return ""
    first, *others = steps
    return f"M{scale.x(first[0])} {y(first[1])}" + "".join(
        f"H{scale.x(moment)}V{y(number)}" for moment, number in others
    )


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
    if width > 8 * len(fault.kind):
        bar += f'<text x="{x + 3}" y="{y + 9}" fill="white">{fault.kind}</text>'
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
