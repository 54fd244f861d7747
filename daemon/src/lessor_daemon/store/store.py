"""The connection to Redis or Valkey: opening it, calling a script, and what its failures mean."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    NoScriptError,
    RedisError,
    ResponseError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from lessor_daemon import __version__
from lessor_daemon.errors import ConfigurationError

from . import keys
from .errors import NewerStore, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .lua import Script

SCHEMA = 1
SCHEMES = ("redis", "rediss", "unix")
MAX_CONNECTIONS = 64
CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 5.0
"""Longer than any script may take; a store that needs more is as good as away."""
DISK_MS = 3_000
"""How long a change of administration may take to reach the server's disk."""

PASSING = ("OOM", "MISCONF", "NOREPLICAS", "READONLY", "LOADING", "BUSY", "MASTERDOWN", "NOAUTH")
"""Error replies that say nothing about the call: the server cannot serve it now."""

_log = structlog.get_logger(__name__)


class Store:
    """A pool of connections to one server.

    ``observe(script, seconds)`` is called after each script call. Every method may raise
    ``StoreUnavailable``.
    """

    def __init__(self, redis: Redis, observe: Callable[[str, float], None]) -> None:
        self.redis = redis
        self._observe = observe
        self._tells_of_disk = True

    @classmethod
    def open(cls, url: str, observe: Callable[[str, float], None] = lambda *_: None) -> Self:
        """Prepare connections to ``redis://``, ``rediss://`` or ``unix://``; none is made yet.

        Raises ``ConfigurationError`` when the URL cannot be meant.
        """
        if urlsplit(url).scheme not in SCHEMES:
            known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
            raise ConfigurationError("--store", f"must be embedded or begin with {known}")
        try:
            pool = BlockingConnectionPool.from_url(
                url,
                max_connections=MAX_CONNECTIONS,
                timeout=ANSWER_SECONDS,
                socket_connect_timeout=CONNECT_SECONDS,
                socket_timeout=ANSWER_SECONDS,
                retry=Retry(NoBackoff(), 0),
                # Named here once: by default each new connection reads the package's metadata
                # from disk, which blocks the event loop.
                driver_info=DriverInfo(name="lessor", lib_version=__version__),
            )
        except (ValueError, TypeError) as error:
            raise ConfigurationError("--store", str(error)) from None
        return cls(Redis(connection_pool=pool), observe)

    async def close(self) -> None:
        """Close all connections."""
        await self.redis.aclose()
        await self.redis.connection_pool.disconnect()

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

    async def call_durably(
        self, script: Script, org: str, args: list[bytes | str | int]
    ) -> list[Any]:
        """Like ``call``, and back only when it is on the server's disk, where the server can tell.

        Raises ``StoreUnavailable`` also when it was done but did not reach the disk in time.
        """
        if not self._tells_of_disk:
            return await self.call(script, org, args)
        started = time.perf_counter()
        try:
            answer, on_disk = await self.attempt(
                lambda: self._evaluate_durably(script, keys.clock(org), args)
            )
        finally:
            self._observe(script.name, time.perf_counter() - started)
        if isinstance(answer, Exception):
            # As a call without the wait, which knows what each error means.
            return await self.call(script, org, args)
        if isinstance(on_disk, Exception):
            self._tells_of_disk = False
            _log.warning("changes_not_confirmed_on_disk", reason=str(on_disk))
        elif on_disk[0] < 1:
            raise StoreUnavailable("the change did not reach the store's disk in time")
        result: list[Any] = answer
        return result

    async def _evaluate_durably(
        self, script: Script, key: str, args: list[bytes | str | int]
    ) -> list[Any]:
        # One connection for both: WAITAOF is about what its own connection wrote.
        pipeline = self.redis.pipeline(transaction=False)
        pipeline.eval(script.source, 1, key, *args)
        pipeline.execute_command("WAITAOF", 1, 0, DISK_MS)
        answers: list[Any] = await pipeline.execute(raise_on_error=False)
        return answers

    async def _evaluate(self, script: Script, key: str, args: list[bytes | str | int]) -> Any:  # noqa: ANN401  # redis has no types for replies
        try:
            return await self.redis.evalsha(script.sha, 1, key, *args)
        except NoScriptError:
            return await self.redis.eval(script.source, 1, key, *args)

    async def attempt(self, call: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401  # likewise
        """Await ``call()``, once more if a kept connection had broken meanwhile.

        Raises ``StoreUnavailable``; an error that is our own mistake is raised as it is.
        """
        try:
            try:
                return await call()
            except RedisTimeoutError:
                raise
            except RedisConnectionError:
                return await call()
        except (RedisConnectionError, RedisTimeoutError, OSError) as error:
            raise StoreUnavailable(str(error) or type(error).__name__) from error
        except ResponseError as error:
            text = str(error)
            if text.startswith("NEWERSCHEMA"):
                raise NewerStore(text) from None
            if text.startswith(PASSING) or any(f"{word} " in text for word in PASSING[:3]):
                raise StoreUnavailable(text) from error
            raise
        except RedisError as error:
            raise StoreUnavailable(str(error) or type(error).__name__) from error
