"""Daemons forked from a process that has loaded them already: most of a start is loading.

The same program with the same arguments, environment and files as a new interpreter would have; a
test of how an interpreter starts wants ``subprocess.Popen``. What both can do has the same names.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["lessor_daemon.start", "lessor_daemon.cli", "pytest"])


class ForkedDaemon:
    """``lessor serve`` that runs, its output appended to ``log``."""

    def __init__(self, arguments: list[str], log: Path, environ: Mapping[str, str]) -> None:
        # Whatever happens to the tests, it ends with them.
        self._process = _FORKS.Process(
            target=_serve, args=(arguments, str(log), dict(environ)), daemon=True
        )
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """Its exit code, the negative number of the signal that ended it, None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        """Does nothing to one that has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code. Raises ``subprocess.TimeoutExpired``."""
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired("lessor serve", timeout or 0)
        return code


def _serve(arguments: list[str], log: str, environ: dict[str, str]) -> None:
    written = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for standard in (sys.stdout, sys.stderr):
        os.dup2(written, standard.fileno())
    os.close(written)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv = ["lessor_daemon", *arguments]
    from lessor_daemon import start  # noqa: PLC0415  # only where it runs

    sys.exit(start.main())
