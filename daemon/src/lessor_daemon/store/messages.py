"""What scripts tell all daemons at once, over publish and subscribe.

A message may be lost (the connection breaks, a daemon starts late), so it only makes something
happen sooner that would happen anyway.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from redis.exceptions import RedisError

from .errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .store import Store

OFFERS = "lessor:offers"
"""The id of a waiter that is offered a seat."""
NEWS = "lessor:news"
"""The id of a lease that the script ``news`` has something about: it is ending, or asked to."""

READ_SECONDS = 5.0
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0

_log = structlog.get_logger(__name__)


async def listen(store: Store, on_message: Mapping[str, Callable[[bytes], None]]) -> None:
    """Call ``on_message[channel]`` with each message, for ever; reconnects by itself."""
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            async with store.redis.pubsub(ignore_subscribe_messages=True) as subscription:
                await subscription.subscribe(*on_message)
                pause = FIRST_PAUSE_SECONDS
                while True:
                    message = await subscription.get_message(timeout=READ_SECONDS)
                    if message is not None:
                        on_message[message["channel"].decode()](message["data"])
        except (StoreUnavailable, RedisError, OSError, RuntimeError) as error:
            # RuntimeError: redis' own word for a subscription whose connection is gone.
            _log.debug("messages_interrupted", error=str(error))
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
