"""What the asynchronous client lives through: restarts, drains, cuts, proxies, a lost memory."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

import lessor
import pytest
import redis
from lessor.aio import link
from support.async_clients import client_of, licensed, live
from support.daemon import BOOTSTRAP
from support.redis_server import available_servers, start_redis
from support.relay import DROP, HANG, PASS, REFUSE, Relay
from support.waiting import wait_until_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from support.daemon import DaemonProcess, MakeDaemon
    from support.redis_server import RedisServer

STREAM_LOG = "lessor"
LICENSE = "/v1/orgs/acme/licenses/kre"


@contextlib.asynccontextmanager
async def holding(client: lessor.AsyncClient, count: int) -> AsyncIterator[list[lessor.AsyncLease]]:
    """So many leases."""
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(client.acquire("kre")) for _ in range(count)]


async def renewed_after(leases: list[lessor.AsyncLease], seconds: float = 20) -> None:
    """Wait until each lease was renewed once more, and none was lost."""
    deadlines = [lease.deadline for lease in leases]

    async def all_later() -> bool:
        assert not any(lease.lost.is_set() for lease in leases)
        return all(one.deadline > was for one, was in zip(leases, deadlines, strict=True))

    await wait_until_async(all_later, seconds, "every lease to be renewed")


async def test_leases_live_through_a_killed_and_restarted_daemon(make_daemon: MakeDaemon) -> None:
    daemon = licensed(make_daemon, seats=50, ttl="8s")
    async with client_of(daemon) as client, holding(client, 20) as leases:
        daemon.kill()
        await asyncio.to_thread(daemon.start)
        await renewed_after(leases)
        assert len(live(daemon)) == 20
        async with client.acquire("kre", wait=10):
            pass
    assert live(daemon) == []


async def test_leases_live_through_a_drained_and_restarted_daemon(make_daemon: MakeDaemon) -> None:
    daemon = licensed(make_daemon, seats=50, ttl="8s")
    async with client_of(daemon) as client, holding(client, 5) as leases:
        assert await asyncio.to_thread(daemon.stop) == 0
        await asyncio.to_thread(daemon.start)
        await renewed_after(leases)


async def test_a_drain_sends_clients_to_the_other_daemon_before_they_leave(
    make_daemon: MakeDaemon, shared_store: RedisServer
) -> None:
    first, second = two_daemons(make_daemon, shared_store)
    both = f"{first.url},{second.url}"
    async with client_of(first, url=both) as client, holding(client, 20) as leases:
        ends = asyncio.ensure_future(asyncio.to_thread(first.stop))
        acquired = 0
        while not ends.done():
            async with client.acquire("kre", wait=20):
                acquired += 1
        assert await ends == 0
        assert acquired > 0
        await renewed_after(leases)
        assert len(live(second)) == 20
    assert live(second) == []
    assert not second.events("lease_ended")


async def test_a_rolling_restart_is_felt_by_none_of_a_hundred_leases(
    make_daemon: MakeDaemon, shared_store: RedisServer
) -> None:
    first, second = two_daemons(make_daemon, shared_store)
    both = f"{first.url},{second.url}"
    async with client_of(first, url=both) as client, holding(client, 100) as leases:
        for one, other in ((first, second), (second, first)):
            assert await asyncio.to_thread(one.stop) == 0
            await renewed_after(leases)
            await asyncio.to_thread(one.start)
            assert len(live(other)) == 100
    assert live(second) == []
    assert not first.events("lease_ended")
    assert not second.events("lease_ended")


async def test_a_connection_that_is_cut_again_and_again_loses_no_lease(
    make_daemon: MakeDaemon,
) -> None:
    daemon = licensed(make_daemon, seats=50, ttl="8s")
    async with (
        Relay(daemon.url) as relay,
        client_of(daemon, url=relay.url) as client,
        holding(client, 10) as leases,
    ):
        for _ in range(4):
            relay.cut()
            await renewed_after(leases)
    assert live(daemon) == []


@pytest.mark.parametrize("how", [REFUSE, HANG, DROP])
async def test_where_upgrades_do_not_come_through_calls_go_by_http_and_that_is_said_once(
    daemon: DaemonProcess,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(link, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(link, "STREAM_AGAIN_SECONDS", 0.1)
    caplog.set_level(logging.WARNING, STREAM_LOG)
    async with Relay(daemon.url, how) as relay, client_of(daemon, url=relay.url) as client:
        async with client.acquire("kre") as lease:
            assert live(daemon) == [lease.id]
            await wait_until_async(lambda: tried(relay, 3), what="more tries of the stream")
            with pytest.raises(lessor.NoSeat):
                async with client.acquire("kre"), client.acquire("kre", wait=0):
                    pass
        assert live(daemon) == []
        said = [one for one in caplog.records if one.name == STREAM_LOG]
        assert len(said) == 1
        assert "calls go by HTTP" in said[0].getMessage()


async def test_a_call_that_fails_by_http_stops_no_other_where_upgrades_hang(
    daemon: DaemonProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "CONNECT_SECONDS", 0.5)
    async with Relay(daemon.url, HANG) as relay, client_of(daemon, url=relay.url) as client:
        async with client.acquire("kre"), client.acquire("kre"):
            # The next tries of a stream take longer than anybody waits.
            monkeypatch.setattr(link, "CONNECT_SECONDS", 60)
            held = asyncio.create_task(_take(client, wait=30))
            await wait_until_async(lambda: _is_held(daemon), what="a call that is held")
            tries = relay.seen_upgrades
            relay.cut()
            await wait_until_async(lambda: tried(relay, tries + 1), what="a try of the stream")
        async with asyncio.timeout(5):
            await held


async def test_those_who_wait_in_line_by_http_hold_up_no_renewal(make_daemon: MakeDaemon) -> None:
    daemon = licensed(make_daemon, seats=1, ttl="5s")
    async with (
        Relay(daemon.url, REFUSE) as relay,
        client_of(daemon, url=relay.url) as client,
        client.acquire("kre") as lease,
        asyncio.TaskGroup() as group,
    ):
        # More than the connections that aiohttp allows at a time unless told otherwise.
        waiting = [group.create_task(_take(client, wait=60)) for _ in range(120)]
        await wait_until_async(lambda: _are_in_line(daemon, len(waiting)), 30, "a long line")
        await renewed_after([lease])
        await renewed_after([lease])
        for one in waiting:
            one.cancel()


async def _take(client: lessor.AsyncClient, *, wait: float) -> None:
    async with client.acquire("kre", wait=wait):
        pass


async def _is_held(daemon: DaemonProcess) -> bool:
    return await _are_in_line(daemon, 1)


async def _are_in_line(daemon: DaemonProcess, count: int) -> bool:
    found = await asyncio.to_thread(daemon.caller("admin").call, "GET", LICENSE)
    return bool(found.body["queue_length"] == count)


async def test_the_stream_is_taken_as_soon_as_it_can_be_had(
    make_daemon: MakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "STREAM_AGAIN_SECONDS", 0.1)
    daemon = licensed(make_daemon, seats=2, ttl="5s")
    async with (
        Relay(daemon.url, REFUSE) as relay,
        client_of(daemon, url=relay.url) as client,
        client.acquire("kre") as lease,
    ):
        await wait_until_async(lambda: tried(relay, 1), what="a try of the stream")
        relay.upgrades = PASS
        tries = relay.seen_upgrades
        await wait_until_async(lambda: tried(relay, tries + 1), what="one more try")
        await renewed_after([lease])
        # A stream that stands is not tried for again.
        assert relay.seen_upgrades <= tries + 2


async def test_an_emptied_store_loses_no_lease(
    make_daemon: MakeDaemon, shared_store: RedisServer
) -> None:
    daemon = licensed(
        make_daemon,
        *("--store", shared_store.url, "--store-durable", "--max-ttl", "5s"),
        seats=3,
        ttl="5s",
        LESSOR_TEST="1",
        LESSOR_TEST_MARGIN="1s",
    )
    async with client_of(daemon) as client, holding(client, 2) as leases:
        with redis.Redis(unix_socket_path=str(shared_store.socket_path)) as store:
            store.flushall()
        await renewed_after(leases)
        await renewed_after(leases)
        async with client.acquire("kre", wait=60):
            assert len(live(daemon)) == 3


async def test_a_lease_that_nobody_renews_is_lost_by_its_own_deadline(
    make_daemon: MakeDaemon,
) -> None:
    daemon = licensed(make_daemon, seats=2, ttl="5s")
    async with client_of(daemon) as client, client.acquire("kre") as lease:
        daemon.kill()
        await asyncio.wait_for(lease.lost.wait(), 10)
        assert lease.remaining == 0
        with pytest.raises(lessor.LeaseLost) as lost:
            lease.check()
        assert lost.value.code == "expired"
        await asyncio.to_thread(daemon.start)


@pytest.fixture
def shared_store(tmp_path: Path) -> Iterator[RedisServer]:
    """A store of its own for several daemons."""
    directory = tmp_path / "redis"
    directory.mkdir()
    server = start_redis(
        available_servers()["valkey"],
        directory,
        *("--appendonly", "yes", "--appendfsync", "always"),
    )
    yield server
    server.stop()


def two_daemons(make_daemon: MakeDaemon, store: RedisServer) -> tuple[DaemonProcess, DaemonProcess]:
    """Two daemons with one store, one secret and one set of keys."""
    bootstrap = BOOTSTRAP.replace('seats = 2\nttl = "30s"', 'seats = 120\nttl = "8s"')
    first = make_daemon("--store", store.url, "--store-durable", "--new-store", bootstrap=bootstrap)
    first.start()
    secret = next(first.data_dir.glob("*secret*"))
    shared = bootstrap.replace('secret_file = "', f'secret_file = "{first.directory}/')
    options = ("--store", store.url, "--store-durable", "--secret-file", str(secret))
    second = make_daemon(*options, bootstrap=shared)
    second.start()
    for name in ("ci", "admin"):
        (second.directory / f"{name}.key").write_text(first.key(name))
    return first, second


async def tried(relay: Relay, times: int) -> bool:
    """Whether so many upgrades were tried."""
    return relay.seen_upgrades >= times
