"""Members and their roles, and API keys: who may make, change, rotate and revoke what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.calls import Caller
from support.repeating import ask, known, renewal
from support.waiting import wait_until

if TYPE_CHECKING:
    from support.administration import Acme


def code(caller: Caller) -> str:
    """Why the key does not hold; empty if it does."""
    return caller.call("GET", "/v1/whoami").code


def test_a_member_is_added_given_a_role_and_removed(acme: Acme) -> None:
    made = acme.post("/members", {"email": "New@Example.com"})
    assert (made.status, made.body["email"], made.body["role"]) == (
        201,
        "new@example.com",
        "member",
    )
    assert acme.post("/members", {"email": "new@example.com"}).code == "conflict"
    assert acme.patch("/members/new@example.com", {"role": "admin"}).body["role"] == "admin"
    assert acme.delete("/members/new@example.com").status == 200
    assert acme.get("/members/new@example.com").code == "not_found"
    assert acme.delete("/members/new@example.com").code == "not_found"


def test_the_last_owner_stays_until_there_is_another(acme: Acme) -> None:
    olga = "/members/olga@example.com"
    assert acme.patch(olga, {"role": "admin"}).code == "conflict"
    assert "last owner" in acme.delete(olga).body["detail"]
    acme.patch("/members/adam@example.com", {"role": "owner"})
    assert acme.delete(olga).status == 200


def test_an_admin_makes_changes_and_removes_no_owner(acme: Acme) -> None:
    for role in ("admin", "service"):
        answers = [
            acme.post("/members", {"email": "x@example.com", "role": "owner"}, role),
            acme.patch("/members/mary@example.com", {"role": "owner"}, role),
            acme.patch("/members/olga@example.com", {"role": "member"}, role),
            acme.delete("/members/olga@example.com", role),
            acme.post("/keys", {"name": "x", "member": "olga@example.com"}, role),
        ]
        assert [answer.code for answer in answers] == ["forbidden"] * 5
        (olgas,) = acme.get("/keys?member=olga@example.com", role).body["items"]
        assert acme.post(f"/keys/{olgas['id']}/rotate", None, role).code == "forbidden"
        assert acme.delete(f"/keys/{olgas['id']}", role).code == "forbidden"


def test_a_removed_members_keys_are_revoked_in_the_same_step(acme: Acme) -> None:
    removed = acme.delete("/members/mary@example.com").body
    assert removed["keys_revoked"] == 1
    assert code(acme.caller("member")) == "revoked"
    acme.post("/members", {"email": "mary@example.com"})
    assert code(acme.caller("member")) == "revoked", "coming back revives no key"


def test_a_removal_that_is_only_tried_changes_nothing(acme: Acme) -> None:
    answer = acme.delete("/members/mary@example.com?dry_run=true")
    assert (answer.body["dry_run"], answer.body["keys_revoked"]) == (True, 1)
    assert acme.get("/members/mary@example.com").status == 200
    assert code(acme.caller("member")) == ""


def test_a_key_shows_its_secret_once_and_is_listed_without(acme: Acme) -> None:
    made = acme.post("/keys", {"name": "ci", "scopes": ["run"]})
    secret = made.body["secret"]
    assert code(Caller(acme.daemon.url, secret)) == ""
    everywhere = [acme.get("/keys"), acme.get(f"/keys/{made.body['id']}"), acme.get("/audit")]
    assert all(secret.rpartition("_")[2] not in str(answer.body) for answer in everywhere)
    assert secret.rpartition("_")[2] not in acme.daemon.log_path.read_text()


def test_a_revoked_key_renews_nothing_more_though_its_requests_are_known(acme: Acme) -> None:
    made = acme.post("/keys", {"name": "short-lived", "scopes": ["run"]}).body
    lease = Caller(acme.daemon.url, made["secret"]).acquire().body["lease"]["id"]
    request = renewal(made["secret"], lease)
    with known(acme.daemon, request) as connection:
        assert acme.delete(f"/keys/{made['id']}?end_sessions=true").status == 200
        status, _, body = ask(connection, request)
    assert (status, body["code"]) == (403, "revoked")


def test_a_member_sees_and_manages_only_their_own_keys(acme: Acme) -> None:
    assert {key["member"] for key in acme.get("/keys", "member").body["items"]} == {
        "mary@example.com"
    }
    (micks,) = acme.get("/keys?member=mick@example.com").body["items"]
    assert acme.get(f"/keys/{micks['id']}", "member").code == "not_found"
    assert acme.delete(f"/keys/{micks['id']}", "member").code == "not_found"
    wanted = {"name": "mine", "member": "mary@example.com"}
    assert acme.post("/keys", wanted, "member").status == 201
    assert acme.post("/keys", wanted | {"member": "mick@example.com"}, "member").status == 403
    assert acme.post("/keys", {"name": "service"}, "member").code == "forbidden"


def test_a_rotated_key_keeps_its_old_secret_for_the_overlap_only(acme: Acme) -> None:
    key_id, old = acme.new_key()
    overlapping = acme.post(f"/keys/{key_id}/rotate", {"overlap": 3600})
    new = Caller(acme.daemon.url, overlapping.body["secret"])
    assert (code(old), code(new)) == ("", "")
    newest = Caller(acme.daemon.url, acme.post(f"/keys/{key_id}/rotate").body["secret"])
    assert [code(one) for one in (old, new, newest)] == ["unauthenticated"] * 2 + [""]


def test_a_second_rotation_locks_nobody_out_who_uses_the_secret_before_the_first(
    acme: Acme,
) -> None:
    key_id, first = acme.new_key()
    rotated = acme.post(f"/keys/{key_id}/rotate", {"overlap": 3600}).body
    second = Caller(acme.daemon.url, rotated["secret"])
    refused = acme.post(f"/keys/{key_id}/rotate", {"overlap": 60})
    assert (refused.status, refused.code) == (409, "conflict")
    assert rotated["old_secret_until"] in refused.body["detail"]
    assert [code(one) for one in (first, second)] == ["", ""]
    assert acme.get(f"/keys/{key_id}").body["old_secret_until"] == rotated["old_secret_until"]
    third = Caller(
        acme.daemon.url, acme.post(f"/keys/{key_id}/rotate", {"overlap": 0}).body["secret"]
    )
    assert [code(one) for one in (first, second, third)] == ["unauthenticated"] * 2 + [""]
    assert acme.post(f"/keys/{key_id}/rotate", {"overlap": 60}).status == 200, "none is left"


def test_a_revoked_keys_sessions_finish_or_end_as_asked(acme: Acme) -> None:
    for end_sessions, ended in (("false", 0), ("true", 1)):
        key_id, caller = acme.new_key(scopes=["run"])
        lease_id = caller.acquire().body["lease"]["id"]
        answer = acme.delete(f"/keys/{key_id}?end_sessions={end_sessions}")
        assert answer.body["sessions_ended"] == ended
        assert caller.acquire().code == "revoked"
        renewed = caller.renew(lease_id)
        assert renewed.body.get("renewed") == ([lease_id] if not ended else None)
        assert renewed.code == ("revoked" if ended else "")
        assert caller.release(lease_id).status == 204, "the report of the kill frees the seat"
        assert acme.license()["leases"] == 0


def test_a_key_for_one_license_is_good_for_no_other(acme: Acme) -> None:
    acme.post("/licenses", {"name": "extra", "seats": 1})
    _, caller = acme.new_key(scopes=["run", "read"], license="kre")
    assert caller.acquire("kre").status == 201
    assert caller.acquire("extra").code == "forbidden"
    listed = caller.call("GET", "/v1/orgs/acme/licenses").body["items"]
    assert [one["name"] for one in listed] == ["kre"]
    assert caller.call("GET", "/v1/orgs/acme/licenses/extra").code == "forbidden"
    wrong = {"name": "x", "license": "kre", "scopes": ["admin"]}
    assert acme.post("/keys", wrong).code == "invalid"
    assert acme.post("/keys", {"name": "x", "license": "none"}).code == "unknown_license"


def test_an_expired_key_starts_nothing_but_its_running_session_goes_on(acme: Acme) -> None:
    key_id, caller = acme.new_key(scopes=["run", "read"])
    lease_id = caller.acquire().body["lease"]["id"]
    assert acme.patch(f"/keys/{key_id}", {"expires": "2020-01-01T00:00:00Z"}).status == 200
    assert caller.acquire().code == "unauthenticated"
    assert caller.renew(lease_id).body["renewed"] == [lease_id]
    assert acme.get(f"/keys/{key_id}").body["state"] == "expired"
    assert acme.patch(f"/keys/{key_id}", {"expires": None}).status == 200
    assert code(caller) == ""


def test_a_change_on_an_old_sight_is_refused(acme: Acme) -> None:
    seen = acme.get("/members/mary@example.com").headers["ETag"]
    acme.patch("/members/mary@example.com", {"role": "admin"})
    refused = acme.patch("/members/mary@example.com", {"role": "member"}, If_Match=seen)
    assert (refused.status, refused.code) == (412, "precondition_failed")
    assert acme.delete("/members/mary@example.com", If_Match=seen).status == 412
    now = acme.get("/members/mary@example.com").headers["ETag"]
    assert acme.patch("/members/mary@example.com", {"role": "member"}, If_Match=now).status == 200


def test_when_a_key_was_last_used_is_shown(acme: Acme) -> None:
    key_id, caller = acme.new_key()
    assert "last_used" not in acme.get(f"/keys/{key_id}").body
    caller.call("GET", "/v1/whoami")
    assert acme.get(f"/keys/{key_id}").body["last_used"]


def test_many_failed_attempts_are_limited_and_counted_but_good_keys_go_on(acme: Acme) -> None:
    guess = Caller(acme.daemon.url, "lsr_nobody_guess")
    good = acme.caller("run")
    lease_id = good.acquire().body["lease"]["id"]
    refused = wait_until(lambda: (a := guess.call("GET", "/v1/whoami")).status == 429 and a)
    assert refused
    assert int(refused.headers["Retry-After"]) >= 1
    assert good.renew(lease_id).body["renewed"] == [lease_id]
    metrics = acme.daemon.anonymous().call("GET", "/metrics").body
    assert 'lessor_auth_failures_total{why="unknown"}' in metrics


def test_a_key_revoked_at_run_time_stays_so_unless_the_file_says_otherwise(acme: Acme) -> None:
    key_id = acme.caller("run").call("GET", "/v1/whoami").body["key"]["id"]
    assert acme.delete(f"/keys/{key_id}").status == 200

    def after_a_restart() -> int:
        acme.daemon.stop()
        acme.daemon.start()
        return acme.caller("run").call("GET", "/v1/whoami").status

    assert after_a_restart() == 403
    file = acme.daemon.directory / "bootstrap.toml"
    said = file.read_text().replace(
        'secret_file = "run.key"', 'secret_file = "run.key"\nrevoked = false'
    )
    file.write_text(said)
    assert after_a_restart() == 200
    file.write_text(said.replace("revoked = false", "revoked = true"))
    assert after_a_restart() == 403


def test_a_key_rotated_at_run_time_stays_so_though_the_file_has_its_old_secret(acme: Acme) -> None:
    old = acme.caller("run")
    key_id = old.call("GET", "/v1/whoami").body["key"]["id"]
    overlapping = acme.post(f"/keys/{key_id}/rotate", {"overlap": 3600}).body["secret"]
    acme.daemon.restart()
    assert (code(old), code(Caller(acme.daemon.url, overlapping))) == ("", "")
    new = acme.post(f"/keys/{key_id}/rotate").body["secret"]
    file = acme.daemon.directory / "run.key"

    def after_a_restart() -> list[str]:
        acme.daemon.restart()
        return [code(Caller(acme.daemon.url, one)) for one in (old.key or "", new)]

    assert after_a_restart() == ["unauthenticated", ""]
    file.write_text(new)
    assert after_a_restart() == ["unauthenticated", ""], "the file may follow"
    file.write_text(old.key or "")
    assert after_a_restart() == ["", "unauthenticated"], (
        "what is put into the file anew is its word"
    )


def test_what_was_shortened_at_run_time_stays_so_where_the_file_says_nothing(acme: Acme) -> None:
    key_id = acme.caller("run").call("GET", "/v1/whoami").body["key"]["id"]
    ends = "2029-01-01T00:00:00Z"
    acme.patch(f"/keys/{key_id}", {"expires": ends})
    acme.patch("/licenses/kre", {"expires": ends})
    acme.daemon.restart()
    assert [acme.get(path).body["expires"] for path in (f"/keys/{key_id}", "/licenses/kre")] == [
        ends,
        ends,
    ]


def test_somebodys_own_key_is_not_the_files_because_of_its_name(acme: Acme) -> None:
    people = [f"{name}@example.com" for name in ("olga", "adam", "mary", "mick")]
    theirs = [acme.new_key(name="run", member=email)[1] for email in people]
    (acme.daemon.directory / "run.key").unlink()
    old = acme.caller("run")
    acme.daemon.restart()
    assert [code(one) for one in theirs] == [""] * 4
    assert code(old) == "unauthenticated", "the new secret is the new key"
