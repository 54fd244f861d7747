"""Daemons load this as ``sitecustomize``: their clocks go as a file says, which the rig writes.

The file holds two numbers: by how many seconds the wall clock is off, and the rate at which the
clock since boot runs. All other clocks, asyncio's among them, stay true.
"""

from __future__ import annotations

import os
import time

LOOK_EVERY_NS = 50_000_000

_path = os.environ["RIG_TIMES"]
_wall, _wall_ns, _clock_ns = time.time, time.time_ns, time.clock_gettime_ns
_looked_at_ns = 0
_offset, _rate = 0.0, 1.0
_true_ns = _shown_ns = _clock_ns(time.CLOCK_BOOTTIME)
"""Where the clock since boot took up its present rate: the true time, and what it showed."""


def _look() -> int:
    """The true time since boot, and ``_offset`` and ``_rate`` as they are now."""
    global _looked_at_ns, _offset, _rate, _true_ns, _shown_ns  # noqa: PLW0603  # it is the process'
    now_ns = _clock_ns(time.CLOCK_BOOTTIME)
    if now_ns - _looked_at_ns < LOOK_EVERY_NS:
        return now_ns
    _looked_at_ns = now_ns
    try:
        with open(_path, encoding="ascii") as file:  # noqa: PTH123  # loaded before anything else
            offset, rate = map(float, file.read().split())
    except (OSError, ValueError):
        return now_ns  # nothing is asked for yet, or it is just being written
    if rate != _rate:
        _shown_ns += round((now_ns - _true_ns) * _rate)
        _true_ns = now_ns
    _offset, _rate = offset, rate
    return now_ns


def _shown_wall() -> float:
    _look()
    return _wall() + _offset


def _shown_wall_ns() -> int:
    _look()
    return _wall_ns() + round(_offset * 1e9)


def _shown_clock_ns(clock: int) -> int:
    if clock != time.CLOCK_BOOTTIME:
        return _clock_ns(clock)
    now_ns = _look()
    return _shown_ns + round((now_ns - _true_ns) * _rate)


time.time, time.time_ns, time.clock_gettime_ns = _shown_wall, _shown_wall_ns, _shown_clock_ns
