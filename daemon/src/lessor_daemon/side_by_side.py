"""Work on many organizations side by side: one that hangs with its server delays no other."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from .containment import contained

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from structlog.typing import FilteringBoundLogger

    Work = Callable[[str], Awaitable[object]]

MOST_AT_ONCE = 16
"""What goes on by itself leaves the connections of a server to those who call."""
HANGS_AFTER_SECONDS = 0.05
"""Work that takes longer no longer counts among those: its server may not answer for seconds."""


class SideBySide:
    """Tasks of ``group``, at most one at a time for each organization. ``busy`` are those with one.

    What fails is contained and logged as ``event``.
    """

    def __init__(self, group: asyncio.TaskGroup, log: FilteringBoundLogger, event: str) -> None:
        self.busy: set[str] = set()
        self._group = group
        self._log = log
        self._event = event
        self._places = _Places()

    def begin(self, org: str, work: Work) -> None:
        """Let ``work(org)`` be done, unless something is being done for it."""
        if org not in self.busy:
            self.busy.add(org)
            self._group.create_task(self._do(org, work))

    async def _do(self, org: str, work: Work) -> None:
        try:
            async with self._places.one():
                with contained(self._log, self._event, org):
                    await work(org)
        finally:
            self.busy.discard(org)


async def for_each(names: Iterable[str], work: Work) -> dict[str, Exception]:
    """``work(name)`` for each, to the end of all. Answers what it raised, in their order."""
    names = list(names)
    failed: dict[str, Exception] = {}
    places = _Places()

    async def attempt(name: str) -> None:
        async with places.one():
            try:
                await work(name)
            except Exception as error:  # noqa: BLE001  # the caller's to judge
                failed[name] = error

    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(attempt(name))
    return {name: failed[name] for name in names if name in failed}


class _Places:
    """``MOST_AT_ONCE``, not counting who has hung for ``HANGS_AFTER_SECONDS``."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(MOST_AT_ONCE)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        await self._free.acquire()
        is_held = True

        def give_back() -> None:
            nonlocal is_held
            if is_held:
                is_held = False
                self._free.release()

        timer = asyncio.get_running_loop().call_later(HANGS_AFTER_SECONDS, give_back)
        try:
            yield
        finally:
            timer.cancel()
            give_back()
