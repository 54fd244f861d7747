"""Seeing the line: who waits, where, since when, and how long it may take."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from support.waiting import wait_until

if TYPE_CHECKING:
    from support.administration import Acme

QUEUE = "/licenses/kre/queue"


def hold_all(acme: Acme) -> None:
    for _ in range(2):
        acme.held()


def stand_in_line(
    acme: Acme, role: str = "run", *, labels: object = None, seats: object = 1
) -> str:
    lease_id = str(uuid.uuid4())
    answer = acme.caller(role).acquire(id=lease_id, wait=60, labels=labels, seats=seats)
    assert answer.status == 202, answer.body
    return lease_id


def test_the_line_is_shown_in_order_with_who_waits_and_for_what(acme: Acme) -> None:
    assert acme.get(QUEUE).body == {"items": []}
    hold_all(acme)
    first = stand_in_line(acme, labels={"job_url": "https://ci/1"})
    second = stand_in_line(acme, "member", seats={"min": 1, "max": 2})
    one, two = acme.get(QUEUE).body["items"]
    assert (one["position"], one["id"], one["labels"]) == (1, first, {"job_url": "https://ci/1"})
    assert (two["position"], two["id"]) == (2, second)
    assert (two["seats"], two["most_seats"], two["is_own"]) == (1, 2, False)
    assert two["since"].endswith("Z")


def test_members_see_everybody_but_only_their_own_ids(acme: Acme) -> None:
    hold_all(acme)
    stand_in_line(acme)
    mine = stand_in_line(acme, "member")
    other, own = acme.get(QUEUE, role="colleague").body["items"]
    assert "id" not in other
    assert "id" not in own
    other, own = acme.get(QUEUE, role="member").body["items"]
    # The role's key has the scope admin, and its member is none.
    assert "id" not in other
    assert (own["id"], own["is_own"]) == (mine, True)
    assert acme.get(QUEUE, role="other").code == "not_found"


def test_the_line_comes_in_pages(acme: Acme) -> None:
    hold_all(acme)
    ids = [stand_in_line(acme) for _ in range(3)]
    page = acme.get(f"{QUEUE}?limit=2").body
    assert [one["id"] for one in page["items"]] == ids[:2]
    rest = acme.get(f"{QUEUE}?limit=2&cursor={page['next']}").body
    assert [one["id"] for one in rest["items"]] == ids[2:]
    assert "next" not in rest


def test_an_estimate_comes_once_there_are_sessions_to_judge_by(acme: Acme) -> None:
    run = acme.caller("run")
    hold_all(acme)
    place = run.acquire(id=str(uuid.uuid4()), wait=60).body
    assert (place["position"], place["ahead"], place["estimate"]) == (1, 0, None)
    acme.patch("/licenses/kre", {"seats": 12})
    for _ in range(10):
        run.release(acme.held())
    acme.patch("/licenses/kre", {"seats": 2, "force": True})
    waiting = str(uuid.uuid4())

    def estimate() -> object:
        return run.acquire(id=waiting, wait=60).body["estimate"]

    found = wait_until(estimate, seconds=15)
    assert isinstance(found, dict)
    assert 0 <= found["p50"] <= found["p90"]
    assert found["from"] == 10


def test_who_waits_for_a_license_that_is_removed_is_told_and_nobody_else_notices(
    acme: Acme,
) -> None:
    acme.patch("/licenses/kre", {"drained": True})
    waiting = stand_in_line(acme)
    with ThreadPoolExecutor(1) as pool:
        before = acme.daemon.script_calls("acquire")
        held = pool.submit(acme.caller("run").acquire, id=waiting, wait=60, hold=8)
        wait_until(lambda: acme.daemon.script_calls("acquire") > before, what="the call is held")
        assert acme.delete("/licenses/kre").status == 200
        told = held.result(timeout=20)
    assert told.code == "unknown_license"
    assert acme.post("/licenses", {"name": "kre", "seats": 1}).status == 201
    acme.held()
    assert acme.get(QUEUE).body == {"items": []}
