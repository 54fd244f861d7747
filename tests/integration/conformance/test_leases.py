"""Acquire, renew and release mean the same over every transport."""

from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from support.calls import wish
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.daemon import DaemonProcess

    from .conftest import Calls


def holders(caller: Calls) -> list[dict[str, Any]]:
    """Who has the seats, as a refusal tells it."""
    found: list[dict[str, Any]] = caller.acquire().body["holders"]
    return found


def test_a_seat_is_granted_renewed_and_released(caller: Calls) -> None:
    granted = caller.acquire(labels={"job": "42"})
    assert granted.status == 201
    lease = granted.body["lease"]
    assert lease["labels"] == {"job": "42"}
    assert (lease["ttl"], lease["renew_after"]) == (30.0, 7.5)
    renewed = caller.renew(lease["id"])
    assert renewed.status == 200
    assert renewed.body == {
        "renewed": [lease["id"]],
        "lost": [],
        "notices": [],
        "ttl": 30.0,
        "renew_after": 7.5,
    }
    assert caller.release(lease["id"]).status == 204
    assert caller.release(lease["id"]).status == 204
    (lost,) = caller.renew(lease["id"]).body["lost"]
    assert (lost["id"], lost["code"]) == (lease["id"], "lease_ended")


def test_the_same_acquire_gets_the_same_lease_and_other_content_a_conflict(caller: Calls) -> None:
    lease_id = str(uuid.uuid4())
    first = caller.acquire(id=lease_id)
    again = caller.acquire(id=lease_id)
    assert (first.status, again.status) == (201, 200)
    assert again.body["lease"]["token"] == first.body["lease"]["token"]
    other = caller.acquire(id=lease_id, machine={"id": "machine-2"})
    assert (other.status, other.code) == (409, "conflict")


def test_an_ended_id_is_not_used_again(caller: Calls) -> None:
    lease_id = str(uuid.uuid4())
    caller.acquire(id=lease_id)
    caller.release(lease_id)
    again = caller.acquire(id=lease_id)
    assert (again.status, again.code) == (410, "lease_ended")
    assert again.body["reason"] == "released"


def test_releasing_an_id_never_seen_spends_it(caller: Calls) -> None:
    lease_id = str(uuid.uuid4())
    refused = caller.release(lease_id)
    assert (refused.status, refused.code) == (404, "not_found")
    assert caller.acquire(id=lease_id).code == "lease_ended"


def test_a_full_license_names_its_holders(caller: Calls) -> None:
    for _ in range(2):
        caller.acquire(labels={"job": "42"})
    refused = caller.acquire()
    assert (refused.status, refused.code) == (409, "seats_exhausted")
    assert refused.body["hint"]
    wait_until(
        lambda: [one["labels"] for one in holders(caller)] == [{"job": "42"}] * 2,
        what="the holders, who are read once a second, to be these",
    )


def test_a_holder_of_several_seats_is_named_once_with_their_number(caller: Calls) -> None:
    caller.acquire(seats=2)
    wait_until(lambda: [one.get("seats") for one in holders(caller)] == [2], what="this holder")


def test_a_place_in_the_line_becomes_a_seat_when_its_turn_comes(caller: Calls) -> None:
    held = [caller.acquire().body["lease"]["id"] for _ in range(2)]
    first, second = wish(wait=60), wish(wait=60)
    assert caller.call_op("acquire", first).body["position"] == 1
    waiting = caller.call_op("acquire", second)
    assert (waiting.status, waiting.body["position"]) == (202, 2)
    assert waiting.body["blocked_by"] == "seats"
    assert waiting.body["retry_after"] > 0
    caller.release(held[0])
    assert caller.call_op("acquire", second).status == 202
    assert caller.call_op("acquire", first).status == 201


def test_a_held_acquire_is_answered_when_a_seat_becomes_free(
    daemon: DaemonProcess, caller: Calls, connect: Callable[..., Calls]
) -> None:
    held = [caller.acquire().body["lease"]["id"] for _ in range(2)]
    waiter = connect()

    def somebody_waits() -> bool:
        metrics = daemon.anonymous().call("GET", "/metrics").body
        return 'lessor_queue_length{license="kre",org="acme"} 1.0' in metrics

    with ThreadPoolExecutor(1) as pool:
        claim = pool.submit(waiter.call_op, "acquire", wish(wait=60, hold=8))
        wait_until(somebody_waits, what="the acquire to join the line")
        began = time.monotonic()
        caller.release(held[0])
        assert claim.result().status == 201
        assert time.monotonic() - began < 3


def test_an_acquire_is_not_held_longer_than_it_asks_for(caller: Calls) -> None:
    for _ in range(2):
        caller.acquire()
    began = time.monotonic()
    answer = caller.call_op("acquire", wish(wait=60, hold=0.3))
    assert (answer.status, answer.body["retry_after"]) == (202, 0)
    assert 0.3 <= time.monotonic() - began < 3


def test_renewals_tell_apart_what_is_kept_and_what_is_lost(caller: Calls) -> None:
    kept = caller.acquire().body["lease"]["id"]
    gone = caller.acquire().body["lease"]["id"]
    caller.release(gone)
    unknown = str(uuid.uuid4())
    answer = caller.renew(gone, kept, unknown)
    assert answer.status == 200
    assert answer.body["renewed"] == [kept]
    lost = {one["id"]: one["code"] for one in answer.body["lost"]}
    assert lost == {gone: "lease_ended", unknown: "not_found"}


def test_a_renewal_may_carry_certificates_and_may_be_empty(caller: Calls) -> None:
    lease = caller.acquire().body["lease"]
    proven = {"id": lease["id"], "certificate": lease["certificate"]}
    answer = caller.call_op("renew", {"leases": [proven]})
    assert answer.body["renewed"] == [lease["id"]]
    empty = caller.call_op("renew", {"leases": []})
    assert (empty.status, empty.body["renewed"], empty.body["ttl"]) == (200, [], 0)


def test_ids_are_read_in_either_case_and_written_in_lower_case(caller: Calls) -> None:
    lease_id = caller.acquire().body["lease"]["id"]
    assert caller.renew(lease_id.upper()).body["renewed"] == [lease_id]


def test_another_organization_touches_nothing(caller: Calls, connect: Callable[..., Calls]) -> None:
    lease_id = caller.acquire().body["lease"]["id"]
    stranger = connect("other")
    assert stranger.renew(lease_id).body["lost"][0]["code"] == "not_found"
    assert stranger.release(lease_id).code == "not_found"
    assert caller.renew(lease_id).body["renewed"] == [lease_id]


def test_a_seat_of_somebody_else_is_released_by_an_admin_only(
    caller: Calls, connect: Callable[..., Calls]
) -> None:
    theirs = connect("admin").acquire().body["lease"]["id"]
    refused = caller.release(theirs)
    assert (refused.status, refused.code) == (403, "forbidden")
    ours = caller.acquire().body["lease"]["id"]
    assert connect("admin").release(ours).status == 204
