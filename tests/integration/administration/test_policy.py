"""Policy and drain of a license, as an admin sets them at run time."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from support.administration import Acme

PAYMENTS = {
    "name": "payments",
    "label": {"team": "payments"},
    "head_start": 300.0,
    "reserve": 1,
    "cap": None,
}


def test_a_policy_is_set_shown_and_taken_away(acme: Acme) -> None:
    assert acme.license()["policy"] == []
    assert acme.patch("/licenses/kre", {"policy": [PAYMENTS]}).body["policy"] == [PAYMENTS]
    assert acme.patch("/licenses/kre", {"seats": 3}).body["policy"] == [PAYMENTS]
    assert acme.patch("/licenses/kre", {"policy": None}).body["policy"] == []


def test_a_policy_is_part_of_what_if_match_guards(acme: Acme) -> None:
    seen = acme.get("/licenses/kre").headers["ETag"]
    assert acme.patch("/licenses/kre", {"policy": [PAYMENTS]}, If_Match=seen).status == 200
    assert acme.patch("/licenses/kre", {"policy": []}, If_Match=seen).status == 412


def test_the_audit_shows_a_policy_in_words(acme: Acme) -> None:
    acme.patch("/licenses/kre", {"policy": [PAYMENTS]})
    entry = acme.get("/audit").body["items"][0]
    assert entry["before"] == {"policy": []}
    assert entry["after"] == {"policy": [PAYMENTS]}


def test_a_wrong_policy_is_refused_with_its_place(acme: Acme) -> None:
    refused = acme.patch("/licenses/kre", {"policy": [PAYMENTS, {"name": "x"}]})
    assert (refused.code, refused.body["field"]) == ("invalid", "policy[1].label")
    assert acme.patch("/licenses/studio", {"policy": [PAYMENTS]}).body["field"] == "policy"


def test_a_policy_orders_the_line_at_once(acme: Acme) -> None:
    first, second = acme.held(), acme.held()
    plain, urgent = str(uuid.uuid4()), str(uuid.uuid4())
    run = acme.caller("run")
    assert run.acquire(id=plain, wait=60).body["position"] == 1
    team = {"team": "payments"}
    assert run.acquire(id=urgent, wait=60, labels=team).body["position"] == 2
    acme.patch("/licenses/kre", {"policy": [{**PAYMENTS, "reserve": 0}]})
    assert run.acquire(id=urgent, wait=60, labels=team).body["position"] == 1
    run.release(first)
    assert run.acquire(id=urgent, wait=60, labels=team).status == 201
    run.release(second)
    assert run.acquire(id=plain, wait=60).status == 201


def test_a_drained_license_starts_nothing_and_says_so(acme: Acme) -> None:
    lease_id = acme.held()
    assert acme.patch("/licenses/kre", {"drained": True}).body["drained"] is True
    refused = acme.caller("run").acquire()
    assert (refused.code, refused.body["blocked_by"]) == ("seats_exhausted", "drained")
    assert acme.caller("run").renew(lease_id).body["renewed"] == [lease_id]
    acme.post("/licenses/studio/registered-users", {"email": "mary@example.com"})
    acme.patch("/licenses/studio", {"drained": True})
    assert acme.caller("member").acquire("studio").body["blocked_by"] == "drained"
    acme.patch("/licenses/kre", {"drained": False})
    assert acme.caller("run").acquire().status == 201
