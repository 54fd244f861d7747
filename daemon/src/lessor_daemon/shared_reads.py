"""Reads of the store that are under way: who asks for the same meanwhile shares the answer.

What is kept for a moment grows old for everybody at once. Without this, all who then ask at the
same time would read it.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

Key = TypeVar("Key")
Value = TypeVar("Value")


class SharedReads(Generic[Key, Value]):
    """Calls ``outdated(key)`` for each read that ends after it was forgotten."""

    def __init__(self, outdated: Callable[[Key], object] = lambda _key: None) -> None:
        self._outdated = outdated
        self._under_way: dict[Key, asyncio.Task[Value]] = {}

    async def read(self, key: Key, read: Callable[[], Coroutine[Any, Any, Value]]) -> Value:
        """What ``read()`` answers, or the one that is under way. Raises what it raises."""
        task = self._under_way.get(key)
        if task is None:
            # Without the ids of the first who asked: others share it.
            task = self._under_way[key] = asyncio.create_task(read(), context=Context())
            task.add_done_callback(lambda done: self._has_read(key, done))
        # Whoever goes away meanwhile does not take the others' answer along.
        return await asyncio.shield(task)

    def forget(self, keys: Iterable[Key] | None = None) -> None:
        """Share none of these any more, by default none at all: they may be out of date."""
        for key in list(self._under_way) if keys is None else keys:
            self._under_way.pop(key, None)

    def _has_read(self, key: Key, task: asyncio.Task[Value]) -> None:
        if self._under_way.get(key) is task:
            del self._under_way[key]
        else:
            self._outdated(key)
        if not task.cancelled():
            task.exception()  # seen, also when all who asked have gone
