"""Licenses at run time, and the registered users of those that are for named users."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from support.administration import Acme
    from support.calls import Answer

USERS = "/licenses/studio/registered-users"


def assign(acme: Acme, email: str) -> Answer:
    """Put a member on the list."""
    return acme.post(USERS, {"email": email})


def test_a_license_is_added_changed_and_removed(acme: Acme) -> None:
    made = acme.post("/licenses", {"name": "extra", "seats": 3, "product": "Runtime"})
    assert (made.status, made.body["machine_quota"], made.body["kind"]) == (201, 3, "floating")
    assert acme.post("/licenses", {"name": "extra", "seats": 1}).code == "conflict"
    changed = acme.patch("/licenses/extra", {"seats": 4, "machines": "unlimited", "ttl": 20})
    assert [changed.body[name] for name in ("seats", "machine_quota", "ttl")] == [
        4,
        "unlimited",
        20,
    ]
    assert acme.delete("/licenses/extra").status == 200
    assert acme.get("/licenses/extra").code == "unknown_license"


def test_the_machine_quota_follows_the_seats_until_it_is_set(acme: Acme) -> None:
    assert acme.patch("/licenses/kre", {"seats": 7}).body["machine_quota"] == 7
    acme.patch("/licenses/kre", {"machines": 3})
    assert acme.patch("/licenses/kre", {"seats": 8}).body["machine_quota"] == 3
    assert acme.patch("/licenses/kre", {"machines": None}).body["machine_quota"] == 8


def test_lowering_under_use_is_refused_with_the_numbers_unless_forced(acme: Acme) -> None:
    held = [acme.held(), acme.held()]
    refused = acme.patch("/licenses/kre", {"seats": 1})
    assert (refused.status, refused.code) == (409, "quota_below_use")
    assert (refused.body["leases"], refused.body["machines"]) == (2, 1)
    assert acme.patch("/licenses/kre", {"seats": 1, "force": True}).body["available"] == 0
    assert acme.caller("run").renew(*held).body["renewed"] == held
    acme.caller("run").release(held[0])
    assert acme.caller("run").acquire().code == "seats_exhausted"
    acme.caller("run").release(held[1])
    assert acme.caller("run").acquire().status == 201


def test_outside_its_term_a_license_starts_nothing_and_the_running_finish(acme: Acme) -> None:
    lease_id = acme.held()
    acme.patch("/licenses/kre", {"expires": "2020-01-01T00:00:00Z"})
    assert acme.caller("run").acquire().code == "license_expired"
    assert acme.caller("run").renew(lease_id).body["renewed"] == [lease_id]
    acme.patch("/licenses/kre", {"expires": None, "starts": "2090-01-01T00:00:00Z"})
    refused = acme.caller("run").acquire()
    assert refused.code == "license_expired"
    assert "yet to begin" in refused.body["detail"]
    acme.patch("/licenses/kre", {"starts": None})
    assert acme.caller("run").acquire().status == 201


def test_a_license_in_use_is_not_removed(acme: Acme) -> None:
    lease_id = acme.held()
    refused = acme.delete("/licenses/kre")
    assert (refused.code, refused.body["leases"]) == ("conflict", 1)
    acme.caller("run").release(lease_id)
    assert acme.delete("/licenses/kre?dry_run=true").body["dry_run"] is True
    assert acme.delete("/licenses/kre").status == 200


def test_two_changes_on_one_sight_of_a_license_do_not_both_win(acme: Acme) -> None:
    seen = acme.get("/licenses/kre").headers["ETag"]
    acme.held()
    assert acme.patch("/licenses/kre", {"seats": 5}, If_Match=seen).status == 200, (
        "use is not in it"
    )
    assert acme.patch("/licenses/kre", {"seats": 6}, If_Match=seen).status == 412


def test_fields_that_are_not_settings_are_never_taken_over(acme: Acme) -> None:
    body = {"seats": 2, "offline": 99, "leases": 5, "version": 7, "name": "stolen", "kind": "x"}
    assert acme.patch("/licenses/kre", body).status == 200
    now = acme.license()
    assert (now["name"], now["offline_seats"], now["kind"]) == ("kre", 0, "floating")


def test_registered_users_are_members_and_no_more_than_seats(acme: Acme) -> None:
    assert assign(acme, "mary@example.com").status == 201
    assert assign(acme, "mary@example.com").status == 200
    assert assign(acme, "stranger@example.com").code == "not_found"
    assert assign(acme, "mick@example.com").status == 201
    refused = assign(acme, "adam@example.com")
    assert (refused.code, refused.body["seats"]) == ("seats_exhausted", 2)
    moved = acme.post(f"{USERS}/mick@example.com/transfer", {"to": "adam@example.com"})
    assert moved.body["email"] == "adam@example.com"
    emails = [user["email"] for user in acme.get(USERS).body["items"]]
    assert emails == ["adam@example.com", "mary@example.com"]
    assert acme.patch("/licenses/studio", {"seats": 1}).code == "quota_below_use"
    assert acme.get("/licenses/kre/registered-users").code == "conflict"


def test_sixty_four_writers_never_register_more_users_than_seats(acme: Acme) -> None:
    emails = [f"user{number}@example.com" for number in range(64)]
    for email in emails:
        assert acme.post("/members", {"email": email}).status == 201
    acme.patch("/licenses/studio", {"seats": 9})
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda email: assign(acme, email), emails))
    assert sorted({answer.status for answer in answers}) == [201, 409]
    assert sum(answer.status == 201 for answer in answers) == 9
    assert len(acme.get(USERS).body["items"]) == 9


def test_writers_that_set_seats_and_assign_at_once_agree_in_the_end(acme: Acme) -> None:
    emails = [f"user{number}@example.com" for number in range(16)]
    for email in emails:
        acme.post("/members", {"email": email})

    def write(number: int) -> None:
        if number % 2:
            assign(acme, emails[number // 2])
        else:
            acme.patch("/licenses/studio", {"seats": 1 + number % 7})

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(write, range(32)))
    assert len(acme.get(USERS).body["items"]) <= acme.license("studio")["seats"]


def test_only_registered_users_activate_and_show_on_the_list(acme: Acme) -> None:
    assert acme.caller("member").acquire("studio").code == "not_registered_user"
    assert acme.caller("run").acquire("studio").code == "not_registered_user"
    assign(acme, "mary@example.com")
    acme.held("member", "studio", machine={"id": "desk-1"})
    (user,) = acme.get(USERS).body["items"]
    assert user["online"]["machine"] == "desk-1"
    assert acme.license("studio")["available"] == 1


def test_a_second_machine_takes_over_and_the_first_is_told(acme: Acme) -> None:
    assign(acme, "mary@example.com")
    first = acme.held("member", "studio", machine={"id": "desk-1"})
    second = acme.held("member", "studio", machine={"id": "laptop"})
    lost = acme.lost(first, "member")
    assert (lost["code"], lost["reason"]) == ("lease_ended", "activated on machine laptop")
    assert acme.caller("member").renew(second).body["renewed"] == [second]
    assert acme.license("studio")["leases"] == 1, "the seat is the user's"
    assert acme.caller("member").release(first).status == 204
    (user,) = acme.get(USERS).body["items"]
    assert user["online"]["session"] == second


def test_withdrawal_ends_the_online_session_and_refuses_the_next(acme: Acme) -> None:
    assign(acme, "mary@example.com")
    lease_id = acme.held("member", "studio")
    withdrawn = acme.delete(f"{USERS}/mary@example.com")
    assert withdrawn.body["sessions_ended"] == 1
    assert acme.lost(lease_id, "member")["reason"] == "the license was withdrawn from you"
    assert acme.caller("member").acquire("studio").code == "not_registered_user"


def test_a_removed_members_named_user_session_ends(acme: Acme) -> None:
    assign(acme, "mary@example.com")
    lease_id = acme.held("member", "studio")
    floating = acme.held("member")
    removed = acme.delete("/members/mary@example.com").body
    assert (removed["sessions_ended"], removed["keys_revoked"]) == (1, 1)
    assert acme.lost(lease_id, "member")["reason"] == "you are not a member any more"
    assert acme.caller("member").renew(floating).body["renewed"] == [floating]
    assert acme.get(USERS).body["items"] == []


def test_machines_are_counted_on_floating_licenses_only(acme: Acme) -> None:
    assert acme.license("studio")["machine_quota"] == "unlimited"
    refused = acme.patch("/licenses/studio", {"machines": 1})
    assert (refused.status, refused.code) == (422, "invalid")
    added = acme.post(
        "/licenses", {"name": "desk", "kind": "named-user", "seats": 2, "machines": 1}
    )
    assert (added.status, added.body["field"]) == (422, "machines")


def test_the_audit_shows_settings_as_they_are_given(acme: Acme) -> None:
    given = {
        "ttl": 20, "machines": "unlimited", "expires": "2030-01-01T00:00:00Z",
        "offline_allowed": False,
    }  # fmt: skip
    changed = acme.patch("/licenses/kre", given)
    assert changed.status == 200, changed.body
    (entry,) = acme.get("/audit?action=license.change&limit=1").body["items"]
    assert entry["before"] == {
        "ttl": 30, "machines": "as-seats", "expires": None, "offline_allowed": True,
    }  # fmt: skip
    assert entry["after"] == given
