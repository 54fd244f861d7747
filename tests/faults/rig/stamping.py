"""The command of each real run: stamps the time every few milliseconds, and ends after a while.

Run as a script: ``stamping.py DIRECTORY SECONDS MODE``, MODE being ``plain``, ``stubborn``
(ignores every polite signal) or ``forking`` (a descendant in a session of its own stamps as well).
Each process has a file of its own in DIRECTORY: the first and the last time it ran, then who it is.
The file is mapped, so a stamp is in it even if the next instruction is the last.

It imports little: it is started hundreds of times.
"""

import mmap
import os
import signal
import struct
import sys
import time

TIMES = struct.Struct("<dd")
PAUSE_SECONDS = 0.004
SIZE = 256


def stamp(directory: str, seconds: float) -> None:
    """Stamp until the time is over or something kills us."""
    env = os.environ
    names = ("LEASE_ID", "FENCING_TOKEN", "LICENSE", "COUNT")
    who = " ".join(env["LESSOR_" + name] for name in names)
    fd = os.open(f"{directory}/{os.getpid()}", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    os.ftruncate(fd, SIZE)
    slot = mmap.mmap(fd, SIZE)
    slot[TIMES.size : TIMES.size + len(who)] = who.encode()
    began = time.clock_gettime(time.CLOCK_BOOTTIME)
    moment = began
    while moment < began + seconds:
        TIMES.pack_into(slot, 0, began, moment)
        time.sleep(PAUSE_SECONDS)
        moment = time.clock_gettime(time.CLOCK_BOOTTIME)


def main() -> None:
    """See above."""
    directory, seconds, mode = sys.argv[1], float(sys.argv[2]), sys.argv[3]
    if mode == "stubborn":
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
    if mode == "forking" and os.fork() == 0:
        os.setsid()
    stamp(directory, seconds)


if __name__ == "__main__":
    main()
