"""Reads of the store that are under way: who asks for the same meanwhile shares the answer.

What is kept for a moment grows old for everybody at once. Without this, all who then ask at the
same time would read it. A read that hangs is not waited for by who comes later.
"""

from __future__ import annotations

import asyncio
import time
from contextvars import Context
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from lessor_daemon.store.errors import STUCK_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

Key = TypeVar("Key")
Value = TypeVar("Value")


class _Read(NamedTuple, Generic[Value]):
    task: asyncio.Task[Value]
    began: float


class SharedReads(Generic[Key, Value]):
    """Calls ``outdated(key)`` for each read that ends after it was forgotten or another was begun.

    ``now()`` is in seconds.
    """

    def __init__(
        self,
        outdated: Callable[[Key], object] = lambda _key: None,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outdated = outdated
        self._now = now
        self._under_way: dict[Key, _Read[Value]] = {}

    async def read(self, key: Key, read: Callable[[], Coroutine[Any, Any, Value]]) -> Value:
        """What ``read()`` answers, or the one that is under way. Raises what it raises."""
        now = self._now()
        under_way = self._under_way.get(key)
        if under_way is None or now > under_way.began + STUCK_SECONDS:
            # Without the ids of the first who asked: others share it.
            task = asyncio.create_task(read(), context=Context())
            under_way = self._under_way[key] = _Read(task, now)
            task.add_done_callback(lambda done: self._has_read(key, done))
        # Whoever goes away meanwhile does not take the others' answer along.
        return await asyncio.shield(under_way.task)

    def forget(self, keys: Iterable[Key] | None = None) -> None:
        """Share none of these any more, by default none at all: they may be out of date."""
        for key in list(self._under_way) if keys is None else keys:
            self._under_way.pop(key, None)

    def _has_read(self, key: Key, task: asyncio.Task[Value]) -> None:
        under_way = self._under_way.get(key)
        if under_way is not None and under_way.task is task:
            del self._under_way[key]
        else:
            self._outdated(key)
        if not task.cancelled():
            task.exception()  # seen, also when all who asked have gone
