"""The open streams of a daemon: what is said to all of them, and who looks after silent ones."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from lessor_protocol import frames
from lessor_protocol.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from .stream import Stream

LOOK_EVERY_SECONDS = 5.0
"""One look at all of them costs less than a timer for each."""
PING_AFTER_LOOKS = 6
"""Nothing was heard for 30 seconds."""
GONE_AFTER_LOOKS = 9
"""Nor in the 15 seconds after a ping."""


class Streams:
    """Which streams are open now, and the tasks of their calls."""

    def __init__(self) -> None:
        self._open: set[Stream] = set()
        self._group: asyncio.TaskGroup | None = None

    def start(self, group: asyncio.TaskGroup) -> None:
        """Look after streams, and run what they call, in tasks of ``group`` until it ends."""
        self._group = group
        group.create_task(self._look_after(), name="streams")

    def run(self, call: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """See a call through, which must not raise. Raises ``Problem`` before ``start``."""
        if self._group is None:
            call.close()
            raise Problem("store_unavailable", "the daemon is still starting", retry_after=1)
        return self._group.create_task(call)

    def add(self, stream: Stream) -> None:
        """Count it among the open ones."""
        self._open.add(stream)

    def discard(self, stream: Stream) -> None:
        """It has ended."""
        self._open.discard(stream)

    def drain(self) -> None:
        """Ask every client to connect anew, elsewhere or later, and to close this connection."""
        for stream in self._open:
            stream.push(frames.DRAIN, {})

    def close(self) -> None:
        """The daemon goes: whoever is still there is told by the close code."""
        for stream in list(self._open):
            stream.close(frames.CLOSE_GOING_AWAY)

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            for stream in list(self._open):
                stream.looked_at(PING_AFTER_LOOKS, GONE_AFTER_LOOKS)
