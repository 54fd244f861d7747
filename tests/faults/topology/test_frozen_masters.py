"""A master that stood still, was replaced, and goes on answering: what it says is not believed.

Clients take turns on one seat through two daemons; at no time may two of them hold it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.holding import Contest
from support.waiting import wait_until

if TYPE_CHECKING:
    from support.topologies import ClusterGroup, SentinelGroup
    from support.topology_fixtures import Daemons


@pytest.mark.slow
@pytest.mark.parametrize(
    "sentinel_group", ["valkey", pytest.param("redis", marks=pytest.mark.long)], indirect=True
)
def test_a_master_frozen_for_longer_than_x_and_thawed_is_not_believed(
    sentinel_group: SentinelGroup, daemons: Daemons
) -> None:
    callers = [daemons.caller(daemons.start(sentinel_group.url)) for _ in range(2)]
    old = sentinel_group.servers[0]
    with Contest(callers) as contest:
        contest.wait_for_turns(3, 10, "a beginning")
        old.freeze()
        sentinel_group.wait_for_another_than(old)
        contest.wait_for_turns(1, 30, "a turn on the new master")
        old.thaw()
        wait_until(lambda: old.role == "slave", 30, "the old master to follow")
        contest.wait_for_turns(3, 30, "turns after all is well")
    contest.assert_promise_kept()


@pytest.mark.slow
def test_a_cluster_master_frozen_for_longer_than_x_and_thawed_is_not_believed(
    cluster: ClusterGroup, daemons: Daemons
) -> None:
    callers = [daemons.caller(daemons.start(cluster.url)) for _ in range(2)]
    old = cluster.owner_of("{acme}:clock")
    new = cluster.replica_of(old)
    with Contest(callers) as contest:
        contest.wait_for_turns(3, 10, "a beginning")
        old.freeze()
        wait_until(lambda: new.role == "master", 30, "the failover")
        contest.wait_for_turns(1, 30, "a turn on the new master")
        old.thaw()
        wait_until(lambda: old.role == "slave", 30, "the old master to follow")
        contest.wait_for_turns(3, 30, "turns after all is well")
    contest.assert_promise_kept()
