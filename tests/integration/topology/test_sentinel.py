"""A master under Sentinel dies or is replaced: no lease is lost, and none is granted twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.holding import Holder
from support.topologies import SERVICE
from support.waiting import wait_until

if TYPE_CHECKING:
    from support.topologies import SentinelGroup
    from support.topology_fixtures import Daemons


def test_a_killed_master_ends_no_lease_and_nothing_is_granted_until_recovery_is_over(
    sentinel_group: SentinelGroup, daemons: Daemons
) -> None:
    daemon = daemons.start(sentinel_group.url, ttl="6s")
    holder = Holder(daemons.caller(daemon))
    assert holder.acquire().status == 201
    first_token = holder.token
    sentinel_group.servers[0].kill()
    other = Holder(daemons.caller(daemon))
    codes: set[str] = set()

    def recovery_is_over() -> bool:
        answer = other.acquire()
        codes.add(answer.code)
        if answer.code == "recovering":
            assert "Retry-After" in answer.headers
        return "recovering" in codes and answer.code == "seats_exhausted"

    holder.hold_until(recovery_is_over, 40, "the end of recovery")
    assert codes <= {"store_unavailable", "recovering", "seats_exhausted"}
    assert holder.release().status == 204
    assert other.acquire().status == 201
    assert other.token > first_token


def test_a_lease_that_the_new_master_never_heard_of_lives_on_by_its_certificate(
    sentinel_group: SentinelGroup, daemons: Daemons
) -> None:
    daemon = daemons.start(sentinel_group.url, ttl="6s")
    earlier = Holder(daemons.caller(daemon))
    assert earlier.acquire().status == 201
    assert earlier.release().status == 204
    master = sentinel_group.servers[0]
    master.client.wait(2, 5000)
    master.shut_out("replica-1", "replica-2")
    holder = Holder(daemons.caller(daemon))
    assert holder.acquire().status == 201
    master.kill()
    new = sentinel_group.wait_for_another_than(master)
    assert new.client.zcard("{acme}:leases") == 0, "the new master lacks the lease"
    other = Holder(daemons.caller(daemon))
    holder.hold_until(lambda: other.acquire().code == "seats_exhausted", 40, "the end of recovery")
    assert holder.release().status == 204
    assert other.acquire().status == 201
    assert other.token > holder.token > earlier.token


def test_without_a_majority_of_sentinels_nothing_is_served_until_there_is_one_again(
    sentinel_group: SentinelGroup, daemons: Daemons
) -> None:
    daemon = daemons.start(sentinel_group.url, ttl="6s")
    holder = Holder(daemons.caller(daemon))
    assert holder.acquire().status == 201
    for sentinel in sentinel_group.sentinels[:2]:
        sentinel.freeze()
    holder.hold_until(
        lambda: holder.renew().code == "store_unavailable", 10, "the daemon to notice"
    )
    for sentinel in sentinel_group.sentinels[:2]:
        sentinel.thaw()
    holder.hold_until(lambda: holder.renew().status == 200, 10, "the daemon to serve again")


def test_a_daemon_that_is_told_of_too_few_sentinels_says_so_and_serves_nothing(
    sentinel_group: SentinelGroup, daemons: Daemons
) -> None:
    url = sentinel_group.url_through([sentinel_group.sentinels[0].address])
    daemon = daemons.start(url, until="listening")
    (line,) = wait_until(lambda: daemon.events("store_unavailable"))
    assert "3 sentinels watch 'lessor' and only 1" in line["reason"]
    assert daemons.caller(daemon).acquire().code == "store_unavailable"


def test_one_sentinel_under_two_names_has_one_voice(
    sentinel_group: SentinelGroup, daemons: Daemons
) -> None:
    port = sentinel_group.sentinels[0].port
    nobody = sentinel_group.servers[0]  # answers, but is no sentinel
    url = sentinel_group.url_through([f"127.0.0.1:{port}", f"localhost:{port}", nobody.address])
    daemon = daemons.start(url, until="listening")
    (line,) = wait_until(lambda: daemon.events("store_unavailable"))
    assert "1 of 3 answered" in line["reason"]


@pytest.mark.parametrize("sentinel_group", ["redis", "valkey"], indirect=True)
def test_a_promotion_by_hand_is_followed(sentinel_group: SentinelGroup, daemons: Daemons) -> None:
    daemon = daemons.start(sentinel_group.url, ttl="6s")
    holder = Holder(daemons.caller(daemon))
    assert holder.acquire().status == 201
    old = sentinel_group.servers[0]
    sentinel_group.sentinels[0].client.sentinel_failover(SERVICE)
    new = sentinel_group.wait_for_another_than(old)
    holder.hold_until(
        lambda: int(new.client.hget("{acme}:clock", "grace_until") or 0) > 0,
        10,
        "the new master to recover",
    )
