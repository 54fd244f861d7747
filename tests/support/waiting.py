"""Waiting for a condition, with a deadline and never longer than needed."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Value = TypeVar("Value")

PAUSE_SECONDS = 0.02


def wait_until(
    condition: Callable[[], Value], seconds: float = 10.0, what: str = "the condition"
) -> Value:
    """The first true value of ``condition()``. Raises ``AssertionError`` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain for {what}")
        time.sleep(PAUSE_SECONDS)


async def wait_until_async(
    condition: Callable[[], Awaitable[Value]], seconds: float = 10.0, what: str = "the condition"
) -> Value:
    """The same inside an event loop."""
    deadline = time.monotonic() + seconds
    while True:
        value = await condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain for {what}")
        await asyncio.sleep(PAUSE_SECONDS)
