"""Commands that are sent together: those that begin in one turn of the event loop share a trip.

A command alone costs a connection of the pool, a write and a read, several times what the server
needs for it. Under load many begin at once, since the replies of the ones before come at once. They
go out in one write, and the server takes them one after the other as it would anyway. Nothing waits
for others to come: what is there when the turn ends is sent.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redis.asyncio import Redis

    Command = tuple[bytes | str | int, ...]

MOST_TOGETHER = 64
"""Commands in one trip: the first of them is answered only when the last is done."""


class Collected:
    """Collects for one client, which must lead to one server."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._begun: list[tuple[Command, asyncio.Future[Any]]] = []
        self._under_way: set[asyncio.Task[None]] = set()

    async def execute(self, *command: bytes | str | int) -> Any:  # noqa: ANN401  # redis has no types for replies
        """The reply. Raises what redis raises."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if not self._begun:
            loop.call_soon(self._send)
        self._begun.append((command, future))
        return await future

    async def close(self) -> None:
        """Wait for what is under way; each command has the client's own time limit."""
        await asyncio.gather(*self._under_way)

    def _send(self) -> None:
        begun, self._begun = self._begun, []
        for start in range(0, len(begun), MOST_TOGETHER):
            task = asyncio.create_task(self._trip(begun[start : start + MOST_TOGETHER]))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _trip(self, together: list[tuple[Command, asyncio.Future[Any]]]) -> None:
        try:
            pipeline = self._redis.pipeline(transaction=False)
            for command, _ in together:
                pipeline.execute_command(*command)
            replies = await pipeline.execute(raise_on_error=False)
        except asyncio.CancelledError:
            for _, future in together:
                future.cancel()
            raise
        except Exception as error:  # noqa: BLE001  # each caller gets it, and it is not ours to judge
            for _, future in together:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), reply in zip(together, replies, strict=True):
            if future.done():
                continue  # its caller has gone
            if isinstance(reply, Exception):
                future.set_exception(reply)
            else:
                future.set_result(reply)
