"""How long records are kept, by a daemon that was told so."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import redis
from support.administration import BOOTSTRAP, Acme
from support.redis_server import available_servers, start_redis
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.daemon import MakeDaemon
    from support.redis_server import RedisServer

DAY_MS = 86_400_000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A store that the test can look into."""
    directory = tmp_path / "external"
    directory.mkdir()
    started = start_redis(available_servers()["valkey"], directory)
    yield started
    started.stop()


def test_past_sessions_go_after_the_days_the_daemon_was_told_and_not_before(
    make_daemon: MakeDaemon, server: RedisServer
) -> None:
    kept = ("--sessions-kept", "2", "--audit-kept", "3")
    daemon = make_daemon("--store", server.url, "--new-store", *kept, bootstrap=BOOTSTRAP)
    daemon.start()
    acme = Acme(daemon)
    lease_id = acme.held()
    acme.caller("run").release(lease_id)
    with redis.Redis.from_url(server.url) as store:
        key = "{acme}:events"
        ((_, fields),) = store.xrange(key)
        store.delete(key)
        now_ms = int(time.time() * 1000)
        for days in (2.5, 1.5):
            store.xadd(key, fields, id=f"{now_ms - int(days * DAY_MS)}-1")
        assert store.xlen(key) == 2
        wait_until(lambda: store.xlen(key) == 1, 30, "what is older than two days to go")
    assert [one["id"] for one in acme.get("/sessions?state=past").body["items"]] == [lease_id]
