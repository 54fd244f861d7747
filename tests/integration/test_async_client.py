"""``lessor.AsyncClient`` against a real daemon: many leases, one connection."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING

import lessor
import pytest
from support.async_clients import client_of, licensed, live
from support.daemon import BOOTSTRAP
from support.waiting import wait_until_async

if TYPE_CHECKING:
    from support.daemon import DaemonProcess, MakeDaemon

TWO_SEATS = 2


async def test_a_seat_is_held_inside_the_block_and_free_after_it(daemon: DaemonProcess) -> None:
    async with client_of(daemon) as client:
        async with client.acquire("kre", labels={"job": "42"}) as lease:
            assert live(daemon) == [lease.id]
            assert lease.license == "kre"
            assert (lease.token > 0, lease.seats) == (True, 1)
            assert 25 < lease.remaining <= 30
            lease.check()
        assert live(daemon) == []
        assert lease.remaining == 0
        with pytest.raises(lessor.LeaseLost):
            lease.check()


async def test_the_only_license_need_not_be_named(daemon: DaemonProcess) -> None:
    async with client_of(daemon) as client, client.acquire() as lease:
        assert lease.license == "kre"


async def test_several_seats_are_one_lease(daemon: DaemonProcess) -> None:
    async with client_of(daemon) as client, client.acquire("kre", seats=(1, 8)) as lease:
        assert lease.seats == TWO_SEATS


async def test_a_short_ttl_is_not_that_of_the_leases_beside_it(make_daemon: MakeDaemon) -> None:
    terms = '[[organization.license]]\nname = "long"\nseats = 1\nttl = "20s"\n\n'
    short = 'name = "kre"\nseats = 400\nttl = "5s"'
    bootstrap = BOOTSTRAP.replace('name = "kre"\nseats = 2\nttl = "30s"', short)
    daemon = make_daemon(
        bootstrap=bootstrap.replace("[[organization.license]]", terms + "[[organization.license]]")
    )
    daemon.start()
    async with client_of(daemon) as client, client.acquire("long") as long:
        first = long.deadline
        async with contextlib.AsyncExitStack() as stack:
            # So many that some are due whenever the long one is.
            for _ in range(400):
                await stack.enter_async_context(client.acquire("kre"))

            async def has_been_renewed() -> bool:
                assert not long.lost.is_set()
                return long.deadline != first

            await wait_until_async(has_been_renewed, 20, "the long one to be renewed")
            assert long.remaining > 15


async def test_a_full_license_refuses_who_does_not_wait_and_serves_who_does(
    daemon: DaemonProcess,
) -> None:
    async with client_of(daemon) as client:
        async with client.acquire("kre") as first, client.acquire("kre") as second:
            with pytest.raises(lessor.NoSeat) as refused:
                async with client.acquire("kre", wait=0):
                    pass
            assert refused.value.code == "seats_exhausted"
            assert len(refused.value.holders) == TWO_SEATS
            with pytest.raises(lessor.NoSeat):
                async with client.acquire("kre", wait=0.3):
                    pass

            async def wait_for_a_seat() -> int:
                async with client.acquire("kre", wait=60) as lease:
                    return lease.token

            waiter = asyncio.create_task(wait_for_a_seat())
            await wait_until_async(lambda: _queue_is(daemon, 1), what="the waiter to join the line")
        assert await waiter > max(first.token, second.token)


async def test_what_cannot_be_is_an_error_that_says_why(
    daemon: DaemonProcess, free_port: int
) -> None:
    async with client_of(daemon, "gone") as client:
        with pytest.raises(lessor.Denied) as denied:
            async with client.acquire("kre", wait=0):
                pass
        assert denied.value.code == "revoked"
    async with client_of(daemon) as client:
        with pytest.raises(lessor.Denied) as unknown:
            async with client.acquire("nope", wait=0):
                pass
        assert unknown.value.code == "unknown_license"
    nobody = f"http://127.0.0.1:{free_port}"
    async with lessor.AsyncClient(nobody, daemon.key()) as client:
        with pytest.raises(lessor.Unreachable):
            async with client.acquire("kre", wait=0):
                pass
    async with lessor.AsyncClient(nobody, daemon.key(), connect_timeout=0.5) as client:
        with pytest.raises(lessor.Unreachable):
            async with client.acquire("kre", wait=60):
                pass
    with pytest.raises(lessor.UsageError):
        async with lessor.AsyncClient("ftp://x", daemon.key()):
            pass


async def test_an_error_in_the_block_comes_out_as_it_is_and_the_seat_is_free(
    daemon: DaemonProcess,
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with client_of(daemon) as client, client.acquire("kre"):
            raise ZeroDivisionError
    assert live(daemon) == []


async def test_a_client_that_closes_gives_back_what_its_tasks_still_hold(
    daemon: DaemonProcess,
) -> None:
    is_held = asyncio.Event()
    was_lost = asyncio.Event()

    async with client_of(daemon) as client:

        async def hold() -> None:
            async with client.acquire("kre") as lease:
                is_held.set()
                await lease.lost.wait()
                was_lost.set()

        holder = asyncio.create_task(hold())
        await is_held.wait()
    assert live(daemon) == []
    await asyncio.wait_for(holder, 5)
    assert was_lost.is_set()


async def test_a_client_is_used_inside_its_block_only_and_once_at_a_time(
    daemon: DaemonProcess,
) -> None:
    client = client_of(daemon)
    with pytest.raises(RuntimeError):
        async with client.acquire("kre"):
            pass
    async with client:
        with pytest.raises(RuntimeError):
            async with client:
                pass
    async with client, client.acquire("kre"):
        pass


async def test_a_lease_ended_by_an_admin_is_lost_with_the_next_renewal(
    make_daemon: MakeDaemon,
) -> None:
    daemon = licensed(make_daemon, seats=2, ttl="5s")
    async with client_of(daemon) as client, client.acquire("kre") as lease:
        assert daemon.caller("admin").release(lease.id).status == 204
        await asyncio.wait_for(lease.lost.wait(), 10)
        with pytest.raises(lessor.LeaseLost) as lost:
            lease.check()
        assert lost.value.code == "lease_ended"


async def test_many_leases_are_renewed_in_few_requests(make_daemon: MakeDaemon) -> None:
    daemon = licensed(make_daemon, seats=500, ttl="8s")
    async with client_of(daemon) as client, asyncio.TaskGroup() as group:
        everybody = asyncio.Barrier(200)
        renewed = asyncio.Event()

        async def hold() -> None:
            async with client.acquire("kre") as lease:
                await everybody.wait()
                until = lease.deadline
                await wait_until_async(lambda: _later(lease, until), seconds=30, what="a renewal")
                renewed.set()
                assert not lease.lost.is_set()

        for _ in range(200):
            group.create_task(hold())
        await renewed.wait()
    metrics = daemon.anonymous().call("GET", "/metrics").body
    count = _number(metrics, 'lessor_request_seconds_count{op="renew"}')
    assert 1 <= count < 200
    connections = _number(metrics, "lessor_connections ")
    assert connections <= 3


async def test_sixty_four_tasks_share_seven_seats_and_never_more_run(
    make_daemon: MakeDaemon,
) -> None:
    daemon = licensed(make_daemon, seats=7)
    running = most = rounds = 0

    async with client_of(daemon) as client:

        async def work() -> None:
            nonlocal running, most, rounds
            for _ in range(5):
                async with client.acquire("kre", wait=60) as lease:
                    running += 1
                    most = max(most, running)
                    rounds += 1
                    await asyncio.sleep(0)
                    lease.check()
                    running -= 1

        async with asyncio.TaskGroup() as group:
            for _ in range(64):
                group.create_task(work())
    assert rounds == 64 * 5
    assert 1 < most <= 7
    assert live(daemon) == []


def test_without_aiohttp_the_error_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['aiohttp'] = None\n"
        "import lessor\n"
        "try: lessor.AsyncClient\n"
        "except ModuleNotFoundError as error: print(error)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install aiohttp" in ended.stdout


def test_the_rest_of_the_client_does_not_load_it() -> None:
    code = "import lessor, sys, lessor.lease, lessor.cli; print('aiohttp' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "False"


async def _queue_is(daemon: DaemonProcess, length: int) -> bool:
    metrics = await asyncio.to_thread(daemon.anonymous().call, "GET", "/metrics")
    return _number(metrics.body, 'lessor_queue_length{license="kre",org="acme"}') == length


async def _later(lease: lessor.AsyncLease, deadline: float) -> bool:
    return lease.deadline > deadline


def _number(metrics: str, name: str) -> float:
    lines = [line for line in metrics.splitlines() if line.startswith(name)]
    return float(lines[0].rpartition(" ")[2]) if lines else -1
