"""The one clock of a lease's client: milliseconds since boot, suspended time included."""

from __future__ import annotations

import time

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
# CLOCK_MONOTONIC stands still while a machine is suspended; outside Linux there is nothing better.


def now_ms() -> int:
    """Whole milliseconds of ``CLOCK_BOOTTIME``; the same for every process of this machine."""
    return time.clock_gettime_ns(_CLOCK) // 1_000_000
