"""An organization whose removal was cut off, or of which the store lost a part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import redis
from support.administration import BOOTSTRAP, Acme
from support.redis_server import available_servers, start_redis

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.calls import Answer
    from support.daemon import MakeDaemon
    from support.redis_server import RedisServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A store that the test can change behind the daemon's back."""
    directory = tmp_path / "external"
    directory.mkdir()
    started = start_redis(available_servers()["valkey"], directory)
    yield started
    started.stop()


@pytest.fixture
def acme(make_daemon: MakeDaemon, server: RedisServer) -> Acme:
    daemon = make_daemon("--store", server.url, "--new-store", bootstrap=BOOTSTRAP)
    daemon.start()
    return Acme(daemon)


def call(acme: Acme, method: str, path: str, body: object = None) -> Answer:
    return acme.caller("operator").call(method, f"/v1/orgs{path}", body)


def listed(acme: Acme) -> list[dict[str, Any]]:
    answer = call(acme, "GET", "")
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = answer.body["items"]
    return found


def test_one_whose_removal_was_cut_off_is_listed_by_its_slug_and_removed_by_removing_it_again(
    acme: Acme, server: RedisServer
) -> None:
    assert call(acme, "DELETE", "/acme").status == 200
    with redis.Redis.from_url(server.url) as store:
        store.sadd("lessor:organizations", "acme")  # as if the daemon had died before this went
        assert listed(acme) == [
            {"slug": "acme", "name": "acme"},
            {"slug": "other", "name": "other"},
        ]
        assert call(acme, "GET", "/acme").body == {"slug": "acme", "name": "acme"}
        assert call(acme, "DELETE", "/acme?dry_run=true").status == 200
        assert call(acme, "DELETE", "/acme").status == 200
        assert not store.sismember("lessor:organizations", "acme")
    assert [one["slug"] for one in listed(acme)] == ["other"]
    assert call(acme, "DELETE", "/acme").code == "not_found"
    owner = {"email": "olga@example.com"}
    made = call(acme, "POST", "", {"slug": "acme", "name": "Anew", "owner": owner})
    assert made.status == 201, made.body


@pytest.mark.parametrize("lost", ["organization", "members", "keys", "licenses", "kre:quota"])
def test_one_of_which_a_part_was_lost_is_listed_and_can_be_removed(
    acme: Acme, server: RedisServer, lost: str
) -> None:
    with redis.Redis.from_url(server.url) as store:
        store.delete(f"{{acme}}:{lost}")
        assert [one["slug"] for one in listed(acme)] == ["acme", "other"]
        assert call(acme, "DELETE", "/acme").status == 200
        assert [one["slug"] for one in listed(acme)] == ["other"]
        left = {key.decode() for key in store.keys("{acme}:*")}
    kept = {"{acme}:clock", "{acme}:facts", "{acme}:facts-at"}
    if lost != "licenses":  # without their names nobody knows what else was theirs
        assert left == kept
    errors = [line for line in acme.daemon.log_lines() if line["level"] == "error"]
    assert errors == []
