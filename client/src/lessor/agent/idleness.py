"""For how long nothing has been done with the seat, as far as the command's tree shows.

Asked only where the license has an idle time-out, once per renewal. Something is done when

* the tree used more than ``BUSY_SHARE`` of one processor since the last look, or
* there was output, or input from a terminal: the times of the command's standard streams moved. A
  pipe has none that tell; where output goes to one, whatever the tree writes anywhere counts.

Where this cannot be read (no ``/proc``, a command of another user's) nothing is ever idle: a seat
that is kept too long costs less than a session that ends under somebody's hands.
"""

from __future__ import annotations

import os
import stat

from .tree import walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .tree import Entry

BUSY_SHARE = 0.02
"""A window that only shows something uses less; whatever computes uses more."""
_STDIN, _STDOUT, _STDERR = 0, 1, 2
_WRITTEN = b"wchar: "


class Idleness:
    """What was seen at the last look, and since when nothing has changed."""

    def __init__(self, now_ms: int) -> None:
        self._since_ms = now_ms
        self._looked_ms = now_ms
        self._ticks: int | None = None
        self._streams: list[int | None] = []
        self._tick_ms = 1000 / os.sysconf("SC_CLK_TCK")

    def look(self, root_pid: int, child_pid: int, now_ms: int) -> int:
        """For how many ms the tree below ``root_pid`` is idle; ``child_pid`` is the command."""
        tree = list(walk(root_pid))
        ticks = sum(entry.ticks for entry in tree) if tree else None
        streams = _streams(child_pid, tree)
        if self._was_used(ticks, now_ms) or None in streams or streams != self._streams:
            self._since_ms = now_ms
        self._looked_ms, self._ticks, self._streams = now_ms, ticks, streams
        return now_ms - self._since_ms

    def overlook_output(self, root_pid: int, child_pid: int) -> None:
        """What has just been written to the terminal was written by us."""
        self._streams = _streams(child_pid, list(walk(root_pid)))

    def _was_used(self, ticks: int | None, now_ms: int) -> bool:
        if ticks is None or self._ticks is None:
            return True
        used_ms = (ticks - self._ticks) * self._tick_ms
        # Less than before: a process has ended, with what it had used.
        return used_ms < 0 or used_ms > BUSY_SHARE * (now_ms - self._looked_ms)


def _streams(pid: int, tree: list[Entry]) -> list[int | None]:
    """What changes with output and typing, for each standard stream; None where it hides."""
    return [_stream(pid, fd, tree) for fd in (_STDIN, _STDOUT, _STDERR)]


def _stream(pid: int, fd: int, tree: list[Entry]) -> int | None:
    try:
        seen = os.stat(f"/proc/{pid}/fd/{fd}")  # noqa: PTH116 - pathlib costs 3 ms at every start
    except FileNotFoundError:
        return 0  # closed, or the command has ended and the rest of its tree tells
    except OSError:
        return None
    if stat.S_ISCHR(seen.st_mode):
        return max(seen.st_mtime_ns, seen.st_atime_ns)
    if fd == _STDIN:
        return 0
    if stat.S_ISREG(seen.st_mode):
        return seen.st_mtime_ns
    return _written(tree)


def _written(tree: list[Entry]) -> int | None:
    total = 0
    for entry in tree:
        try:
            with open(f"/proc/{entry.pid}/io", "rb") as file:  # noqa: PTH123 - as above
                lines = file.read().splitlines()
        except FileNotFoundError:
            continue
        except OSError:
            return None
        total += next((int(line[7:]) for line in lines if line.startswith(_WRITTEN)), 0)
    return total
