"""A failover to a replica that lacks a change of administration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.calls import Caller
from support.topology_fixtures import key_of
from support.waiting import wait_until

if TYPE_CHECKING:
    from support.daemon import DaemonProcess
    from support.topologies import ClusterGroup, SentinelGroup
    from support.topology_fixtures import Daemons

ADMIN = f"lsr_adminkey_{'s' * 32}"
BOOTSTRAP = f"""
[[organization]]
slug = "acme"
[[organization.license]]
name = "kre"
seats = 5
machines = "unlimited"
ttl = "2s"
[[organization.key]]
name = "acme"
scopes = ["run"]
secret = "{key_of("acme")}"
[[organization.key]]
name = "admin"
scopes = ["admin"]
secret = "{ADMIN}"
"""
LICENSE = "/v1/orgs/acme/licenses/kre"


def admin_of(daemon: DaemonProcess) -> Caller:
    return Caller(daemon.url, ADMIN)


def lower(admin: Caller, seats: int) -> tuple[int, str]:
    answer = admin.call("PATCH", LICENSE, {"seats": seats})
    return answer.status, answer.code


def seats_of(admin: Caller) -> int | None:
    found: int | None = admin.call("GET", LICENSE).body.get("seats")
    return found


def test_seats_that_were_lowered_are_low_again_before_the_new_master_grants(
    sentinel_group: SentinelGroup, daemons: Daemons
) -> None:
    daemon = daemons.start_with(BOOTSTRAP, sentinel_group.url, "2s")
    admin = admin_of(daemon)
    master, knowing, other = sentinel_group.servers
    master.client.wait(2, 5000)
    master.shut_out(_user(sentinel_group, other))
    assert lower(admin, 1) == (200, "")
    # The replica that has the change dies with the master.
    knowing.kill()
    master.kill()
    assert sentinel_group.wait_for_another_than(master) is other
    assert other.client.hget("{acme}:kre:quota", "seats") == "5", "it lacks the change"
    wait_until(lambda: seats_of(admin) == 1, 30, "the seats to be low again")
    (line,) = daemon.events("changes_forgotten")
    assert line["changes"] == ["seats kre"]
    caller = daemons.caller(daemon)
    wait_until(lambda: caller.acquire().status == 201, 40, "recovery to be over")
    assert caller.acquire().code == "seats_exhausted"


def test_a_change_that_no_replica_has_is_not_answered_as_made_and_may_be_repeated(
    sentinel_group: SentinelGroup, daemons: Daemons
) -> None:
    daemon = daemons.start_with(BOOTSTRAP, sentinel_group.url, "2s")
    admin = admin_of(daemon)
    master, *replicas = sentinel_group.servers
    users = [_user(sentinel_group, replica) for replica in replicas]
    master.shut_out(*users)
    refused = admin.call("PATCH", LICENSE, {"seats": 1})
    assert refused.code == "store_unavailable"
    assert "is on no replica of the store yet" in refused.body["detail"]
    assert "Retry-After" in refused.headers
    assert lower(admin, 1)[1] == "store_unavailable", "though there is nothing left to change"
    master.let_in(*users)
    wait_until(lambda: lower(admin, 1) == (200, ""), 20, "a replica to be back")


def test_on_a_cluster_a_change_waits_for_the_replica_of_its_own_master(
    cluster: ClusterGroup, daemons: Daemons
) -> None:
    daemon = daemons.start_with(BOOTSTRAP, cluster.url, "2s")
    admin = admin_of(daemon)
    master = cluster.owner_of("{acme}:clock")
    others = [cluster.replica_of(node) for node in cluster.masters if node is not master]
    wait_until(lambda: lower(admin, 4) == (200, ""), 20, "all replicas to follow")
    for replica in others:
        replica.freeze()
    assert lower(admin, 3) == (200, ""), "the replicas of others are none of its business"
    for replica in others:
        replica.thaw()
    cluster.replica_of(master).freeze()
    refused = admin.call("PATCH", LICENSE, {"seats": 2})
    cluster.replica_of(master).thaw()
    assert refused.code == "store_unavailable"
    assert "is on no replica of the store yet" in refused.body["detail"]
    wait_until(lambda: lower(admin, 2) == (200, ""), 20, "the replica to be back")


def _user(group: SentinelGroup, server: object) -> str:
    return f"replica-{group.servers.index(server)}"  # type: ignore[arg-type]  # one of them
