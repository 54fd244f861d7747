"""Backup and restore: the directory moves to another store, with every rule it had."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from lessor_daemon.directory.backup_document import parts_of
from support.calls import Caller
from support.command_line import Shell
from support.large_directory import large_organization

if TYPE_CHECKING:
    from pathlib import Path

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


LARGE = {"members": 1_500, "keys": 4_000, "offline": 40}


def put_large(operator: Caller, slug: str, **numbers: int) -> None:
    for part in parts_of(large_organization(slug, **numbers)):
        answer = operator.call(
            "POST", "/v1/restore", {"version": 1, "organizations": [part.to_wire()]}
        )
        assert answer.status == 200, answer.body


@pytest.mark.slow
def test_a_large_directory_moves_in_parts_and_a_restore_that_was_cut_off_is_taken_up_again(
    make_daemon: MakeDaemon, tmp_path: Path
) -> None:
    old, new = make_daemon(bootstrap=None), make_daemon(bootstrap=None)
    old.start()
    operator = old.caller("operator")
    for slug in ("bell", "clark"):
        put_large(operator, slug, **LARGE)
    assert "next" in operator.call("GET", "/v1/backup").body
    file = tmp_path / "all.json"
    shell = Shell(tmp_path, old, "operator")
    assert "wrote 3 organizations" in shell.text("backup", str(file))
    document = json.loads(file.read_text())
    assert file.stat().st_size > 600_000, "more than one answer holds"

    new.start()
    there = Shell(tmp_path, new, "operator")
    cut = tmp_path / "cut.json"
    last = max(i for i, one in enumerate(document["organizations"]) if one["slug"] == "clark")
    kept = [one for one in document["organizations"][:last] if one["slug"] != "default"]
    cut.write_text(json.dumps({**document, "organizations": kept}))
    there.text("restore", str(cut))
    slugs = [one["slug"] for one in there.json("org", "list")["items"]]
    assert slugs == ["bell", "default"], "clark lacks its last part"

    done = there.json("restore", str(file), "--skip-existing")
    assert (done["organizations"], done["skipped"]) == (["clark"], ["bell", "default"])
    copy = tmp_path / "copy.json"
    there.text("backup", str(copy))
    for slug in ("bell", "clark"):
        parts = [
            [one["data"] for one in read["organizations"] if one["slug"] == slug]
            for read in (document, json.loads(copy.read_text()))
        ]
        assert parts[0] == parts[1], slug
        assert len(parts[0]) > 3


def test_an_organization_that_changes_between_two_pages_is_begun_again(acme: Acme) -> None:
    operator = acme.caller("operator")
    put_large(operator, "bell", **LARGE)

    def page(cursor: str) -> Any:  # noqa: ANN401 - whatever is answered
        return operator.call("GET", f"/v1/backup?cursor={cursor}")

    first = operator.call("GET", "/v1/backup").body
    assert [one["slug"] for one in first["organizations"]][:2] == ["acme", "bell"]
    acme.daemon.stop()
    file = acme.daemon.directory / "bootstrap.toml"
    file.write_text('[[organization]]\nslug = "bell"\nname = "Bell Labs"\n' + file.read_text())
    acme.daemon.start()
    refused = page(first["next"])
    assert (refused.status, refused.code) == (409, "conflict")
    assert refused.body["organization"] == "bell"
    again = page(refused.body["cursor"]).body["organizations"][0]
    assert (again["slug"], again["part"], again["name"]) == ("bell", 1, "Bell Labs")
    assert page("nonsense").code == "invalid"


def test_a_part_that_comes_without_the_first_makes_nothing(acme: Acme) -> None:
    operator = acme.caller("operator")
    parts = parts_of(large_organization("bell", members=3_000, keys=3_000, offline=10))
    assert len(parts) > 1
    body = {"version": 1, "organizations": [parts[-1].to_wire()]}
    assert operator.call("POST", "/v1/restore", body).code == "conflict"
    slugs = [one["slug"] for one in operator.call("GET", "/v1/orgs").body["items"]]
    assert "bell" not in slugs
