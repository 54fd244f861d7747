"""A machine that is suspended, as far as ``lessor run`` can tell.

What a suspended machine does is done in its parts: every process stands still (SIGSTOP), and
afterwards ``CLOCK_BOOTTIME`` has gone on while ``CLOCK_MONOTONIC``, and with it the time-out of a
poll, has not. Run as a program this file is ``lessor`` on such a clock.
"""

from __future__ import annotations

import mmap
import os
import runpy
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

_SIZE = 8


class Suspension:
    """``wrapper`` goes before a ``lessor run``; both its processes then follow this clock."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "suspended"
        self._path.write_bytes(bytes(_SIZE))
        self.wrapper = (sys.executable, __file__, str(self._path))
        self._suspended_ns = 0

    def suspend(self, pids: set[int], seconds: float) -> float:
        """Everything stands still, the clock goes on, everything goes on. When that was."""
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        self._suspended_ns += int(seconds * 1e9)
        with self._path.open("r+b") as file:
            file.write(self._suspended_ns.to_bytes(_SIZE, "little"))
        resumed = time.monotonic()
        for pid in pids:
            with suppress(ProcessLookupError):  # killed already by one that woke up before
                os.kill(pid, signal.SIGCONT)
        return resumed


def _set_clock_forward(path: str) -> None:
    with Path(path).open("rb") as file:
        shared = mmap.mmap(file.fileno(), _SIZE, prot=mmap.PROT_READ)
    real = time.clock_gettime_ns

    def clock_gettime_ns(clock: int) -> int:
        suspended = int.from_bytes(shared[:], "little") if clock == time.CLOCK_BOOTTIME else 0
        return real(clock) + suspended

    time.clock_gettime_ns = clock_gettime_ns


if __name__ == "__main__":
    # suspending.py FILE python -m lessor ARGUMENTS…
    _set_clock_forward(sys.argv[1])
    sys.argv = ["lessor", *sys.argv[5:]]
    sys.path.pop(0)
    runpy.run_module("lessor", run_name="__main__")
