"""What a daemon remembers of its lease clocks over a restart, outside the store.

A store whose data was put back from a copy looks healthy to itself. But a daemon that wrote down
how far each clock had come sees it go back, and a memory file that is itself a copy gives itself
away: the time it says it was written is not the time the file system has for it.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

COPY_SECONDS = 5.0
"""A file written when it says so was last changed within this; a copy was not."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """A clock as it was seen: its epoch, and the lease clock in ms."""

    epoch: int
    now_ms: int


class ClockMemory:
    """The file that keeps all clocks by organization.

    ``is_copy`` says that somebody else put the file, and so perhaps the store's data, there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clocks: dict[str, Remembered] = {}
        self.is_copy = False

    def load(self) -> None:
        """Read the file, if there is one. One that cannot be understood counts as a copy."""
        try:
            changed_seconds = self.path.stat().st_ctime
            content = json.loads(self.path.read_text("utf-8"))
            self.clocks = {
                str(org): Remembered(int(epoch), int(now_ms))
                for org, (epoch, now_ms) in content["clocks"].items()
            }
            self.is_copy = abs(changed_seconds - float(content["written"])) > COPY_SECONDS
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            self.is_copy = True

    def save(self, heard: dict[str, Remembered], *, wall_seconds: float) -> None:
        """Replace the file, whole or not at all, if there is news. Raises ``OSError``.

        Of a clock that was not heard of yet, what is known stays: its store may still be loading.
        """
        clocks = self.clocks | heard
        if clocks == self.clocks:
            return
        content = {
            "written": wall_seconds,
            "clocks": {org: (one.epoch, one.now_ms) for org, one in clocks.items()},
        }
        fd, name = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
        try:
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                json.dump(content, file)
            Path(name).replace(self.path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
        self.clocks = clocks


class BorrowedMemory(ClockMemory):
    """Of a worker: what its parent has read. The parent alone writes the file."""

    def __init__(self, clocks: dict[str, Remembered], *, is_copy: bool) -> None:
        super().__init__(Path(os.devnull))
        self.clocks = clocks
        self.is_copy = is_copy

    def save(self, heard: dict[str, Remembered], *, wall_seconds: float) -> None:
        """Nothing: the parent does it."""


def memory_path(data_dir: Path, store_url: str | None) -> Path:
    """Where the clocks of a store are kept; None is the embedded one."""
    if store_url is None:
        return data_dir / "clocks.json"
    return data_dir / f"clocks-{hashlib.sha256(store_url.encode()).hexdigest()[:12]}.json"
