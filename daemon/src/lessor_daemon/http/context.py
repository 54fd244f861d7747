"""What handlers find in the application, and whether it serves yet, still, or not any more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web
from lessor_protocol.errors import Problem

from .streams import Streams

if TYPE_CHECKING:
    from lessor_daemon.directory.service import Directory
    from lessor_daemon.leasing.service import Leasing
    from lessor_daemon.metrics import Metrics
    from lessor_daemon.store.store import Store

    from .repeats import Repeats
    from .stream_calls import StreamCalls

STARTING_RETRY_SECONDS = 1.0


class Serving:
    """The daemon's phase, and the calls under way."""

    def __init__(self) -> None:
        self.is_ready = False
        """The store was reached and knows every organization and key it should."""
        self.is_draining = False
        self.streams = Streams()
        self._calls = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    def require_ready(self) -> None:
        """Raise ``Problem`` before the first contact with the store.

        Until then no key is known, and ``unauthenticated`` would be taken for the truth.
        """
        if not self.is_ready:
            raise Problem(
                "store_unavailable",
                "the daemon has not reached its store yet",
                retry_after=STARTING_RETRY_SECONDS,
            )

    def start_draining(self) -> None:
        """From now on clients are sent away, those of streams at once."""
        self.is_draining = True
        self.streams.drain()

    def call_begins(self) -> None:
        """Count a call in."""
        self._calls += 1
        self._quiet.clear()

    def call_ends(self) -> None:
        """Count a call out."""
        self._calls -= 1
        if not self._calls:
            self._quiet.set()

    async def quiet(self) -> None:
        """Return when no call is under way."""
        await self._quiet.wait()


SERVING: web.AppKey[Serving] = web.AppKey("serving")
DIRECTORY: web.AppKey[Directory] = web.AppKey("directory")
LEASING: web.AppKey[Leasing] = web.AppKey("leasing")
METRICS: web.AppKey[Metrics] = web.AppKey("metrics")
STREAM_CALLS: web.AppKey[StreamCalls] = web.AppKey("stream_calls")
REPEATS: web.AppKey[Repeats] = web.AppKey("repeats")
STORE: web.AppKey[Store] = web.AppKey("store")
