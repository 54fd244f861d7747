"""The daemon's two clocks. Whoever needs one is given it; tests give their own.

Leases are measured on ``boottime_ms`` alone. The wall clock is for people, for the expiry of
licenses and keys, and for the least number of an epoch.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boottime_ms() -> int:
    """Milliseconds since boot, time in suspend included (where the system has such a clock)."""
    return time.clock_gettime_ns(_BOOTTIME) // 1_000_000


def wall_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def wall_text(ms: int) -> str:
    """RFC 3339, UTC, whole seconds."""
    moment = datetime.fromtimestamp(ms // 1000, UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
