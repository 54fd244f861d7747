"""The time that it surely is by now, so that a clock set back does not stretch a license.

The latest time ever seen is kept in a file. Within one boot ``CLOCK_BOOTTIME`` says how much has
passed since, so setting the clock back gains nothing while the machine is up; after a reboot time
goes on from the mark at the latest. Who deletes the file can mislead it: that is cooperation, as
with the machine's id.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import NamedTuple

from lessor.errors import UsageError

from . import state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Mark(NamedTuple):
    """It was ``wall`` (seconds since 1970) when ``boot_id`` had been up for ``up`` seconds."""

    wall: float
    boot_id: str
    up: float


def surely(mark: Mark | None, now: Mark) -> float:
    """The latest of what the clock says and what must have passed since the mark."""
    if mark is None:
        return now.wall
    if mark.boot_id == now.boot_id:
        return max(now.wall, mark.wall + max(0.0, now.up - mark.up))
    return max(now.wall, mark.wall)


class Clock:
    """``look`` gives the time and notes it. ``read`` is the machine's clocks."""

    def __init__(self, folder: Path, read: Callable[[], Mark]) -> None:
        self._path = folder / "clock"
        self._read = read

    def look(self) -> float:
        """Seconds since 1970, never before what was seen. Raises ``UsageError``.

        Two that look at once may overwrite each other's mark. Both marks lead to the same time,
        so there is no lock, which one who is frozen could keep from the others.
        """
        try:
            now = self._read()
            wall = surely(self._mark(), now)
            state.replace(self._path, json.dumps(Mark(wall, now.boot_id, now.up)))
        except OSError as error:
            raise UsageError(f"{self._path} cannot be kept: {error.strerror}") from None
        return wall

    def _mark(self) -> Mark | None:
        try:
            wall, boot_id, up = json.loads(self._path.read_text(encoding="utf-8"))
            return Mark(float(wall), str(boot_id), float(up))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            # It is replaced as a whole, so a half-written one is no accident of ours.
            raise UsageError(
                f"{self._path} is damaged; it says how late it is at least, and an offline "
                "license cannot be used without"
            ) from None


def read_clocks() -> Mark:
    """The machine's clocks now."""
    return Mark(
        time.time(),
        _BOOT_ID.read_text(encoding="ascii").strip(),
        time.clock_gettime(time.CLOCK_BOOTTIME),
    )
