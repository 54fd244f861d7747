"""A master that was replaced and goes on answering: nothing that it says is used for longer than X.

Clients take turns on one seat through two daemons, one on each side of the trouble; at no time may
two of them hold it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from support.holding import Contest, Holder
from support.proxy import Proxy
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.topologies import ClusterGroup, SentinelGroup
    from support.topology_fixtures import Daemons

X_SECONDS = 2.0
RECOVERY_SECONDS = 7.0
"""ttl 2 s, margin 1 s, and X twice: in the margin and once more."""


@pytest.fixture
def proxies(sentinel_group: SentinelGroup) -> Iterator[list[Proxy]]:
    """One in front of each sentinel."""
    made = [Proxy(sentinel.port) for sentinel in sentinel_group.sentinels]
    yield made
    for proxy in made:
        proxy.close()


def wait_for_turns(contest: Contest, turns: int, seconds: float, what: str) -> None:
    """Wait until so many more turns were taken."""
    begin = time.monotonic()
    wait_until(lambda: contest.turns_since(begin) >= turns, seconds, what)


@pytest.mark.parametrize("sentinel_group", ["redis", "valkey"], indirect=True)
def test_a_daemon_cut_off_together_with_the_old_master_and_a_replica_grants_nothing_twice(
    sentinel_group: SentinelGroup, daemons: Daemons, proxies: list[Proxy]
) -> None:
    inside = daemons.start(sentinel_group.url_through(proxy.address for proxy in proxies))
    outside = daemons.start(sentinel_group.url)
    callers = [daemons.caller(inside), daemons.caller(outside)]
    old, companion, _ = sentinel_group.servers
    with Contest(callers) as contest:
        wait_for_turns(contest, 3, 10, "a beginning")
        cut_off = time.monotonic()
        for proxy in proxies:
            proxy.cut()
        old.shut_out("sentinel", "replica-2")
        companion.shut_out("sentinel")
        sentinel_group.wait_for_another_than(old)
        wait_until(lambda: Holder(callers[0]).acquire().code == "store_unavailable")
        noticed = time.monotonic() - cut_off
        wait_for_turns(contest, 3, 30, "turns on the new master")
        assert old.role == "master", "the old one still serves whom it can reach"
        assert Holder(callers[0]).acquire().code == "store_unavailable"
        for proxy in proxies:
            proxy.mend()
        old.let_in("sentinel", "replica-2")
        companion.let_in("sentinel")
        wait_until(lambda: old.role == "slave", 30, "the old master to follow")
        wait_for_turns(contest, 3, 30, "turns after all is well")
    contest.assert_promise_kept()
    assert noticed < X_SECONDS + 1


@pytest.mark.parametrize("sentinel_group", ["redis", "valkey"], indirect=True)
def test_a_master_frozen_for_longer_than_x_and_thawed_is_not_believed(
    sentinel_group: SentinelGroup, daemons: Daemons
) -> None:
    callers = [daemons.caller(daemons.start(sentinel_group.url)) for _ in range(2)]
    old = sentinel_group.servers[0]
    with Contest(callers) as contest:
        wait_for_turns(contest, 3, 10, "a beginning")
        old.freeze()
        sentinel_group.wait_for_another_than(old)
        wait_for_turns(contest, 1, 30, "a turn on the new master")
        old.thaw()
        wait_until(lambda: old.role == "slave", 30, "the old master to follow")
        wait_for_turns(contest, 3, 30, "turns after all is well")
    contest.assert_promise_kept()


def test_two_failovers_in_a_row_end_no_lease_and_no_token_goes_back(
    sentinel_group: SentinelGroup, daemons: Daemons
) -> None:
    daemon = daemons.start(sentinel_group.url, ttl="10s")
    holder = Holder(daemons.caller(daemon))
    assert holder.acquire().status == 201
    first = sentinel_group.servers[0]
    first.kill()
    second = sentinel_group.wait_for_another_than(first)
    # As soon as it serves and is followed, so that the last one can take over.
    holder.hold_until(
        lambda: int(second.client.info("replication")["connected_slaves"]) > 0,
        20,
        "the last replica to follow",
    )
    second.kill()
    other = Holder(daemons.caller(daemon))
    holder.hold_until(lambda: other.acquire().code == "recovering", 30, "the second recovery")
    holder.hold_until(lambda: other.acquire().code == "seats_exhausted", 30, "its end")
    assert holder.release().status == 204
    assert other.acquire().status == 201
    assert other.token > holder.token


def test_a_cluster_master_frozen_for_longer_than_x_and_thawed_is_not_believed(
    cluster: ClusterGroup, daemons: Daemons
) -> None:
    callers = [daemons.caller(daemons.start(cluster.url)) for _ in range(2)]
    old = cluster.owner_of("{acme}:clock")
    new = cluster.replica_of(old)
    with Contest(callers) as contest:
        wait_for_turns(contest, 3, 10, "a beginning")
        old.freeze()
        wait_until(lambda: new.role == "master", 30, "the failover")
        wait_for_turns(contest, 1, 30, "a turn on the new master")
        old.thaw()
        wait_until(lambda: old.role == "slave", 30, "the old master to follow")
        wait_for_turns(contest, 3, 30, "turns after all is well")
    contest.assert_promise_kept()
