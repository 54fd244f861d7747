"""Calls that begin at the same time go to a server together, also where there are several."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from lessor_daemon.store.store import Store
from lessor_daemon.store.topology.confirmation import WatchedTopology

if TYPE_CHECKING:
    from support.topologies import ClusterGroup, SentinelGroup


def test_they_share_a_connection_to_the_master(sentinel_group: SentinelGroup) -> None:
    assert _connections_of_three_calls(sentinel_group.url) == 1


def test_they_share_a_connection_to_the_owner_of_their_slot(cluster: ClusterGroup) -> None:
    assert _connections_of_three_calls(cluster.url) == 1


def _connections_of_three_calls(url: str) -> int:
    store = Store.open(url)
    topology = store.topology
    assert isinstance(topology, WatchedTopology)

    async def ask() -> list[Any]:
        await topology.look()
        ids = await asyncio.gather(*(topology.execute("CLIENT", "ID") for _ in range(3)))
        await store.close()
        return ids

    return len(set(asyncio.run(ask())))
