"""Becomes a child of the daemon, the embedded store's server or a worker, after tying its life.

Run as a script: ``child.py DAEMON_PID UMASK PROGRAM ARGUMENT…``. It stands between fork and exec as
a small program of its own: a forked copy of a process with threads must not run Python code.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(daemon_pid: int, umask: int, command: list[str]) -> None:
    """Have the kernel kill this process with the daemon (Linux only), and execute ``command``."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != daemon_pid:  # it died before the line above
        sys.exit(1)
    if umask >= 0:
        os.umask(umask)
    os.execv(command[0], command)  # noqa: S606  # no shell is what is wanted


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
