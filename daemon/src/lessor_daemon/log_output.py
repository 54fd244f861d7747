"""Where the lines of the log go, and what becomes of those that cannot be written.

The disk that a log stands on fills up; who reads a pipe goes away, or stops reading. That is no
reason for a daemon to end or stand still, nor for a call to fail: such a line is lost, and counted.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import stat
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

PATIENCE_MS = 50
"""So long a line waits for a reader that lags behind; after that none waits until it reads on."""


class LogOutput:
    """Writes whole lines to ``stream``, by any thread; None, a closed one, loses all.

    Past the buffer of a stream with a descriptor: what was kept there could not be written at the
    end of the process either, and would make that end a failure.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._lost = self._told = 0
        self._stream = stream
        self._lock = threading.Lock()
        self._is_torn = False
        self._patience_ms = PATIENCE_MS
        self._fd: int | None = None
        self._room: select.poll | None = None
        """Asked where somebody must read what is written."""
        if stream is not None:
            with contextlib.suppress(io.UnsupportedOperation):  # one in memory
                self._fd = stream.fileno()
        if self._fd is not None and not stat.S_ISREG(os.fstat(self._fd).st_mode):
            self._room = select.poll()
            self._room.register(self._fd, select.POLLOUT)

    @property
    def is_terminal(self) -> bool:
        """Whether a person looks at it."""
        return self._stream is not None and self._stream.isatty()

    def write(self, line: str) -> int:
        """Write a line, without its end, or lose it.

        Returns how many were lost since the start when that is to be told: they can be written
        again. Else 0.
        """
        with self._lock:
            try:
                self._put(line + "\n")
            except (OSError, ValueError):  # ValueError: the stream is closed
                self._lost += 1
                return 0
            if self._lost == self._told:
                return 0
            self._told = self._lost
            return self._lost

    def _put(self, text: str) -> None:
        if self._stream is None:
            raise OSError("there is no such stream")
        if self._fd is None:
            self._stream.write(text)
            self._stream.flush()
            return
        # What was begun before the disk was full stays a line of its own.
        text = "\n" + text if self._is_torn else text
        rest = memoryview(text.encode(self._stream.encoding or "utf-8", "backslashreplace"))
        while rest:
            self._wait_for_room()
            # No more than what fits for certain: the rest would wait in the kernel.
            done = os.write(self._fd, rest[: select.PIPE_BUF])
            self._is_torn = rest[done - 1] != ord("\n")
            rest = rest[done:]

    def _wait_for_room(self) -> None:
        """Raises ``OSError`` when nobody reads."""
        if self._room is None:
            return
        if not self._room.poll(self._patience_ms):
            self._patience_ms = 0
            raise OSError("nobody reads what was written before")
        self._patience_ms = PATIENCE_MS
