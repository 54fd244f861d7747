"""What ``lessor run`` tells people, on stderr, and programs, on ``--events-fd``.

Neither may ever hold up or end a run: a line goes out only when its reader has room for it.
"""

from __future__ import annotations

import os
import select

from lessor.text import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

QUIET, NORMAL, VERBOSE = 0, 1, 2

_STDERR = 2
_LONGEST_LINE = 1_000
_ATOMIC_WRITE = 4_096
"""What a pipe that polls as writable surely takes without waiting (``PIPE_BUF``)."""
_BACKLOG = 64
_HOLDERS_IN_EVENT = 20


class Outlet:
    """A descriptor that is written to only when that cannot wait.

    The descriptor's own mode is left alone: it is shared with the command. What does not fit is
    kept, up to a bound, and tried again with the next line; beyond the bound the oldest goes.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._backlog: list[bytes] = []

    def write(self, line: bytes) -> None:
        """Send ``line`` (at most 4096 bytes), now or later or never."""
        self._backlog = [*self._backlog, line][-_BACKLOG:]
        self.flush()

    def flush(self) -> None:
        """Send what is waiting, as far as there is room."""
        while self._backlog and self._has_room():
            try:
                os.write(self._fd, self._backlog[0][:_ATOMIC_WRITE])
            except BlockingIOError:
                return
            except OSError:
                self._backlog.clear()  # the reader is gone; the run goes on
                return
            del self._backlog[0]

    def _has_room(self) -> bool:
        poller = select.poll()
        try:
            poller.register(self._fd, select.POLLOUT)
            return bool(poller.poll(0))
        except OSError:
            self._backlog.clear()
            return False


class Narrator:
    """``lessor: …`` lines on stderr."""

    def __init__(self, level: int = NORMAL, outlet: Outlet | None = None) -> None:
        self._level = level
        self._outlet = outlet or Outlet(_STDERR)

    def fail(self, text: str) -> None:
        """Something a person must know even with ``-q``."""
        self._line(text)

    def say(self, text: str) -> None:
        """What happens."""
        if self._level >= NORMAL:
            self._line(text)

    def detail(self, text: str) -> None:
        """What only ``-v`` shows."""
        if self._level >= VERBOSE:
            self._line(text)

    def flush(self) -> None:
        """Try again to send what had no room."""
        self._outlet.flush()

    def _line(self, text: str) -> None:
        shown = clean(text, _LONGEST_LINE)
        self._outlet.write(f"lessor: {shown}\n".encode("utf-8", "replace"))


class Events:
    """JSON events, one a line, for ``--events-fd``; without a descriptor they go nowhere."""

    def __init__(self, fd: int | None, wall_clock: Callable[[], float]) -> None:
        self._outlet = None if fd is None else Outlet(fd)
        self._wall_clock = wall_clock

    def emit(self, event: str, **fields: object) -> None:
        """One event. ``time`` is the wall clock's, in seconds, for people; it decides nothing."""
        if self._outlet is None:
            return
        import json  # noqa: PLC0415 - only who asks for events pays for it

        holders = fields.get("holders")
        if isinstance(holders, list):
            fields["holders"] = holders[:_HOLDERS_IN_EVENT]
        body = {"event": event, "time": round(self._wall_clock(), 3), **fields}
        line = json.dumps(body).encode() + b"\n"
        if len(line) > _ATOMIC_WRITE:
            # A longer line could block half-way. The holders are what makes one long.
            body.pop("holders", None)
            line = json.dumps(body).encode() + b"\n"
        if len(line) <= _ATOMIC_WRITE:
            self._outlet.write(line)

    def flush(self) -> None:
        """Try again to send what had no room."""
        if self._outlet is not None:
            self._outlet.flush()
