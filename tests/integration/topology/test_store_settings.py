"""What a daemon says at its start about the settings of a Sentinel group or a Cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.redis_server import available_servers
from support.topologies import ClusterGroup, SentinelGroup

if TYPE_CHECKING:
    from pathlib import Path

    from support.daemon import DaemonProcess
    from support.topology_fixtures import Daemons


def found(daemon: DaemonProcess) -> dict[tuple[str, str], tuple[str, str]]:
    """Value and need of the warnings, by server and setting."""
    return {
        (line["server"], line["setting"]): (line["value"], line["needed"])
        for line in daemon.events("store_setting")
    }


@pytest.mark.parametrize("server", sorted(available_servers()))
def test_a_sentinel_group_with_settings_as_they_come_is_told_by_name(
    daemons: Daemons, tmp_path: Path, server: str
) -> None:
    group = SentinelGroup(
        available_servers()[server], tmp_path, down_after_ms=30_000, failover_timeout_ms=180_000
    )
    try:
        group.start()
        group.servers[1].client.config_set("appendonly", "no")
        group.servers[2].client.config_set("maxmemory-policy", "allkeys-lru")
        findings = found(daemons.start(group.url))
    finally:
        group.end()
    first, second, third = (node.address for node in group.servers)
    # X is 2 s here; as set it is 10 s, and the limits are 5000.
    assert findings == {
        ("sentinels", "down-after-milliseconds"): ("30000", "at most 1000"),
        ("sentinels", "failover-timeout"): ("180000", "at most 1000"),
        (first, "min-replicas-to-write"): ("0", "1"),
        (second, "min-replicas-to-write"): ("0", "1"),
        (third, "min-replicas-to-write"): ("0", "1"),
        (second, "appendonly"): ("no", "yes"),
        (third, "maxmemory-policy"): ("allkeys-lru", "noeviction"),
    }


def test_a_sentinel_group_as_it_should_be_is_no_news(daemons: Daemons, tmp_path: Path) -> None:
    group = SentinelGroup(
        available_servers()["valkey"], tmp_path, down_after_ms=1000, failover_timeout_ms=1000
    )
    try:
        group.start()
        for node in group.servers:
            node.client.config_set("min-replicas-to-write", 1)
        findings = found(daemons.start(group.url))
    finally:
        group.end()
    assert not findings


def test_a_cluster_that_is_slow_to_notice_a_dead_master_is_told_of_each_node(
    daemons: Daemons, tmp_path: Path
) -> None:
    group = ClusterGroup(available_servers()["valkey"], tmp_path, node_timeout_ms=15_000)
    try:
        group.start()
        findings = found(daemons.start(group.url))
    finally:
        group.end()
    slow = {name: told for name, told in findings.items() if name[1] == "cluster-node-timeout"}
    assert slow == {
        (node.address, "cluster-node-timeout"): ("15000", "at most 500") for node in group.nodes
    }
