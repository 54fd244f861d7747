"""Connections to servers, a pool for each address.

A connection should be there after few trips: when a master was replaced, calls of all kinds wait
for new ones, in a daemon that is busy with those who ask again and again. So the older protocol is
spoken, which needs no greeting, and nothing is asked for that only a hosted service tells.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import hiredis
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import ConnectionError as RedisConnectionError

from lessor_daemon import __version__

from .collected import Collected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lessor_daemon.settings import Address

CONNECT_SECONDS = 2.0


def make_client(url: str, *, connections: int, answer_seconds: float) -> Redis:
    """A client of one server; no connection is made yet. Raises ``ValueError`` or ``TypeError``."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=answer_seconds,
        socket_connect_timeout=min(CONNECT_SECONDS, answer_seconds),
        socket_timeout=answer_seconds,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        # Named here once: by default each new connection reads the package's metadata
        # from disk, which blocks the event loop.
        driver_info=DriverInfo(name="lessor", lib_version=__version__),
    )
    pool.connection_class = _of_ours(pool.connection_class)
    return Redis(connection_pool=pool)


def _of_ours(connection: type[Any]) -> type[Any]:
    """``connection`` with hiredis' packer, and with every cancellation and broken pipe noticed.

    The client's own packer takes a microsecond for each lease. It uses hiredis' by itself only
    where it does not run in an event loop.
    """

    class Ours(connection):  # type: ignore[misc]  # one of three, by the URL
        def pack_command(self, *args: Any) -> list[bytes]:  # noqa: ANN401  # as redis has it
            name, *rest = args
            words = name.encode().split() if isinstance(name, str) else [name]
            return [hiredis.pack_command((*words, *rest))]

        async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # likewise
            task = asyncio.current_task()
            asked = task.cancelling() if task else 0
            try:
                await super().send_packed_command(*args, **kwargs)
            except RuntimeError as error:
                # uvloop's word for a transport that the other side has closed meanwhile.
                raise RedisConnectionError(str(error)) from error
            if task and task.cancelling() > asked:
                # It sends with ``wait_for``, which before Python 3.12 loses a cancellation that
                # comes as it ends: a task that runs for ever would, and the daemon with it.
                await self.disconnect(nowait=True)  # nobody reads the reply
                raise asyncio.CancelledError

    return Ours


async def close_client(client: Redis) -> None:
    """Close all its connections."""
    await client.aclose()
    await client.connection_pool.disconnect()


class Clients:
    """Clients by address, made when they are first needed."""

    def __init__(
        self, url_of: Callable[[Address], str], *, connections: int, answer_seconds: float
    ) -> None:
        self._url_of = url_of
        self._connections = connections
        self._answer_seconds = answer_seconds
        self._clients: dict[Address, Redis] = {}
        self._collected: dict[Address, Collected] = {}

    def of(self, address: Address) -> Redis:
        """The client of this server. Raises ``ValueError`` or ``TypeError`` for a wrong URL."""
        client = self._clients.get(address)
        if client is None:
            client = self._clients[address] = make_client(
                self._url_of(address),
                connections=self._connections,
                answer_seconds=self._answer_seconds,
            )
        return client

    def together(self, address: Address) -> Collected:
        """Sends commands that begin at the same time to this server together."""
        collected = self._collected.get(address)
        if collected is None:
            collected = self._collected[address] = Collected(self.of(address))
        return collected

    async def close_those(self, addresses: Iterable[Address]) -> None:
        """Close what leads there; who waits for an answer gets a ``ConnectionError``."""
        addresses = set(addresses)
        gone = [self._clients.pop(one) for one in addresses if one in self._clients]
        for one in addresses:
            self._collected.pop(one, None)
        await asyncio.gather(*(close_client(client) for client in gone))

    async def keep(self, addresses: Iterable[Address]) -> None:
        """Close what leads elsewhere: in a container platform addresses change for ever."""
        await self.close_those(self._clients.keys() - set(addresses))

    async def close(self) -> None:
        """Close all."""
        await self.keep(())
