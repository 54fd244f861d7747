"""The three ways to find a store's servers, behind one surface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from lessor_daemon import store_url
from lessor_daemon.errors import ConfigurationError

from .clients import Clients, make_client
from .cluster import ClusterTopology
from .sentinel import SentinelTopology
from .single import SingleServer

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from redis.asyncio import Redis

MAX_CONNECTIONS = 64
"""To each server."""
ANSWER_SECONDS = 5.0
"""Longer than any script may take; a store that needs more is as good as away."""


class Topology(Protocol):
    """Where the data is.

    ``redis`` takes commands for any key and may raise ``StoreUnavailable``. A reply that took
    longer than ``answer_ms`` must not be used; None where the address is all that is known.
    """

    @property
    def redis(self) -> Redis: ...

    @property
    def answer_ms(self) -> int | None: ...

    async def execute(self, *command: bytes | str | int) -> Any:  # noqa: ANN401  # redis has no types for replies
        """One command, perhaps on its way together with others."""

    def start(self, group: asyncio.TaskGroup) -> None:
        """Watch for changes in tasks of ``group``."""

    def has_replicas(self, key: str) -> bool:
        """Whether the server of ``key`` is known to have replicas, of which one may take over."""

    def doubt(self) -> None:
        """A call failed: look again."""

    async def servers(self) -> dict[str, Redis]:
        """Every server that holds data or may come to, by a name for people."""

    async def close(self) -> None:
        """Close all connections."""


def open_topology(url: str, failover_ms: int, boottime_ms: Callable[[], int]) -> Topology:
    """Prepare connections to the store at ``url``; none is made yet.

    Raises ``ConfigurationError`` when the URL cannot be meant.
    """
    try:
        parsed = store_url.parse(url)
        if parsed.kind == store_url.SINGLE:
            return SingleServer(
                make_client(url, connections=MAX_CONNECTIONS, answer_seconds=ANSWER_SECONDS)
            )
        servers = Clients(
            parsed.of_server,
            connections=MAX_CONNECTIONS,
            answer_seconds=min(ANSWER_SECONDS, failover_ms / 2000),
        )
        for node in parsed.nodes:
            servers.of(node)  # what is wrong with the options shows here, and not at the first call
        kind = SentinelTopology if parsed.kind == store_url.SENTINEL else ClusterTopology
        return kind(parsed, servers, failover_ms, boottime_ms)
    except (ValueError, TypeError) as error:
        raise ConfigurationError("--store", str(error)) from None
