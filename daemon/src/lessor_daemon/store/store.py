"""The connection to Redis or Valkey: opening it, calling a script, and what its failures mean."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NoReturn, Self

import structlog
from lessor_protocol import timing
from redis.exceptions import (
    AskError,
    ClusterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from lessor_daemon import times

from . import keys
from .errors import NewerStore, StoreUnavailable, Unconfirmed
from .topology.topology import open_topology

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from redis.asyncio import Redis

    from .lua import Script
    from .topology.topology import Topology

SCHEMA = 1
CONFIRM_MS = 3_000
"""How long a change of administration may take to reach the server's disk, or a replica."""

PASSING_INSIDE_SCRIPTS = ("OOM", "MISCONF", "NOREPLICAS")
"""Words of error replies that may come from a command of a script, behind the script's name."""
PASSING = (*PASSING_INSIDE_SCRIPTS, "LOADING", "BUSY", "NOAUTH")
"""Words that begin error replies which say nothing about the call: see ``PASSING_KINDS``."""
ELSEWHERE = "non local key"
"""The slot that a script works on is just being moved to another node."""
PASSING_KINDS = (ReadOnlyError, OutOfMemoryError, ClusterDownError, AskError, TryAgainError)
"""Error replies that say nothing about the call: the server cannot serve it now."""

_log = structlog.get_logger(__name__)


class Store:
    """The servers that hold the data, wherever they are.

    ``observe(script, seconds)`` is called after each script call. Every method may raise
    ``StoreUnavailable``.
    """

    def __init__(
        self,
        topology: Topology,
        observe: Callable[[str, float], None],
        boottime_ms: Callable[[], int],
    ) -> None:
        self.topology = topology
        self._observe = observe
        self._boottime_ms = boottime_ms
        self._tells_of_disk = True
        self._unconfirmed: set[str] = set()

    @classmethod
    def open(
        cls,
        url: str,
        observe: Callable[[str, float], None] = lambda *_: None,
        *,
        failover_ms: int = timing.FAILOVER_MS,
        boottime_ms: Callable[[], int] = times.boottime_ms,
    ) -> Self:
        """Prepare connections to a store, see ``lessor_daemon.store_url``; none is made yet.

        ``failover_ms`` bounds how long a stale master is believed (``X``). Raises
        ``ConfigurationError`` when the URL cannot be meant.
        """
        return cls(open_topology(url, failover_ms, boottime_ms), observe, boottime_ms)

    @property
    def redis(self) -> Redis:
        """For commands inside ``attempt``."""
        return self.topology.redis

    def start(self, group: asyncio.TaskGroup) -> None:
        """Keep up with who is the master, in tasks of ``group``. Not needed for a single server."""
        self.topology.start(group)

    async def close(self) -> None:
        """Close all connections."""
        await self.topology.close()

    async def ping(self) -> bool:
        """Whether the store that answers had been used by Lessor before; if not, it is marked.

        Raises ``StoreUnavailable`` or ``NewerStore``.
        """
        stored = await self.attempt(lambda: self.redis.hget(keys.STORE, "schema"))
        if stored is None:
            await self.attempt(lambda: self.redis.hsetnx(keys.STORE, "schema", str(SCHEMA)))
            return False
        if int(stored) > SCHEMA:
            raise NewerStore(f"the store has schema {int(stored)}, this Lessor knows {SCHEMA}")
        return True

    async def call(self, script: Script, org: str, args: list[bytes | str | int]) -> list[Any]:
        """Run a script of ``org``. All scripts may be repeated, so a broken connection is."""
        started = time.perf_counter()
        try:
            answer: list[Any] = await self.attempt(
                lambda: self._evaluate(script, keys.clock(org), args)
            )
            return answer
        finally:
            self._observe(script.name, time.perf_counter() - started)

    def is_unconfirmed(self, org: str) -> bool:
        """Whether the last durable call of ``org`` was made, but not confirmed in time."""
        return org in self._unconfirmed

    async def call_durably(
        self, script: Script, org: str, args: list[bytes | str | int]
    ) -> list[Any]:
        """Like ``call``, and back only when it will outlive what may happen to the server.

        It is on the server's disk, where the server can tell, and on a replica, where there are
        any. Raises ``StoreUnavailable`` also when it was done and is not confirmed in time.
        """
        started = time.perf_counter()
        try:
            answer, on_disk, replicas = await self.attempt(
                lambda: self._evaluate_durably(script, keys.clock(org), args)
            )
        finally:
            self._observe(script.name, time.perf_counter() - started)
        if isinstance(answer, Exception):
            await self.attempt(lambda: _raise(answer))
        if isinstance(on_disk, Exception):
            self._tells_of_disk = False
            _log.warning("changes_not_confirmed_on_disk", reason=str(on_disk))
        elif on_disk is not None and on_disk[0] < 1:
            raise self._not_confirmed(org, "is not on the store's disk yet")
        if replicas is not None and (isinstance(replicas, Exception) or replicas < 1):
            raise self._not_confirmed(org, "is on no replica of the store yet")
        self._unconfirmed.discard(org)
        result: list[Any] = answer
        return result

    def _not_confirmed(self, org: str, what: str) -> StoreUnavailable:
        self._unconfirmed.add(org)
        return Unconfirmed(f"it was done, but {what} and may be lost; do it again")

    async def _evaluate_durably(
        self, script: Script, key: str, args: list[bytes | str | int]
    ) -> tuple[Any, Any, Any]:
        """The script's answer, WAITAOF's and WAIT's; None for what is not asked."""
        most_ms = self.topology.answer_ms
        wait_ms = CONFIRM_MS if most_ms is None else min(CONFIRM_MS, most_ms // 3)
        # One connection for all: waiting is about what its own connection wrote.
        pipeline = self.redis.pipeline(transaction=False)
        pipeline.eval(script.source, 1, key, *args)
        if asks_disk := self._tells_of_disk:
            pipeline.execute_command("WAITAOF", 1, 0, wait_ms)
        if asks_replicas := self.topology.has_replicas(key):
            pipeline.execute_command("WAIT", 1, wait_ms)
        answers = iter(await pipeline.execute(raise_on_error=False))
        return (
            next(answers),
            next(answers) if asks_disk else None,
            next(answers) if asks_replicas else None,
        )

    async def _evaluate(self, script: Script, key: str, args: list[bytes | str | int]) -> Any:  # noqa: ANN401  # redis has no types for replies
        try:
            return await self.topology.execute("EVALSHA", script.sha, 1, key, *args)
        except NoScriptError:
            return await self.redis.eval(script.source, 1, key, *args)

    async def attempt(self, call: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401  # likewise
        """Await ``call()``, once more if a kept connection had broken meanwhile.

        Raises ``StoreUnavailable``; an error that is our own mistake is raised as it is.
        """
        try:
            try:
                return await self._in_time(call)
            except RedisTimeoutError:
                raise
            except RedisConnectionError:
                return await self._in_time(call)
        except (RedisError, OSError) as error:
            text = str(error)
            if text.startswith("NEWERSCHEMA"):
                raise NewerStore(text) from None
            if isinstance(error, ResponseError) and not _is_passing(error):
                raise
            self.topology.doubt()
            told = "it refuses calls" if isinstance(error, ResponseError) else "it does not answer"
            raise StoreUnavailable(text or type(error).__name__, told) from error

    async def _in_time(self, call: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401  # likewise
        """Await ``call()`` and refuse what comes so late that a stale master may have said it."""
        sent_ms = self._boottime_ms()
        answer = await call()
        most_ms = self.topology.answer_ms
        took_ms = self._boottime_ms() - sent_ms
        if most_ms is not None and took_ms > most_ms:
            self.topology.doubt()
            raise StoreUnavailable(f"the store took {took_ms} ms, too long to be believed")
        return answer


async def _raise(error: Exception) -> NoReturn:
    raise error


def _is_passing(error: ResponseError) -> bool:
    text = str(error)
    return (
        isinstance(error, PASSING_KINDS)
        or text.startswith(PASSING)
        or any(f"{word} " in text for word in PASSING_INSIDE_SCRIPTS)
        or ELSEWHERE in text
    )
