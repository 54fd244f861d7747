"""The open streams of a daemon, and what is said to all of them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from lessor_protocol import frames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .stream import Stream


class Streams:
    """Which streams are open now."""

    def __init__(self) -> None:
        self._open: set[Stream] = set()

    @contextlib.contextmanager
    def joined_by(self, stream: Stream) -> Iterator[None]:
        """Count ``stream`` among the open ones for a while."""
        self._open.add(stream)
        try:
            yield
        finally:
            self._open.discard(stream)

    def drain(self) -> None:
        """Ask every client to connect anew, elsewhere or later, and to close this connection."""
        for stream in self._open:
            stream.push(frames.DRAIN, {})

    def close(self) -> None:
        """The daemon goes: whoever is still there is told by the close code."""
        for stream in self._open:
            stream.close(frames.CLOSE_GOING_AWAY)
