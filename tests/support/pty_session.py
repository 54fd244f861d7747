"""A process on a terminal of its own, as a person would sit at it."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import threading
from typing import TYPE_CHECKING

from .fake_server import KEY
from .waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

CTRL_C = "\x03"
CTRL_Z = "\x1a"


class PtySession:
    """``argv`` as the leader of a new session, whose terminal is typed at with ``type``."""

    def __init__(self, argv: list[str], *, url: str, home: Path, api_key: str = KEY) -> None:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("LESSOR_")}
        kept |= {"LESSOR_URL": url, "LESSOR_API_KEY": api_key, "HOME": str(home), "PS1": "ready> "}
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            ["setsid", "-c", *argv], stdin=slave, stdout=slave, stderr=slave, env=kept
        )
        os.close(slave)
        self._shown = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def shown(self) -> str:
        """All that the terminal has shown."""
        return self._shown.decode("utf-8", "replace")

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._master, text.encode())

    def expect(self, text: str, *, times: int = 1, seconds: float = 10.0) -> None:
        """Wait until the terminal has shown ``text`` so many times."""
        try:
            wait_until(lambda: self.shown.count(text) >= times, seconds, repr(text))
        except AssertionError as error:
            raise AssertionError(f"{error}; shown: {self.shown}") from None

    def foreground(self) -> int:
        """The process group that has the terminal."""
        return os.tcgetpgrp(self._master)

    def wait(self, seconds: float = 10.0) -> int:
        """The exit code of the session's leader."""
        return self.process.wait(seconds)

    def end(self) -> None:
        """Kill the leader; the kernel hangs up on the others."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(10)
        self._reader.join(10)
        os.close(self._master)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 4096)
            except OSError:
                return  # the last process has closed the terminal
            if not data:
                return
            self._shown += data
