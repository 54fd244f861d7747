"""Sessions, live and past, and the machines they run on."""

from __future__ import annotations

import csv
import io
import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from support.streaming import StreamCaller

if TYPE_CHECKING:
    from support.administration import Acme


def past(acme: Acme, query: str = "", role: str = "owner") -> list[dict[str, Any]]:
    """Sessions that ended."""
    found: list[dict[str, Any]] = acme.get(f"/sessions?state=past{query}", role).body["items"]
    return found


def test_a_session_is_seen_live_and_then_in_the_past(acme: Acme) -> None:
    lease_id = acme.held("member", labels={"job": "42"})
    (live,) = acme.get("/sessions").body["items"]
    assert (live["id"], live["state"], live["member"]) == (lease_id, "live", "mary@example.com")
    assert (live["user"], live["labels"], live["process"]["command"]) == (
        "ada",
        {"job": "42"},
        "pytest",
    )
    acme.caller("member").release(lease_id)
    assert acme.get(f"/sessions/{lease_id}").code == "not_found"
    (ended,) = past(acme)
    assert (ended["id"], ended["state"], ended["reason"]) == (lease_id, "ended", "released")
    assert ended["duration"] >= 0
    assert ended["labels"] == {"job": "42"}


def test_an_ended_session_tells_its_holder_why_and_counts_until_it_is_dead(acme: Acme) -> None:
    lease_id = acme.held()
    ending = acme.post(f"/sessions/{lease_id}/end", {"reason": "we need the seat"}, "admin")
    assert (ending.status, ending.body["state"]) == (200, "ending")
    lost = acme.lost(lease_id)
    assert (lost["code"], lost["reason"]) == (
        "lease_ended",
        "adam@example.com ended it: we need the seat",
    )
    assert acme.license()["leases"] == 1
    repeated = acme.caller("run").acquire(id=lease_id)
    assert (repeated.status, repeated.code) == (410, "lease_ended")
    acme.caller("run").release(lease_id)
    assert acme.license()["leases"] == 0
    (ended,) = past(acme)
    assert (ended["reason"], ended["text"]) == ("ended", lost["reason"])
    assert acme.lost(lease_id)["code"] == "lease_ended"


@pytest.mark.parametrize("transport", ["http", "stream"])
def test_an_admins_release_of_anothers_lease_ends_it_and_frees_nothing_that_runs(
    acme: Acme, transport: str
) -> None:
    lease_id = acme.held()
    admin = acme.caller("admin")
    if transport == "http":
        assert [admin.release(lease_id).status for _ in range(2)] == [204, 204]
    else:
        with StreamCaller(acme.daemon.url, admin.key) as stream:
            assert stream.call("release", {"id": lease_id}).status == 204
    assert acme.license()["leases"] == 1, "its process still runs"
    assert acme.lost(lease_id)["reason"] == "adam@example.com ended it"
    assert acme.caller("run").release(lease_id).status == 204
    assert acme.license()["leases"] == 0
    (entry,) = acme.get("/audit?action=session.end&limit=1").body["items"]
    assert (entry["target"], entry["actor"]["member"]) == (lease_id, "adam@example.com")
    assert past(acme)[0]["reason"] == "ended"


def test_a_member_ends_only_their_own_sessions(acme: Acme) -> None:
    theirs, own = acme.held("colleague"), acme.held("member")
    assert acme.post(f"/sessions/{theirs}/end", None, "member").code == "forbidden"
    assert acme.post(f"/sessions/{own}/end", None, "member").body["state"] == "ending"
    assert acme.post(f"/sessions/{uuid.uuid4()}/end").code == "not_found"


def test_a_member_sees_who_holds_seats_but_only_their_own_past(acme: Acme) -> None:
    held = [acme.held("member"), acme.held("colleague")]
    live = acme.get("/sessions", "member").body["items"]
    assert {one["id"] for one in live} == set(held)
    acme.caller("member").release(held[0])
    acme.caller("colleague").release(held[1])
    assert [one["id"] for one in past(acme, role="member")] == [held[0]]
    assert len(past(acme)) == 2


def test_past_sessions_are_filtered_and_paged_newest_first(acme: Acme) -> None:
    ids = []
    for number in range(7):
        ids.append(acme.held(machine={"id": f"m{number % 2}"}))
        acme.caller("run").release(ids[-1])
    assert [one["id"] for one in past(acme, "&machine=m1")] == ids[1::2][::-1]
    assert past(acme, "&reason=lapsed") == []
    assert past(acme, "&since=2090-01-01T00:00:00Z") == []
    seen, query = [], ""
    while True:
        page = acme.get(f"/sessions?state=past&limit=3{query}").body
        seen += [one["id"] for one in page["items"]]
        if "next" not in page:
            break
        query = f"&cursor={page['next']}"
    assert seen == ids[::-1]


def test_exports_are_csv_without_formulas_and_json_lines(acme: Acme) -> None:
    lease_id = acme.held(
        process={"pid": 1, "command": "=cmd|'/c calc'!A1", "user": "+ada"}, labels={"x": "@y"}
    )
    acme.caller("run").release(lease_id)
    answer = acme.get("/sessions?state=past", Accept="text/csv")
    assert answer.headers.get_content_type() == "text/csv"
    (row,) = csv.DictReader(io.StringIO(answer.body))
    assert (row["process.command"], row["user"]) == ("'=cmd|'/c calc'!A1", "'+ada")
    lines = acme.get("/sessions?state=past&format=jsonl").body.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [lease_id]


def test_control_characters_of_clients_reach_no_terminal(acme: Acme) -> None:
    for body in (
        {"labels": {"a": "\x1b[2J"}},
        {"process": {"pid": 1, "command": "a\u202eb"}},
        {"machine": {"id": "m\r\nm"}},
    ):
        assert acme.caller("run").acquire(**body).code == "invalid"
    refused = acme.post("/members", {"email": "a\x1b[31m@example.com"})
    assert (refused.code, refused.body["field"]) == ("invalid", "email")
    lease_id = acme.held()
    assert acme.post(f"/sessions/{lease_id}/end", {"reason": "\x07bell"}).code == "invalid"


def test_machines_are_registered_by_their_first_lease_and_listed(acme: Acme) -> None:
    lease_id = acme.held(machine={"id": "m1", "name": "build box"})
    acme.held(machine={"id": "m2", "ephemeral": True})
    listed = acme.get("/machines").body["items"]
    assert [(one["id"], one["ephemeral"], one["sessions"]) for one in listed] == [
        ("m1", False, 1),
        ("m2", True, 1),
    ]
    assert listed[0]["name"] == "build box"
    assert listed[0]["first_seen"] <= listed[0]["last_seen"]
    acme.caller("run").release(lease_id)
    (idle,) = acme.get("/machines?idle=true").body["items"]
    assert (idle["id"], idle["sessions"]) == ("m1", 0)


def test_thirty_containers_one_after_another_fit_on_two_machines(acme: Acme) -> None:
    for number in range(30):
        lease_id = acme.held(machine={"id": f"container-{number}", "ephemeral": True})
        acme.caller("run").release(lease_id)
    assert acme.get("/machines").body["items"] == []


def test_a_removed_machines_sessions_end_and_it_counts_until_they_are_dead(acme: Acme) -> None:
    lease_id = acme.held(machine={"id": "m1"})
    acme.patch("/licenses/kre", {"machines": 1})
    removed = acme.delete("/machines/m1").body
    assert (removed["machines"], removed["sessions_ended"]) == (["m1"], 1)
    assert acme.lost(lease_id)["reason"] == "olga@example.com removed the machine"
    assert acme.caller("run").acquire(machine={"id": "m2"}).code == "machines_exhausted"
    acme.caller("run").release(lease_id)
    assert acme.caller("run").acquire(machine={"id": "m2"}).status == 201
    assert acme.delete("/machines/m1").code == "not_found"


def test_many_machines_are_removed_by_a_filter_which_is_never_empty(acme: Acme) -> None:
    acme.patch("/licenses/kre", {"seats": 9, "machines": 9})
    for number in range(4):
        lease_id = acme.held(machine={"id": f"m{number}"})
        if number:
            acme.caller("run").release(lease_id)
    assert acme.post("/machines/remove", {}).code == "invalid"
    tried = acme.post("/machines/remove", {"idle": True, "dry_run": True}).body
    assert (tried["machines"], tried["dry_run"]) == (["m1", "m2", "m3"], True)
    acme.post("/machines/remove", {"ids": ["m3", "m9"]})
    removed = acme.post("/machines/remove", {"idle": True, "license": "kre"}).body
    assert (removed["machines"], removed["sessions_ended"]) == (["m1", "m2"], 0)
    assert [one["id"] for one in acme.get("/machines").body["items"]] == ["m0"]


def test_an_idle_machine_lapses_with_its_licenses_retention(acme: Acme) -> None:
    lease_id = acme.held(machine={"id": "m1"})
    acme.patch("/licenses/kre", {"machine_retention": 86_400})
    assert "lapses" not in acme.get("/machines/m1").body, "it is busy"
    acme.caller("run").release(lease_id)
    assert acme.get("/machines/m1").body["lapses"]
    acme.patch("/licenses/kre", {"machine_retention": None})
    assert "lapses" not in acme.get("/machines/m1").body


def test_a_session_is_asked_to_finish_and_goes_on(acme: Acme) -> None:
    lease_id = acme.held()
    asked = acme.post(f"/sessions/{lease_id}/finish", {"text": "please"}, role="admin")
    assert (asked.status, asked.body["state"]) == (202, "live")
    answer = acme.caller("run").renew(lease_id).body
    assert answer["renewed"] == [lease_id]
    (notice,) = answer["notices"]
    assert (notice["lease"], notice["code"]) == (lease_id, "finish")
    assert (notice["by"], notice["text"]) == ("adam@example.com", "please")
    entry = acme.get("/audit").body["items"][0]
    assert (entry["action"], entry["target"]) == ("session.finish", lease_id)


def test_members_ask_only_their_own_sessions(acme: Acme) -> None:
    theirs, mine = acme.held(), acme.held("member")
    assert acme.post(f"/sessions/{theirs}/finish", role="colleague").code == "forbidden"
    assert acme.post(f"/sessions/{mine}/finish", role="member").status == 202


def test_one_that_is_being_ended_is_not_asked_any_more(acme: Acme) -> None:
    lease_id = acme.held()
    acme.post(f"/sessions/{lease_id}/end")
    assert acme.post(f"/sessions/{lease_id}/finish").code == "conflict"
