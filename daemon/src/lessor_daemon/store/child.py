"""Becomes the embedded store's server, after tying its own life to the daemon's.

Run as a script: ``child.py DAEMON_PID SERVER ARGUMENT…``. It stands between fork and exec as a
small program of its own: a forked copy of a process with threads must not run Python code.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(daemon_pid: int, server: list[str]) -> None:
    """Have the kernel kill this process with the daemon, and execute ``server``."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != daemon_pid:  # it died before the line above
        sys.exit(1)
    os.execv(server[0], server)  # noqa: S606  # no shell is what is wanted


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
