"""A replica that a person made the master: with Sentinel, in a Cluster, and with neither."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from redis.exceptions import ResponseError
from support.holding import Contest, Holder
from support.proxy import Proxy
from support.redis_server import available_servers
from support.topologies import SERVICE, Node, free_ports
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from redis import Redis
    from support.topologies import ClusterGroup, SentinelGroup
    from support.topology_fixtures import Daemons

EITHER_SERVER = ["valkey", pytest.param("redis", marks=pytest.mark.long)]


class Pair:
    """A master and a replica, and the one address that clients know of."""

    def __init__(self, binary: str, directory: Path) -> None:
        ports = free_ports(2)
        config = ["appendonly yes", "repl-diskless-sync-delay 0"]
        self.master = Node(binary, directory / "master", ports[0], config)
        self.between = Proxy(ports[0])
        config.append(f"replicaof 127.0.0.1 {self.between.port}")
        self.replica = Node(binary, directory / "replica", ports[1], config)
        self.proxy = Proxy(ports[0])
        self.url = f"redis://{self.proxy.address}"

    def start(self) -> None:
        """Returns when the replica follows."""
        self.master.start()
        self.replica.start()
        wait_until(
            lambda: self.replica.client.info("replication")["master_link_status"] == "up",
            what="the replica to follow",
        )

    def end(self) -> None:
        """Leave nothing running."""
        for proxy in (self.proxy, self.between):
            proxy.close()
        for node in (self.master, self.replica):
            node.end()


@pytest.fixture(params=EITHER_SERVER)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    """Running."""
    made = Pair(available_servers()[request.param], tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.end()


def test_a_replica_promoted_by_hand_that_lacks_the_last_seconds_gets_the_lease_back(
    pair: Pair, daemons: Daemons
) -> None:
    daemon = daemons.start(pair.url, ttl="6s")
    earlier = Holder(daemons.caller(daemon))
    assert earlier.acquire().status == 201
    assert earlier.release().status == 204
    pair.master.client.wait(1, 5000)
    pair.between.cut()
    holder = Holder(daemons.caller(daemon))
    assert holder.acquire().status == 201
    pair.master.kill()
    pair.replica.client.execute_command("REPLICAOF NO ONE")  # type: ignore[no-untyped-call]  # redis'
    assert pair.replica.client.zcard("{acme}:leases") == 0, "it lacks the lease"
    pair.proxy.lead_to(pair.replica.port)
    other = Holder(daemons.caller(daemon))
    codes: set[str] = set()

    def recovery_is_over() -> bool:
        codes.add(other.acquire().code)
        return "seats_exhausted" in codes

    holder.hold_until(recovery_is_over, 40, "the end of recovery")
    assert codes <= {"store_unavailable", "recovering", "seats_exhausted"}
    assert "recovering" in codes
    assert holder.release().status == 204
    assert other.acquire().status == 201
    assert other.token > holder.token > earlier.token


@pytest.mark.slow
def test_a_master_replaced_by_hand_and_then_another_time_grants_nothing_twice(
    sentinel_group: SentinelGroup, daemons: Daemons
) -> None:
    callers = [daemons.caller(daemons.start(sentinel_group.url)) for _ in range(2)]
    sentinel = sentinel_group.sentinels[0].client
    master = sentinel_group.servers[0]
    with Contest(callers) as contest:
        for _ in range(2):
            contest.wait_for_turns(2, 30, "turns on this master")
            # Refused while the one before is not over for every sentinel.
            wait_until(lambda: _accepts_failover(sentinel), 20, "the order to be taken")
            master = sentinel_group.wait_for_another_than(master)
        contest.wait_for_turns(2, 30, "turns on the last one")
    contest.assert_promise_kept()


def test_a_cluster_replica_promoted_by_hand_over_its_living_master_grants_nothing_twice(
    cluster: ClusterGroup, daemons: Daemons
) -> None:
    callers = [daemons.caller(daemons.start(cluster.url)) for _ in range(2)]
    old = cluster.owner_of("{acme}:clock")
    new = cluster.replica_of(old)
    with Contest(callers) as contest:
        contest.wait_for_turns(2, 10, "a beginning")
        new.client.cluster("FAILOVER", "TAKEOVER")
        wait_until(lambda: (new.role, old.role) == ("master", "slave"), 30, "the change")
        contest.wait_for_turns(2, 30, "turns on the new master")
    contest.assert_promise_kept()


def _accepts_failover(sentinel: Redis) -> bool:
    try:
        sentinel.sentinel_failover(SERVICE)
    except ResponseError:
        return False
    return True
