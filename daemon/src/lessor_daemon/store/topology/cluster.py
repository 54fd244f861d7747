"""A Cluster: every organization in one slot, every slot with an owner that may change."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from redis.exceptions import RedisError

from .clients import Clients
from .cluster_view import ClusterView, NodeAnswer, parse_nodes
from .confirmation import LOOKS, WatchedTopology

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

    from lessor_daemon.settings import Address
    from lessor_daemon.store_url import StoreUrl

_log = structlog.get_logger(__name__)


class ClusterTopology(WatchedTopology[ClusterView]):
    """Routes each key to the node that a majority of the other masters names for its slot."""

    def __init__(
        self, url: StoreUrl, servers: Clients, failover_ms: int, boottime_ms: Callable[[], int]
    ) -> None:
        super().__init__(servers, failover_ms, boottime_ms)
        self._seeds = set(url.nodes)
        self._known = self._seeds
        self._owners: dict[int, Address] = {}
        self._view: ClusterView | None = None
        # Apart from the connections for calls: a question must not stand in line behind scripts.
        self._asked = Clients(
            url.of_server, connections=2, answer_seconds=failover_ms / 1000 / LOOKS
        )

    async def close(self) -> None:
        """Close all connections."""
        await super().close()
        await self._asked.close()

    def has_replicas(self, key: str) -> bool:
        """Whether the nodes know of any for the key's owner, there or away."""
        return self._view is not None and self._view.has_replicas(key.encode())

    async def servers(self) -> dict[str, Redis]:
        """All nodes, replicas too: they may become masters."""
        if self._view is None:
            await self.look()
        return {str(address): self._servers.of(address) for address in sorted(self._known, key=str)}

    async def _ask(self) -> ClusterView:
        nodes = self._seeds | self._known
        await asyncio.gather(self._asked.keep(nodes), self._servers.keep(nodes))
        answers = await asyncio.gather(*(self._ask_one(node) for node in nodes))
        view = ClusterView([one for one in answers if one is not None])
        if view.addresses:
            self._known = view.addresses
            self._view = view
        return view

    def _replaced_by(self, view: ClusterView) -> set[Address]:
        owners = view.owners
        replaced = {
            old for slot, old in self._owners.items() if slot in owners and owners[slot] != old
        } - set(owners.values())
        if replaced:
            _log.info("store_masters_replaced", masters=sorted(str(one) for one in replaced))
        self._owners |= owners
        return replaced

    async def _ask_one(self, node: Address) -> NodeAnswer | None:
        # Two words, so that the reply comes as it was sent.
        try:
            client = self._asked.of(node)
            reply: bytes = await client.execute_command("CLUSTER", "NODES")  # type: ignore[no-untyped-call]  # redis leaves it untyped
        except (RedisError, OSError) as error:
            _log.debug("cluster_node_silent", node=str(node), error=str(error))
            return None
        return NodeAnswer(node, parse_nodes(reply.decode()))
