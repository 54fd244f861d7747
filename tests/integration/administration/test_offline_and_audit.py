"""Offline licenses, the record of changes, and organizations as the operator makes them."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from typing import TYPE_CHECKING, Any

import pytest
from lessor.commands import audit
from lessor_protocol import offline as files
from support.administration import BOOTSTRAP, Acme
from support.calls import Caller

if TYPE_CHECKING:
    from pathlib import Path

    from support.daemon import MakeDaemon


def issue(acme: Acme, **fields: object) -> Any:  # noqa: ANN401 - the body of an answer
    """Issue an offline license."""
    body = {"license": "kre", "machine": "island", "duration": 3600}
    answer = acme.post("/offline", {**body, **fields})
    assert answer.status == 201, answer.body
    return answer.body


def public_keys(acme: Acme) -> dict[str, bytes]:
    """What verifies files."""
    listed = acme.caller("run").call("GET", "/v1/offline-keys").body["items"]
    return {one["id"]: b64decode(one["public_key"]) for one in listed}


def test_an_offline_license_is_signed_for_a_machine_and_holds_seats(acme: Acme) -> None:
    acme.patch("/licenses/kre", {"seats": 5})
    issued = issue(acme, seats=3)
    license = files.read_license(issued["file"], public_keys(acme))
    assert (license.org, license.license, license.machine, license.seats) == (
        "acme",
        "kre",
        "island",
        3,
    )
    assert license.expires - license.issued == 3600
    now = acme.license()
    assert (now["offline_seats"], now["available"]) == (3, 2)
    metrics = acme.daemon.anonymous().call("GET", "/metrics").body
    assert 'lessor_offline_seats{license="kre",org="acme"} 3.0' in metrics
    acme.held(), acme.held()
    assert acme.caller("run").acquire().code == "seats_exhausted"
    refused = acme.post("/offline", {"license": "kre", "machine": "island", "duration": 60})
    assert refused.code == "seats_exhausted"


def test_a_request_file_brings_machine_license_and_seats(acme: Acme) -> None:
    request = files.write_request(files.OfflineRequest("island-2", "laptop", "kre", 2))
    answer = acme.post("/offline", {"request": request, "expires": "2027-01-01T00:00:00Z"})
    assert answer.status == 201, answer.body
    offline = answer.body["offline"]
    assert (offline["machine"], offline["seats"]) == ("island-2", 2)
    assert acme.post("/offline", {"request": "nonsense", "duration": 60}).code == "invalid"


def test_a_receipt_frees_the_seats_once_and_a_forged_one_never(acme: Acme) -> None:
    issued = issue(acme, seats=2)
    license = files.read_license(issued["file"], public_keys(acme))
    path = f"/offline/{license.serial}/return"
    forged = files.write_receipt(
        files.Receipt(license.serial, license.machine, license.issued), b"x" * 32
    )
    assert acme.post(path, {"receipt": forged}).code == "invalid"
    elsewhere = files.write_receipt(
        files.Receipt("another", license.machine, license.issued), license.return_seed
    )
    assert acme.post(path, {"receipt": elsewhere}).code == "invalid"
    assert acme.license()["offline_seats"] == 2
    receipt = files.write_receipt(
        files.Receipt(license.serial, license.machine, license.issued), license.return_seed
    )
    answers = [acme.post(path, {"receipt": receipt}).body["state"] for _ in range(2)]
    assert answers == ["returned", "returned"]
    assert acme.license()["offline_seats"] == 0
    other = issue(acme)
    replayed = acme.post(f"/offline/{other['offline']['serial']}/return", {"receipt": receipt})
    assert replayed.code == "invalid"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"expires": "2020-01-01T00:00:00Z"}, "invalid"),
        ({"duration": 1e9}, "invalid"),
        ({"license": "none", "duration": 60}, "unknown_license"),
        ({"seats": 3, "duration": 60}, "seats_exhausted"),
        ({"seats": 0, "duration": 60}, "invalid"),
        ({"duration": 60, "expires": "2030-01-01T00:00:00Z"}, "invalid"),
        ({}, "invalid"),
    ],
)
def test_what_cannot_be_issued_is_refused(
    shared_acme: Acme, fields: dict[str, object], code: str
) -> None:
    answer = shared_acme.post("/offline", {"license": "kre", "machine": "m", **fields})
    assert answer.code == code


def test_offline_files_stay_valid_and_counted_when_their_user_is_withdrawn(acme: Acme) -> None:
    mary = {"email": "mary@example.com"}
    acme.post("/licenses/studio/registered-users", mary)
    issued = issue(acme, license="studio")
    path = f"/offline/{issued['offline']['serial']}"
    acme.delete(f"/licenses/studio/registered-users/{mary['email']}")
    acme.delete(f"/members/{mary['email']}?end_sessions=true")
    files.read_license(issued["file"], public_keys(acme))
    assert acme.get(path).body["state"] == "valid"
    studio = acme.license("studio")
    assert (studio["offline_seats"], studio["available"]) == (1, 1)
    assert acme.patch("/licenses/studio", {"seats": 0}).code == "quota_below_use"


def test_a_request_file_used_again_takes_other_seats_and_never_more_than_there_are(
    acme: Acme,
) -> None:
    request = files.write_request(files.OfflineRequest("island-2", "laptop", "kre", 1))
    issued = [issue(acme, request=request, license="kre", machine="island-2") for _ in range(2)]
    assert len({one["offline"]["serial"] for one in issued}) == 2
    assert (acme.license()["offline_seats"], acme.license()["available"]) == (2, 0)
    again = acme.post("/offline", {"request": request, "duration": 60})
    assert again.code == "seats_exhausted"
    listed = acme.get("/offline?machine=island-2").body["items"]
    assert len(listed) == 2, "whoever issues sees that the machine has some already"
    for role in ("member", "run", "read", "operator"):
        refused = acme.post("/offline", {"request": request, "duration": 60}, role)
        assert refused.status in (403, 404), "a request is worth nothing without an admin"


def test_a_license_may_forbid_offline_use_and_bounds_its_expiry(acme: Acme) -> None:
    acme.patch("/licenses/kre", {"expires": "2027-01-01T00:00:00Z"})
    body = {"license": "kre", "machine": "m", "expires": "2027-06-01T00:00:00Z"}
    assert acme.post("/offline", body).body["field"] == "expires"
    acme.patch("/licenses/kre", {"offline_allowed": False})
    assert acme.post("/offline", {**body, "expires": "2026-12-31T00:00:00Z"}).code == "conflict"


def test_a_machine_with_an_offline_license_counts_and_is_not_removed(acme: Acme) -> None:
    acme.patch("/licenses/kre", {"machines": 1})
    issue(acme)
    assert acme.caller("run").acquire(machine={"id": "m2"}).code == "machines_exhausted"
    refused = acme.delete("/machines/island")
    assert refused.code == "conflict"
    assert "until that expires or is returned" in refused.body["detail"]
    acme.patch("/licenses/kre", {"machines": 2})
    acme.caller("run").release(acme.held(machine={"id": "m2"}))
    removed = acme.post("/machines/remove", {"license": "kre"})
    assert removed.body["machines"] == ["m2"], "those that fit a filter, but for that one"


def test_rotated_signing_keys_sign_anew_and_verify_what_they_signed(acme: Acme) -> None:
    before = issue(acme)
    made = acme.caller("operator").call("POST", "/v1/offline-keys").body
    after = issue(acme)
    assert after["offline"]["signing_key"] == made["id"] != before["offline"]["signing_key"]
    keys = public_keys(acme)
    assert {files.read_license(one["file"], keys).serial for one in (before, after)} == {
        before["offline"]["serial"],
        after["offline"]["serial"],
    }
    key_files = list((acme.daemon.data_dir / "offline-keys").iterdir())
    assert {path.stat().st_mode & 0o777 for path in key_files} == {0o600}


def test_signing_keys_lie_in_the_data_directory_wherever_the_secret_is(
    make_daemon: MakeDaemon, tmp_path: Path
) -> None:
    secrets = tmp_path / "secrets"  # in service a mount that nobody can write to
    secrets.mkdir()
    (secrets / "secret").write_text("5e" * 32)
    daemon = make_daemon("--secret-file", str(secrets / "secret"), bootstrap=BOOTSTRAP)
    daemon.start()
    issue(Acme(daemon))
    assert list((daemon.data_dir / "offline-keys").iterdir())
    assert [path.name for path in secrets.iterdir()] == ["secret"]


def test_every_change_is_recorded_with_who_what_and_from_where(acme: Acme) -> None:
    answer = acme.patch("/licenses/kre", {"seats": 3}, "admin")
    (entry,) = acme.get("/audit?action=license.&limit=1").body["items"]
    assert entry["action"] == "license.change"
    assert entry["target"] == "kre"
    assert entry["actor"]["member"] == "adam@example.com"
    assert (entry["before"], entry["after"]) == ({"seats": 2}, {"seats": 3})
    assert entry["source"] == "127.0.0.1"
    assert entry["request"] == answer.headers["Lessor-Request-Id"]


def test_each_kind_of_change_leaves_one_entry_and_what_fails_or_is_tried_none(acme: Acme) -> None:
    def actions() -> list[str]:
        items = acme.get("/audit?limit=500").body["items"]
        return [one["action"] for one in items if one["actor"]["name"] != "bootstrap"]

    acme.patch("/licenses/kre", {"seats": 2})
    acme.patch("/licenses/none", {"seats": 2})
    acme.delete("/members/mary@example.com?dry_run=true")
    acme.delete("/members/olga@example.com")
    assert actions() == []
    lease_id = acme.held()
    acme.post(f"/sessions/{lease_id}/end")
    acme.delete("/machines/machine-1")
    acme.post("/licenses/studio/registered-users", {"email": "mary@example.com"})
    issue(acme)
    key_id, _ = acme.new_key()
    acme.delete(f"/keys/{key_id}")
    acme.delete("/members/mary@example.com")
    assert actions()[::-1] == [
        "session.end",
        "machine.remove",
        "user.assign",
        "offline.issue",
        "key.make",
        "key.revoke",
        "member.remove",
    ]


def test_the_audit_is_exported_as_csv_and_json_lines(acme: Acme) -> None:
    acme.patch("/licenses/kre", {"product": "=1+1"})
    lines = acme.get("/audit?format=jsonl").body.splitlines()
    assert json.loads(lines[0])["after"] == {"product": "=1+1"}
    assert acme.get("/audit?format=csv").body.startswith("id,at,action,target")


def test_the_audit_is_only_ever_added_to(acme: Acme) -> None:
    acme.patch("/licenses/kre", {"seats": 3})
    before = acme.get("/audit?limit=500").body["items"]
    described = acme.daemon.anonymous().call("GET", "/openapi.json").body["paths"]
    about = {path: set(found) for path, found in described.items() if "audit" in path}
    assert about
    assert all(found <= {"get", "parameters"} for found in about.values()), about
    entry = f"/v1/orgs/acme/audit/{before[0]['id']}"
    for role in ("operator", "owner"):
        for path in ("/v1/orgs/acme/audit", entry):
            for method in ("POST", "PUT", "PATCH", "DELETE"):
                answer = acme.caller(role).call(method, path, {"action": "nothing"})
                assert answer.status in (404, 405), (role, method, path)
    acme.delete("/licenses/kre")
    acme.delete("/members/mary@example.com")
    acme.caller("operator").call("POST", "/v1/offline-keys")
    after = acme.get("/audit?limit=500").body["items"]
    assert after[-len(before) :] == before
    assert [one.name for one in audit.ACTIONS] == ["list"], "nor is there a command"


def test_a_restart_that_changes_nothing_leaves_no_entry(acme: Acme) -> None:
    before = acme.get("/audit?limit=500").body["items"]
    acme.daemon.restart()
    assert acme.get("/audit?limit=500").body["items"] == before


def test_the_operator_makes_an_organization_with_its_first_owner(acme: Acme) -> None:
    operator = acme.caller("operator")
    body = {"slug": "fresh", "name": "Fresh", "owner": {"email": "pia@example.com"}}
    made = operator.call("POST", "/v1/orgs", body)
    assert (made.status, made.body["organization"]["slug"]) == (201, "fresh")
    owner = Caller(acme.daemon.url, made.body["key"]["secret"])
    assert owner.call("GET", "/v1/orgs/fresh/members").body["items"][0]["role"] == "owner"
    assert owner.call("POST", "/v1/orgs/fresh/licenses", {"name": "kre", "seats": 1}).status == 201
    assert owner.acquire().status == 201
    assert operator.call("POST", "/v1/orgs", body).code == "conflict"
    slugs = [one["slug"] for one in operator.call("GET", "/v1/orgs").body["items"]]
    assert slugs == ["acme", "fresh", "other"]
    assert [one["slug"] for one in owner.call("GET", "/v1/orgs").body["items"]] == ["fresh"]


def test_an_organization_that_holds_no_seat_is_removed_with_all_it_has(acme: Acme) -> None:
    operator = acme.caller("operator")
    lease_id = acme.held()
    assert operator.call("DELETE", "/v1/orgs/acme").code == "conflict"
    acme.caller("run").release(lease_id)
    assert operator.call("DELETE", "/v1/orgs/acme?dry_run=true").status == 200
    assert acme.get("").status == 200
    assert operator.call("DELETE", "/v1/orgs/acme").status == 200
    assert acme.get("").code == "unauthenticated"
    assert operator.call("DELETE", "/v1/orgs/acme").code == "not_found"
    body = {"slug": "acme", "owner": {"email": "eve@example.com"}}
    made = operator.call("POST", "/v1/orgs", body)
    eve = Caller(acme.daemon.url, made.body["key"]["secret"])
    actions = [one["action"] for one in eve.call("GET", "/v1/orgs/acme/audit").body["items"]]
    assert actions == ["organization.create"], "nothing of the organization before is left"
    assert eve.call("GET", "/v1/orgs/acme/sessions?state=past").body["items"] == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/licenses", {"name": "a:b", "seats": 1}),
        ("/licenses", {"name": "{x}", "seats": 1}),
        ("/licenses", {"name": "x", "seats": -1}),
        ("/licenses", {"name": "x", "seats": 1e3}),
        ("/licenses", {"name": "x", "seats": True}),
        ("/licenses", {"name": "x", "seats": 1, "ttl": 1}),
        ("/licenses", {"name": "x", "seats": 1, "expires": "tomorrow"}),
        ("/licenses", {"name": "x", "seats": 1, "expires": "2030-01-01T00:00:00"}),
        ("/members", {"email": "a b@example.com"}),
        ("/members", {"email": "=1+1"}),
        ("/members", {"email": "x@example.com", "role": "king"}),
        ("/keys", {"name": "x", "scopes": []}),
        ("/keys", {"name": "x", "scopes": ["operator"]}),
        ("/keys", {"name": "x", "scopes": "run"}),
        ("/keys", {"name": "x", "expires": "2020-01-01T00:00:00Z"}),
    ],
)
def test_bad_fields_are_refused_by_name(
    shared_acme: Acme, path: str, body: dict[str, object]
) -> None:
    answer = shared_acme.post(path, body)
    assert (answer.status, answer.code) == (422, "invalid"), answer.body
    assert re.split(r"[\[.]", answer.body["field"])[0] in body


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "cursor=%00", "cursor=!!"])
def test_pages_have_bounds(shared_acme: Acme, query: str) -> None:
    for path in ("/members", "/sessions", "/sessions?state=past", "/audit", "/keys", "/machines"):
        joint = "&" if "?" in path else "?"
        answer = shared_acme.get(f"{path}{joint}{query}")
        if query.startswith("cursor") and path in ("/members", "/keys", "/machines"):
            assert answer.status in (200, 422), "a cursor there is only a place in the order"
        else:
            assert answer.code == "invalid"


def test_who_gets_no_seat_sees_those_of_offline_licenses(acme: Acme) -> None:
    body = {"license": "kre", "machine": "island", "seats": 2, "duration": 3600}
    assert acme.post("/offline", body).status == 201
    refused = acme.caller("run").acquire()
    assert refused.code == "seats_exhausted"
    (holder,) = refused.body["holders"]
    assert (holder["machine"], holder["command"], holder["seats"]) == (
        "island", "offline license", 2,
    )  # fmt: skip
    assert holder["user"] == "olga@example.com"
