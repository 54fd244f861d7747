"""What a daemon says at its start about the settings of a store that is not its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.redis_server import available_servers, start_redis
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.daemon import DaemonProcess, MakeDaemon
    from support.redis_server import RedisServer

    StartRedis = Callable[..., RedisServer]


@pytest.fixture(params=sorted(available_servers()))
def start_external(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StartRedis]:
    """Starts a server with these options, and ends it with the test."""
    started: list[RedisServer] = []

    def start(*options: str) -> RedisServer:
        directory = tmp_path / "external"
        directory.mkdir()
        started.append(start_redis(available_servers()[request.param], directory, *options))
        return started[-1]

    yield start
    for server in started:
        server.stop()


def found(daemon: DaemonProcess) -> dict[str, dict[str, Any]]:
    """The warnings by the setting they name."""
    return {line["setting"]: line for line in daemon.events("store_setting")}


def test_settings_that_endanger_the_promise_are_named_with_value_need_and_reason(
    start_external: StartRedis, make_daemon: MakeDaemon
) -> None:
    server = start_external("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    daemon = make_daemon("--store", server.url)
    daemon.start()
    findings = found(daemon)
    assert set(findings) == {"maxmemory-policy", "appendonly"}
    policy = findings["maxmemory-policy"]
    assert (policy["level"], policy["value"], policy["needed"]) == (
        "warning",
        "allkeys-lru",
        "noeviction",
    )
    assert "eviction" in policy["why"]


def test_a_store_as_it_should_be_is_no_news(
    start_external: StartRedis, make_daemon: MakeDaemon
) -> None:
    server = start_external("--appendonly", "yes", "--appendfsync", "always")
    daemon = make_daemon("--store", server.url, "--store-durable")
    daemon.start()
    assert not found(daemon)


@pytest.mark.parametrize(
    ("options", "value"),
    [
        (("--appendonly", "yes", "--appendfsync", "everysec"), "everysec"),
        (("--appendonly", "no", "--appendfsync", "always"), "without appendonly"),
    ],
)
def test_a_store_that_is_not_durable_though_the_operator_said_so_ends_it_with_78(
    start_external: StartRedis, make_daemon: MakeDaemon, options: tuple[str, ...], value: str
) -> None:
    server = start_external(*options)
    daemon = make_daemon("--store", server.url, "--store-durable")
    daemon.start(until="bad_configuration")
    assert daemon.wait() == 78
    (line,) = daemon.events("bad_configuration")
    assert line["place"] == "--store-durable"
    assert f"appendfsync is '{value}', not 'always'" in line["reason"]


def test_a_store_that_tells_nobody_its_settings_is_used_and_it_is_said(
    start_external: StartRedis, make_daemon: MakeDaemon
) -> None:
    server = start_external("--rename-command", "CONFIG", "")
    daemon = make_daemon("--store", server.url)
    daemon.start()
    (line,) = daemon.events("store_setting")
    assert "maxmemory-policy, appendonly, appendfsync" in line["setting"]
    assert "CONFIG GET was refused" in line["why"]
    wait_until(lambda: daemon.anonymous().call("GET", "/readyz").status == 200)
