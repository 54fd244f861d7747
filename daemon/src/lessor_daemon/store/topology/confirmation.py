"""Who is the master, confirmed by a majority not long ago.

The argument. A master is replaced when a majority has agreed on another one, so a majority that
named A and a later one that named B have a voter in common who changed from A to B in between. Let
A be confirmed at ``t``, read *before* the first voter was asked: nobody had confirmed another
before ``t``. A daemon sends to A until ``t + X/2`` and uses what comes back within ``X/2`` of
sending. So nothing that A answers counts after ``t + X``, and the margin and the grace window of
whoever came after A are longer by X (``lessor_protocol.timing``).
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import structlog

from lessor_daemon.containment import contained
from lessor_daemon.store.errors import StoreUnavailable

from .routed import Routed, key_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

    from lessor_daemon.settings import Address

    from .clients import Clients

LOOKS = 20
"""So many rounds in X. A voter has as long as until the next one to answer."""
SHORTEST_PAUSE_SECONDS = 0.05
"""Between two rounds of questions, however many calls fail meanwhile."""

_log = structlog.get_logger(__name__)

ViewT = TypeVar("ViewT", bound="View")


class View(Protocol):
    """What the voters answered in one round."""

    def owner(self, key: bytes) -> Address | None:
        """The server that a majority names for ``key``."""

    def why_none(self, key: bytes) -> str:
        """What is missing where there is no owner."""


class Confirmations:
    """The views of the last rounds, by the time that was read before each."""

    def __init__(self, failover_ms: int) -> None:
        self._good_for_ms = failover_ms // 2
        self._views: deque[tuple[int, View]] = deque()

    def add(self, asked_ms: int, view: View) -> None:
        """Take in a round that began at ``asked_ms``."""
        self._views.appendleft((asked_ms, view))
        while asked_ms - self._views[-1][0] > self._good_for_ms:
            self._views.pop()

    def owner(self, key: bytes, now_ms: int) -> Address:
        """The server that was confirmed last, if that is not too long ago.

        A round without a majority takes nothing back: an earlier confirmation is good for its time.
        Raises ``StoreUnavailable``.
        """
        for asked_ms, view in self._views:
            if now_ms - asked_ms > self._good_for_ms:
                break
            owner = view.owner(key)
            if owner is not None:
                return owner
        if not self._views:
            raise StoreUnavailable("nobody has said yet which server is the master")
        raise StoreUnavailable(self._views[0][1].why_none(key))


class WatchedTopology(ABC, Generic[ViewT]):
    """Servers whose master changes: asks the voters again and again, and routes by their answers.

    ``answer_ms`` is how long a reply may take to be used. ``redis`` raises ``StoreUnavailable``
    where nothing is confirmed.
    """

    def __init__(self, servers: Clients, failover_ms: int, boottime_ms: Callable[[], int]) -> None:
        self.redis: Redis = Routed(self._route)
        self.answer_ms: int | None = failover_ms // 2
        self._servers = servers
        self._boottime_ms = boottime_ms
        self._look_every_seconds = failover_ms / 1000 / LOOKS
        self._confirmations = Confirmations(failover_ms)
        self._doubt = asyncio.Event()

    async def execute(self, *command: bytes | str | int) -> Any:  # noqa: ANN401  # redis has no types for replies
        """One command, together with those that begin at the same time at the same server."""
        return await self._servers.together(self._owner(key_of(command))).execute(*command)

    def start(self, group: asyncio.TaskGroup) -> None:
        """Watch in a task of ``group`` until it ends."""
        group.create_task(self._watch(), name="store topology")

    def doubt(self) -> None:
        """A server did not do as the last round said: ask at once."""
        self._doubt.set()

    @abstractmethod
    def has_replicas(self, key: str) -> bool:
        """Whether the master of ``key`` is known to have replicas."""

    async def look(self) -> None:
        """Ask all voters once."""
        asked_ms = self._boottime_ms()
        view = await self._ask()
        self._confirmations.add(asked_ms, view)
        # After it is known who came: calls that are broken off here are repeated there.
        await self._servers.close_those(self._replaced_by(view))

    async def close(self) -> None:
        """Close all connections."""
        await self._servers.close()

    @abstractmethod
    async def servers(self) -> dict[str, Redis]:
        """Every server that holds data or may come to, by a name for people."""

    @abstractmethod
    async def _ask(self) -> ViewT:
        """One round. Voters that do not answer are left out."""

    @abstractmethod
    def _replaced_by(self, view: ViewT) -> set[Address]:
        """Masters of earlier rounds that are none any more. Calls to them, which may hang, end."""

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._doubt.clear()
            next_at = loop.time() + self._look_every_seconds
            with contained(_log, "store_topology_unknown"):  # such as an answer that is none
                await self.look()
            await asyncio.sleep(min(SHORTEST_PAUSE_SECONDS, self._look_every_seconds))
            try:
                async with asyncio.timeout_at(next_at):
                    await self._doubt.wait()
            except TimeoutError:
                pass

    def _route(self, key: bytes) -> Redis:
        return self._servers.of(self._owner(key))

    def _owner(self, key: bytes) -> Address:
        return self._confirmations.owner(key, self._boottime_ms())
