"""Organizations side by side: who hangs delays nobody else."""

from __future__ import annotations

import asyncio

import structlog
from lessor_daemon.side_by_side import MOST_AT_ONCE, SideBySide, for_each
from lessor_protocol.errors import Problem
from structlog.testing import capture_logs
from support.waiting import wait_until_async

LOG = structlog.get_logger(__name__)
HANGING = [f"hangs-{number}" for number in range(3 * MOST_AT_ONCE)]
SECONDS = 10


async def hang(_org: str) -> None:
    await asyncio.Event().wait()


async def test_any_number_that_hang_hold_up_nobody_else() -> None:
    done: list[str] = []

    async def work(org: str) -> None:
        done.append(org)

    async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as group:
        under_way = SideBySide(group, LOG, "work_failed")
        for org in HANGING:
            under_way.begin(org, hang)
        under_way.begin("goes", work)
        await wait_until_async(lambda: asyncio.sleep(0, done == ["goes"]))
        assert under_way.busy == set(HANGING)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()


async def test_an_organization_has_one_task_at_a_time_and_another_when_that_has_failed() -> None:
    begun: list[str] = []
    goes_on = asyncio.Event()

    async def work(org: str) -> None:
        begun.append(org)
        await goes_on.wait()
        raise ValueError("odd content of the store")

    with capture_logs() as logged:
        async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as group:
            under_way = SideBySide(group, LOG, "work_failed")
            under_way.begin("acme", work)
            under_way.begin("acme", work)
            await wait_until_async(lambda: asyncio.sleep(0, bool(begun)))
            goes_on.set()
            await wait_until_async(lambda: asyncio.sleep(0, not under_way.busy))
            under_way.begin("acme", work)
    assert begun == ["acme", "acme"]
    assert [(one["event"], one["org"]) for one in logged] == [("organization_failed", "acme")] * 2


async def test_so_many_work_at_once_and_no_more() -> None:
    at_once, most = 0, 0

    async def work(_org: str) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        at_once -= 1

    async with asyncio.timeout(SECONDS):
        assert await for_each(map(str, range(10 * MOST_AT_ONCE)), work) == {}
    assert most == MOST_AT_ONCE


async def test_all_are_done_though_some_fail() -> None:
    done: list[str] = []
    away, odd = Problem("store_unavailable", "it is away"), ValueError("odd content")

    async def work(org: str) -> None:
        if org in ("away", "odd"):
            raise away if org == "away" else odd
        done.append(org)

    failed = await for_each(("odd", "first", "away", "last"), work)
    assert list(failed.items()) == [("odd", odd), ("away", away)]
    assert done == ["first", "last"]
