"""Metrics of several workers as one, while workers end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any

import pytest
from lessor_daemon import control
from lessor_daemon.control import Channel
from lessor_daemon.reports import Family
from lessor_daemon.workers import Worker, Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from lessor_daemon.reports import Report

    Loops = Callable[[], asyncio.AbstractEventLoop]
    Run = Callable[[Coroutine[Any, Any, None]], None]


def loop_factories() -> list[Loops]:
    """Of the loops that a daemon may run on: they differ in what a closed connection does."""
    found: list[Loops] = [asyncio.new_event_loop]
    try:
        from uvloop import new_event_loop  # noqa: PLC0415  # optional, as for the daemon
    except ImportError:
        return found
    return [*found, new_event_loop]


@pytest.fixture(params=loop_factories())
def run(request: pytest.FixtureRequest) -> Run:
    def run_in(work: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(work)

    return run_in


class NothingCounted:
    """The parent's own metrics."""

    def report(self) -> Report:
        return []


def workers() -> Workers:
    nothing: Any = None
    parent = Workers(nothing, nothing, nothing)
    parent._metrics = NothingCounted()  # type: ignore[assignment]  # all that is asked of them
    return parent


async def a_worker() -> tuple[Worker, Channel]:
    """A worker as its parent sees it, and the worker's end."""
    process: Any = None
    ours, theirs = socket.socketpair()
    return Worker(process, await Channel.over(ours)), await Channel.over(theirs)


async def close(*channels: Channel) -> None:
    for channel in channels:
        channel.close()
        with contextlib.suppress(OSError):
            await channel._writer.wait_closed()


def counted(calls: int) -> Report:
    return [Family("calls", "Calls", "counter", {("calls_total", ()): calls})]


def test_what_is_sent_to_a_process_that_has_ended_is_lost_and_nothing_else(run: Run) -> None:
    async def send_to_the_dead() -> None:
        worker, its_end = await a_worker()
        its_end.close()
        with pytest.raises(EOFError):
            await worker.channel.receive()
        for _ in range(3):
            worker.channel.send(control.PREPARED)
            await asyncio.sleep(0)
        await close(worker.channel)
        worker.channel.send(control.PREPARED)

    run(send_to_the_dead())


def test_a_worker_that_asked_twice_and_died_disturbs_nobody(run: Run) -> None:
    async def ask_and_die() -> None:
        parent = workers()
        asking, its_end = await a_worker()
        other, end_of_other = await a_worker()
        parent._running = {1: asking, 2: other}
        collecting = [asyncio.create_task(parent._collect(asking, number)) for number in (1, 2)]
        numbers = [(await end_of_other.receive())[1] for _ in collecting]
        its_end.close()
        for number, collects in zip(numbers, collecting, strict=True):
            other.reported(number, counted(2))
            async with asyncio.timeout(10):
                await collects
        await close(asking.channel, other.channel, end_of_other)

    run(ask_and_die())


def test_a_worker_that_dies_while_it_is_asked_is_counted_once(run: Run) -> None:
    async def die_while_asked() -> None:
        parent = workers()
        asking, its_end = await a_worker()
        dying, end_of_dying = await a_worker()
        dying.last_report = counted(3)
        parent._running = {1: asking, 2: dying}
        collecting = asyncio.create_task(parent._collect(asking, 1))
        await end_of_dying.receive()
        parent._is_over(2)
        await collecting
        _, (_, report) = await its_end.receive()
        assert report == counted(3)
        await close(asking.channel, its_end, dying.channel, end_of_dying)

    run(die_while_asked())
