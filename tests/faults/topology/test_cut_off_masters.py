"""A master that was replaced without knowing it: nothing that it says is used for longer than X.

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

    from support.topologies import SentinelGroup
    from support.topology_fixtures import Daemons

X_SECONDS = 2.0


@pytest.fixture
def proxies(sentinel_group: SentinelGroup) -> Iterator[list[Proxy]]:
    """One in front of each sentinel."""
    made = [Proxy(sentinel.port) for sentinel in sentinel_group.sentinels]
    yield made
    for proxy in made:
        proxy.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sentinel_group", "seconds"),
    [
        ("valkey", 0),
        pytest.param("valkey", 30, marks=pytest.mark.long),
        pytest.param("redis", 30, marks=pytest.mark.long),
    ],
    indirect=["sentinel_group"],
)
def test_a_daemon_cut_off_together_with_the_old_master_and_a_replica_grants_nothing_twice(
    sentinel_group: SentinelGroup, daemons: Daemons, proxies: list[Proxy], seconds: float
) -> None:
    inside = daemons.start(sentinel_group.url_through(proxy.address for proxy in proxies))
    outside = daemons.start(sentinel_group.url)
    callers = [daemons.caller(inside), daemons.caller(outside)]
    old, companion, _ = sentinel_group.servers
    with Contest(callers) as contest:
        contest.wait_for_turns(3, 10, "a beginning")
        cut_off = time.monotonic()
        for proxy in proxies:
            proxy.cut()
        old.shut_out("sentinel", "replica-2")
        companion.shut_out("sentinel")
        sentinel_group.wait_for_another_than(old)
        wait_until(lambda: Holder(callers[0]).acquire().code == "store_unavailable")
        noticed = time.monotonic() - cut_off
        contest.wait_for_turns(3, 30, "turns on the new master")
        wait_until(
            lambda: time.monotonic() > cut_off + seconds, seconds + 1, "the end of the trouble"
        )
        assert old.role == "master", "the old one still serves whom it can reach"
        assert Holder(callers[0]).acquire().code == "store_unavailable"
        for proxy in proxies:
            proxy.mend()
        old.let_in("sentinel", "replica-2")
        companion.let_in("sentinel")
        wait_until(lambda: old.role == "slave", 30, "the old master to follow")
        contest.wait_for_turns(3, 30, "turns after all is well")
    contest.assert_promise_kept()
    assert noticed < X_SECONDS + 1
