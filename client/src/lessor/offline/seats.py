"""The seats of one offline license, shared by the processes of this machine.

Each seat is a range of bytes of one file. Who has a lock on the range has the seat; the range holds
who that is, for those who wait. The locks belong to the open file, which agent and leash share: the
kernel sets a seat free when both are gone, however they died, and not before.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import struct

from lessor.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    Holder = dict[str, object]

_RANGE = 2_048
_MUTEX_AT = 1 << 60
"""Far behind the last seat."""
_MUTEX_PATIENCE_ROUNDS = 100
_MUTEX_PAUSE_MS = 10
_MOST_HOLDERS = 20
_FLOCK = "hhqqi"
"""``struct flock`` with 64-bit offsets: type, whence, start, length, pid."""


class Seats:
    """The seats of the license ``serial``; ``count`` there are. Raises ``UsageError``."""

    def __init__(self, folder: Path, serial: str, count: int) -> None:
        if not hasattr(fcntl, "F_OFD_SETLK"):
            raise UsageError("offline licenses need Linux")
        self.taken: list[int] = []
        self._count = count
        path = folder / f"{serial}.seats"
        try:
            # Not inherited by the command: its own children could keep the seat for ever.
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UsageError(f"{path} cannot be opened: {error.strerror}") from None

    def take(self, least: int, most: int, holder: Holder) -> int:
        """Take from ``least`` to ``most`` seats together; how many, 0 if there are too few."""
        self._enter()
        try:
            for seat in range(self._count):
                if len(self.taken) == most:
                    break
                if self._lock(seat * _RANGE, fcntl.F_WRLCK):
                    self.taken.append(seat)
            if len(self.taken) < least:
                self.give_back()
        finally:
            self._lock(_MUTEX_AT, fcntl.F_UNLCK)
        for seat in self.taken:
            os.pwrite(self._fd, _packed(holder), seat * _RANGE)
        return len(self.taken)

    def take_all(self) -> bool:
        """Whether nobody had a seat; then all are ours until ``close``, and nobody gets one."""
        return self._lock(0, fcntl.F_WRLCK, self._count * _RANGE)

    def holders(self) -> list[Holder]:
        """Who has seats, as far as they said; at most 20."""
        found: list[Holder] = []
        for seat in range(self._count):
            if len(found) == _MOST_HOLDERS:
                break
            if seat not in self.taken and self._is_locked(seat * _RANGE):
                holder = _unpacked(os.pread(self._fd, _RANGE, seat * _RANGE))
                # A run with several seats says the same in each.
                if holder not in found:
                    found.append(holder)
        return found

    def give_back(self) -> None:
        """Set free what we have."""
        for seat in self.taken:
            self._lock(seat * _RANGE, fcntl.F_UNLCK)
        self.taken = []

    def close(self) -> None:
        """Close our end. What the leash shares stays locked."""
        os.close(self._fd)

    def _enter(self) -> None:
        """Ask one after the other, so that two do not take halves of what both need.

        Only fairness hangs on it: one who is frozen in here must not stop the others.
        """
        for _ in range(_MUTEX_PATIENCE_ROUNDS):
            if self._lock(_MUTEX_AT, fcntl.F_WRLCK):
                return
            select.poll().poll(_MUTEX_PAUSE_MS)

    def _lock(self, start: int, kind: int, length: int = _RANGE) -> bool:
        wanted = struct.pack(_FLOCK, kind, os.SEEK_SET, start, length, 0)
        try:
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, wanted)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise UsageError(f"seats cannot be locked here: {error.strerror}") from None
        return True

    def _is_locked(self, start: int) -> bool:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, start, _RANGE, 0)
        found = fcntl.fcntl(self._fd, fcntl.F_OFD_GETLK, asked)
        kind: int = struct.unpack(_FLOCK, found)[0]
        return kind != fcntl.F_UNLCK


def _packed(holder: Holder) -> bytes:
    text = json.dumps(holder, ensure_ascii=False).encode("utf-8", "replace")
    if len(text) > _RANGE:
        text = json.dumps({**holder, "labels": {}}, ensure_ascii=False).encode("utf-8", "replace")
    return text[:_RANGE].ljust(_RANGE)


def _unpacked(data: bytes) -> Holder:
    try:
        value = json.loads(data)
    except ValueError:
        return {}  # just taken, and not written yet
    return value if isinstance(value, dict) else {}
