"""The wall clock of a store's processes, moved while they run; by libfaketime, where there is one.

Their monotonic clock stays true, as it does on a machine whose time is set.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOKS_EVERY_SECONDS = 1
"""How long such a process believes what it has read."""


def find_library() -> Path | None:
    """Where Debian, Fedora and Alpine put it; None where it is not installed."""
    return next(_found(), None)


def _found() -> Iterator[Path]:
    for pattern in ("lib*/*/faketime", "lib*/faketime", "local/lib*/faketime"):
        # The one for processes with threads, which every store is.
        yield from sorted(Path("/usr").glob(f"{pattern}/libfaketimeMT.so.1"))


class StoreClock:
    """What processes with ``environ`` take for the time. ``path`` is a file of its own."""

    def __init__(self, path: Path) -> None:
        library = find_library()
        if library is None:
            raise RuntimeError("libfaketime is not installed")
        self._path = path
        self.environ = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(path),
            "FAKETIME_CACHE_DURATION": str(LOOKS_EVERY_SECONDS),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.set(0)

    def set(self, offset_seconds: float, rate: float = 1) -> None:
        """From now on they are off by so much and run so fast. Within a second they notice."""
        content = f"{offset_seconds:+.0f}" + (f" x{rate:g}" if rate != 1 else "")
        new = self._path.with_suffix(".new")
        new.write_text(content, encoding="ascii")
        new.replace(self._path)  # never seen half written
