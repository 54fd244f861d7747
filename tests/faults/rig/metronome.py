"""Whether the machine gives a process its turns."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from .history import Stall

SCRIPT = Path(__file__).with_name("sleeping.py")


class Metronome:
    """A process that only sleeps, and writes down when it woke too late."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._path.touch()
        command = [sys.executable, "-I", "-S", str(SCRIPT), str(path)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE)

    def finish(self) -> None:
        """End it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()

    def stalls(self) -> list[Stall]:
        """All that it saw; it must be finished."""
        lines = self._path.read_text(encoding="ascii").splitlines()
        return [Stall(*map(float, line.split())) for line in lines]
