"""Backup and restore: the directory moves to another store, with every rule it had."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.calls import Caller

if TYPE_CHECKING:
    from support.administration import Acme
    from support.daemon import MakeDaemon


def test_a_restored_directory_is_the_one_that_was_backed_up(
    acme: Acme, make_daemon: MakeDaemon
) -> None:
    key_id, key = acme.new_key()
    acme.post("/licenses/studio/registered-users", {"email": "mary@example.com"})
    acme.patch("/licenses/kre", {"seats": 4, "machines": "unlimited", "machine_retention": 60})
    issued = acme.post(
        "/offline", {"license": "kre", "machine": "island", "seats": 3, "duration": 3600}
    ).body["offline"]
    acme.patch("/licenses/kre", {"seats": 2, "force": True})
    document = acme.caller("operator").call("GET", "/v1/backup").body
    assert [one["slug"] for one in document["organizations"]] == ["acme", "other"]

    elsewhere = make_daemon(bootstrap=None)
    elsewhere.start()
    operator = elsewhere.caller("operator")
    tried = operator.call("POST", "/v1/restore?dry_run=true", document)
    assert tried.body == {"organizations": ["acme", "other"], "dry_run": True}
    restored = operator.call("POST", "/v1/restore", document)
    assert restored.status == 200, restored.body
    moved = Caller(elsewhere.url, key.key)
    for path in ("", "/members", "/licenses", f"/keys/{key_id}", "/offline"):
        before = key.call("GET", f"/v1/orgs/acme{path}").body
        after = moved.call("GET", f"/v1/orgs/acme{path}").body
        for one in (before, after):
            for item in [one, *one.get("items", [])]:
                for live in ("last_used", "machines", "leases"):
                    item.pop(live, None)
        assert after == before, path
    (user,) = moved.call("GET", "/v1/orgs/acme/licenses/studio/registered-users").body["items"]
    assert user["email"] == "mary@example.com"
    kre = moved.call("GET", "/v1/orgs/acme/licenses/kre").body
    assert (kre["seats"], kre["offline_seats"], kre["available"]) == (2, 3, 0)
    assert moved.call("GET", f"/v1/orgs/acme/offline/{issued['serial']}").body["state"] == "valid"
    assert operator.call("POST", "/v1/restore", document).code == "conflict"


def test_a_backup_holds_no_secret_and_only_the_operator_has_it(acme: Acme) -> None:
    answer = acme.caller("operator").call("GET", "/v1/backup")
    assert answer.headers["Cache-Control"] == "no-store"
    assert "lsr_" not in str(answer.body)
    for role in ("owner", "admin", "service"):
        assert acme.caller(role).call("GET", "/v1/backup").code == "forbidden"


def test_what_is_no_backup_is_refused_and_changes_nothing(acme: Acme) -> None:
    operator = acme.caller("operator")
    document = operator.call("GET", "/v1/backup").body
    cut = {**document, "organizations": [{"data": document["organizations"][0]["data"][:-8]}]}
    for body in (
        {},
        {**document, "version": 2},
        {"version": 1, "organizations": [{"data": "nonsense"}]},
        {"version": 1, "organizations": [{"data": 7}]},
        {"version": 1, "organizations": ["data"]},
        cut,
    ):
        assert operator.call("POST", "/v1/restore", body).code == "invalid"
