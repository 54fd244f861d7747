"""Organizations spread over a Cluster: one master's trouble is its own organizations' trouble."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.holding import Holder
from support.waiting import wait_until

if TYPE_CHECKING:
    from support.topologies import ClusterGroup, Node
    from support.topology_fixtures import Daemons

NAMES = [f"org-{number}" for number in range(100)]


def org_on(cluster: ClusterGroup, node: Node) -> str:
    """A slug whose keys lie on this master."""
    return next(name for name in NAMES if cluster.owner_of(f"{{{name}}}:clock") is node)


def test_a_killed_master_sends_its_organizations_into_recovery_and_no_others(
    cluster: ClusterGroup, daemons: Daemons
) -> None:
    lost, kept, _ = cluster.masters
    hit, spared = org_on(cluster, lost), org_on(cluster, kept)
    daemon = daemons.start(cluster.url, hit, spared, ttl="6s")
    holder = Holder(daemons.caller(daemon, hit))
    neighbour = Holder(daemons.caller(daemon, spared))
    assert holder.acquire().status == 201
    assert neighbour.acquire().status == 201
    lost.kill()
    other = Holder(daemons.caller(daemon, hit))
    codes: set[str] = set()

    def recovery_is_over() -> bool:
        neighbour.renew()
        assert neighbour.is_live, "an organization on another master was disturbed"
        codes.add(other.acquire().code)
        codes_of_neighbour.add(Holder(daemons.caller(daemon, spared)).acquire().code)
        return {"recovering", "seats_exhausted"} <= codes

    codes_of_neighbour: set[str] = set()
    holder.hold_until(recovery_is_over, 40, "the end of recovery")
    assert codes <= {"store_unavailable", "recovering", "seats_exhausted"}
    assert codes_of_neighbour <= {"store_unavailable", "seats_exhausted"}
    assert holder.release().status == 204
    assert other.acquire().status == 201
    assert other.token > holder.token


def test_a_slot_that_moves_key_by_key_loses_nothing_and_tears_no_script(
    cluster: ClusterGroup, daemons: Daemons
) -> None:
    source, target, _ = cluster.masters
    org = org_on(cluster, source)
    daemon = daemons.start(cluster.url, org, ttl="6s")
    caller = daemons.caller(daemon, org)
    holder = Holder(caller)
    assert holder.acquire().status == 201
    slot = source.client.cluster("KEYSLOT", f"{{{org}}}:clock")
    target.client.cluster("SETSLOT", slot, "IMPORTING", cluster.id_of(source))
    source.client.cluster("SETSLOT", slot, "MIGRATING", cluster.id_of(target))
    before = source.client.hgetall(f"{{{org}}}:clock")
    assert holder.renew().code == "store_unavailable"
    assert caller.acquire().code == "store_unavailable"
    assert source.client.hgetall(f"{{{org}}}:clock") == before, "a script wrote in its half"
    for key in source.client.cluster("GETKEYSINSLOT", slot, 1000):
        source.client.migrate("127.0.0.1", target.port, key, 0, 5000)
    for node in cluster.masters:
        node.client.cluster("SETSLOT", slot, "NODE", cluster.id_of(target))
    holder.hold_until(lambda: holder.renew().status == 200, 10, "the new owner to answer")
    assert target.client.exists(f"{{{org}}}:clock")
    assert caller.acquire().code == "recovering", "another server may lack the last writes"


def test_keys_and_organizations_in_other_slots_are_found(
    cluster: ClusterGroup, daemons: Daemons
) -> None:
    orgs = [org_on(cluster, node) for node in cluster.masters]
    daemon = daemons.start(cluster.url, *orgs)
    for org in orgs:
        answer = daemons.caller(daemon, org).call("GET", f"/v1/orgs/{org}/licenses")
        assert [one["name"] for one in answer.body["items"]] == ["kre"]
    assert daemons.caller(daemon, orgs[0]).call("GET", f"/v1/orgs/{orgs[1]}").status == 404
    metrics = daemon.anonymous().call("GET", "/metrics").body
    assert all(f'lessor_seats{{license="kre",org="{org}"}} 1.0' in metrics for org in orgs)
    wait_until(lambda: daemon.anonymous().call("GET", "/readyz").status == 200)
