"""The metronome's script: ``sleeping.py FILE``. It ends with its stdin.

It writes a line for each time that it woke too late: when it should have, and when it did, in
seconds of ``CLOCK_BOOTTIME``.
"""

import select
import sys
import time

BEAT_SECONDS = 0.01
LATE_SECONDS = 0.03


def main() -> None:
    """See above."""
    with open(sys.argv[1], "w", encoding="ascii", buffering=1) as file:  # noqa: PTH123  # as stamping.py
        while True:
            due = time.clock_gettime(time.CLOCK_BOOTTIME) + BEAT_SECONDS
            if select.select([sys.stdin], [], [], BEAT_SECONDS)[0]:
                return
            woke = time.clock_gettime(time.CLOCK_BOOTTIME)
            if woke - due > LATE_SECONDS:
                file.write(f"{due} {woke}\n")


if __name__ == "__main__":
    main()
