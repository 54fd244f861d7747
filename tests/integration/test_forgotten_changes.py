"""A store forgets changes of administration: who remembers them makes them hold again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from lessor_daemon.directory.memory import Memory, memory_path
from support.administration import BOOTSTRAP, Acme
from support.daemon import DaemonProcess
from support.external_store import ExternalStore
from support.redis_server import available_servers
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.calls import Answer
    from support.daemon import MakeDaemon


@pytest.fixture(params=sorted(available_servers()))
def external(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ExternalStore]:
    directory = tmp_path / "redis"
    directory.mkdir()
    store = ExternalStore(available_servers()[request.param], directory)
    store.start()
    yield store
    store.kill()


@pytest.fixture
def acme(external: ExternalStore, make_daemon: MakeDaemon) -> Acme:
    """Served by a daemon whose grace is some 5 s."""
    daemon = make_daemon(*options(external), bootstrap=SHORT, LESSOR_TEST="1", **TIMES)
    daemon.start()
    return Acme(daemon)


SHORT = BOOTSTRAP.replace('ttl = "30s"', 'ttl = "2s"').replace(
    'name = "kre"\nseats = 2', 'name = "kre"\nseats = 4'
)
TIMES = {"LESSOR_TEST_MIN_TTL": "1s", "LESSOR_TEST_MARGIN": "3s"}


def options(external: ExternalStore) -> tuple[str, ...]:
    assert external.server is not None
    return ("--store", external.server.url, "--store-durable", "--max-ttl", "2s")


def restrict(acme: Acme) -> dict[str, str]:
    """Of each kind of change that takes something away, one. Says the names that were made up."""
    issued = acme.post(
        "/offline",
        {"license": "kre", "machine": "laptop", "seats": 1, "duration": 86400},
    )
    assert issued.status == 201, issued.body
    assert acme.patch("/licenses/kre", {"seats": 2}).status == 200
    assert acme.patch("/licenses/kre", {"policy": [CAPPED]}).status == 200
    run_key = next(one for one in acme.get("/keys").body["items"] if one["name"] == "run")
    assert acme.delete(f"/keys/{run_key['id']}?end_sessions=true").status in (200, 204)
    mary = acme.delete("/licenses/studio/registered-users/mary@example.com")
    assert mary.status in (200, 204), mary.body
    assert acme.delete("/members/mick@example.com").status == 200
    assert acme.patch("/members/adam@example.com", {"role": "member"}).status == 200
    return {"serial": issued.body["offline"]["serial"], "key": run_key["id"]}


CAPPED = {"name": "web", "label": {"team": "web"}, "cap": 1, "reserve": 1}


def prepare(acme: Acme) -> None:
    """What the copy has and the changes take away."""
    answer = acme.post("/licenses/studio/registered-users", {"email": "mary@example.com"})
    assert answer.status == 201, answer.body


def copied_before_changes(acme: Acme, external: ExternalStore) -> dict[Path, bytes]:
    external.kill()
    copy = external.copy()
    external.start()
    wait_until(lambda: acme.get("/licenses").status == 200, 20, "the store to be back")
    return copy


def assert_restricted(acme: Acme, made: dict[str, str]) -> None:
    def is_back() -> bool:
        license = acme.get("/licenses/kre").body
        return (license.get("seats"), license.get("offline_seats")) == (2, 1)

    wait_until(is_back, 30, "the seats to be as they were")
    assert acme.license()["available"] == 1
    (group,) = acme.license()["policy"]
    assert (group["cap"], group["reserve"]) == (1, 0), "a cap restricts, a reserve gives"
    states = {one["id"]: one["state"] for one in acme.get("/keys").body["items"]}
    assert states[made["key"]] == "revoked"
    assert acme.get("/licenses/studio/registered-users").body["items"] == []
    members = {one["email"]: one["role"] for one in acme.get("/members").body["items"]}
    assert "mick@example.com" not in members
    assert members["adam@example.com"] == "member"
    assert members["olga@example.com"] == "owner"
    offline = {one["serial"]: one["state"] for one in acme.get("/offline").body["items"]}
    assert offline == {made["serial"]: "valid"}


def test_an_older_copy_of_the_store_gets_all_that_was_taken_away_again(
    external: ExternalStore, acme: Acme
) -> None:
    prepare(acme)
    copy = copied_before_changes(acme, external)
    made = restrict(acme)
    external.put_back(copy)
    assert_restricted(acme, made)
    (line,) = acme.daemon.events("changes_forgotten")
    assert line["org"] == "acme"
    actions = [one["action"] for one in acme.get("/audit").body["items"]]
    assert {"license.reassert", "directory.reassert", "offline.reassert"} <= set(actions)
    # And it holds: nothing is granted beyond once recovery is over.
    caller = acme.caller("service")
    granted = wait_until(lambda: _granted(caller.acquire()), 30, "recovery to be over")
    assert granted is not None
    refused = caller.acquire(machine={"id": "machine-2"})
    assert refused.code == "seats_exhausted", "2 seats, one of them offline"


def test_it_holds_again_before_anything_is_granted(external: ExternalStore, acme: Acme) -> None:
    copy = copied_before_changes(acme, external)
    assert acme.patch("/licenses/kre", {"seats": 1, "machines": "unlimited"}).status == 200
    external.put_back(copy)
    caller = acme.caller("run")
    granted = 0
    deadline = time.monotonic() + 12
    while time.monotonic() < deadline:
        answer = caller.acquire()
        granted += answer.status == 201
        assert granted <= 1
        if answer.code == "seats_exhausted":
            break
    assert granted == 1


def test_an_emptied_store_that_the_bootstrap_file_fills_anew_is_restricted_too(
    external: ExternalStore, acme: Acme
) -> None:
    prepare(acme)
    made = restrict(acme)
    external.kill()
    external.forget()
    external.start()
    assert_restricted(acme, made)


def test_a_daemon_that_was_killed_meanwhile_remembers(external: ExternalStore, acme: Acme) -> None:
    prepare(acme)
    copy = copied_before_changes(acme, external)
    made = restrict(acme)
    acme.daemon.kill()
    external.put_back(copy)
    acme.daemon.start("--bootstrap", empty_file(acme))
    assert_restricted(acme, made)


def test_another_daemon_has_learned_it_and_says_it_when_the_first_is_gone(
    external: ExternalStore, acme: Acme, tmp_path: Path
) -> None:
    other = second_daemon(external, acme, tmp_path)
    try:
        other.start()
        prepare(acme)
        copy = copied_before_changes(acme, external)
        made = restrict(acme)
        assert external.server is not None
        memory = Memory(memory_path(other.data_dir, external.server.url))
        last = "member adam@example.com"
        wait_until(
            lambda: any(
                one.name == last and b"member" in one.value for one in memory.facts("acme")
            ),
            20,
            "the other daemon to learn of it",
        )
        acme.daemon.kill()
        external.put_back(copy)
        assert_restricted(Acme(other), made)
    finally:
        other.end()


def test_a_later_word_of_an_admin_wins_over_what_is_remembered(
    external: ExternalStore, acme: Acme
) -> None:
    copy = copied_before_changes(acme, external)
    assert acme.patch("/licenses/kre", {"seats": 1}).status == 200
    external.put_back(copy)
    wait_until(lambda: acme.get("/licenses/kre").body.get("seats") == 1, 20, "it to hold again")
    assert acme.patch("/licenses/kre", {"seats": 3}).status == 200
    again = copied_before_changes(acme, external)
    acme.daemon.kill()
    external.put_back(again)  # another epoch, and nothing lost: it compares once more
    acme.daemon.start("--bootstrap", empty_file(acme))
    assert acme.license()["seats"] == 3


def test_the_operator_overrules_with_new_store(external: ExternalStore, acme: Acme) -> None:
    copy = copied_before_changes(acme, external)
    assert acme.patch("/licenses/kre", {"seats": 1}).status == 200
    acme.daemon.kill()
    external.put_back(copy)
    acme.daemon.start("--new-store")
    assert acme.license()["seats"] == 4
    assert not acme.daemon.events("changes_forgotten")


def test_users_of_a_license_that_was_removed_stay_away_when_its_name_is_used_again(
    external: ExternalStore, acme: Acme
) -> None:
    prepare(acme)
    copy = copied_before_changes(acme, external)
    assert acme.delete("/licenses/studio").status in (200, 204)
    anew = {"name": "studio", "kind": "named-user", "seats": 2, "ttl": 2}
    assert acme.post("/licenses", anew).status == 201
    external.put_back(copy)
    wait_until(
        lambda: acme.get("/licenses/studio/registered-users").body.get("items") == [],
        20,
        "the new license to have no users",
    )
    wait_until(lambda: _granted(acme.caller("run").acquire()), 30, "recovery to be over")
    assert acme.caller("member").acquire("studio").code == "not_registered_user"


def test_keys_of_an_organization_that_was_removed_stay_void_when_its_name_is_used_again(
    external: ExternalStore, acme: Acme
) -> None:
    old = acme.caller("other")
    copy = copied_before_changes(acme, external)
    operator = acme.caller("operator")
    assert operator.call("DELETE", "/v1/orgs/other").status in (200, 204)
    anew = {"slug": "other", "name": "Other Inc", "owner": {"email": "new@example.com"}}
    assert operator.call("POST", "/v1/orgs", anew).status == 201
    external.put_back(copy)
    wait_until(lambda: acme.daemon.events("changes_reasserted"), 20, "it to hold again")
    wait_until(lambda: _granted(acme.caller("run").acquire()), 30, "recovery to be over")
    assert old.call("GET", "/v1/orgs/other/members").code == "revoked"
    assert old.acquire("kre").code == "revoked"


def test_what_was_given_and_is_lost_is_told_once(external: ExternalStore, acme: Acme) -> None:
    copy = copied_before_changes(acme, external)
    lost, _ = acme.new_key()
    external.put_back(copy)
    (line,) = wait_until(lambda: acme.daemon.events("changes_forgotten"), 20, "it to be noticed")
    assert line["changes"] == [f"key {lost}"]
    acme.new_key()
    wait_for_sweeps(acme.daemon)
    assert acme.daemon.events("changes_forgotten") == [line]


def wait_for_sweeps(daemon: DaemonProcess) -> None:
    """Of each of its two organizations one that began after now."""
    before = daemon.script_calls("sweep")
    wait_until(lambda: daemon.script_calls("sweep") >= before + 4, 30, "sweeps")


def second_daemon(external: ExternalStore, acme: Acme, tmp_path: Path) -> DaemonProcess:
    """On the same store, with the same secret and the same keys."""
    directory = tmp_path / "other"
    directory.mkdir()
    for path in (*acme.daemon.directory.glob("*.key"), *acme.daemon.data_dir.glob("*.key")):
        (directory / path.name).write_bytes(path.read_bytes())
    secret = ("--secret-file", str(acme.daemon.data_dir / "secret"))
    return DaemonProcess(
        directory, *options(external), *secret, bootstrap=SHORT, LESSOR_TEST="1", **TIMES
    )


def empty_file(acme: Acme) -> str:
    """For a start in which the bootstrap file's own seats do not win."""
    path = acme.daemon.directory / "nothing.toml"
    path.write_text("")
    return str(path)


def _granted(answer: Answer) -> Answer | None:
    return answer if answer.status == 201 else None
