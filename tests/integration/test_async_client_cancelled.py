"""A cancelled acquire leaves nothing behind, at whichever of its awaits the cancellation lands."""

from __future__ import annotations

import asyncio
import types
from typing import TYPE_CHECKING, Any

from support.async_clients import client_of, live
from support.waiting import wait_until_async

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator

    import lessor
    from support.daemon import DaemonProcess

MOST_AWAITS = 200


@types.coroutine
def cancelled_at(coroutine: Coroutine[Any, Any, None], step: int) -> Generator[Any, Any, None]:
    """Run ``coroutine`` and cancel its task when it suspends for the ``step``-th time."""
    task = asyncio.current_task()
    assert task is not None
    count = 0
    try:
        awaited = coroutine.send(None)
        while True:
            if count == step:
                task.cancel()
            count += 1
            try:
                value = yield awaited
            except BaseException as error:  # noqa: BLE001  # passed on to where it belongs
                awaited = coroutine.throw(error)
            else:
                awaited = coroutine.send(value)
    except StopIteration:
        return


async def was_cancelled(coroutine: Coroutine[Any, Any, None], step: int) -> bool:
    """Whether the cancellation still found the coroutine running."""
    task = asyncio.create_task(_run(coroutine, step))
    await asyncio.wait({task}, timeout=20)
    assert task.done(), f"cancelled at await {step}, it never ended"
    return task.cancelled()


async def _run(coroutine: Coroutine[Any, Any, None], step: int) -> None:
    await cancelled_at(coroutine, step)


async def test_a_cancelled_acquire_and_release_leave_no_lease(daemon: DaemonProcess) -> None:
    async with client_of(daemon) as client:

        async def hold() -> None:
            async with client.acquire("kre"):
                await asyncio.sleep(0)

        steps = 0
        while await was_cancelled(hold(), steps):
            await wait_until_async(lambda: nothing_is_left(daemon), what="the seat to be free")
            steps += 1
            assert steps < MOST_AWAITS
        assert steps > 3
    assert live(daemon) == []


async def test_a_cancelled_wait_leaves_no_place_in_the_line(daemon: DaemonProcess) -> None:
    async with (
        client_of(daemon) as client,
        client.acquire("kre") as first,
        client.acquire("kre") as second,
    ):
        for steps in range(8):
            waiting = asyncio.create_task(_run(wait_for_seat(client), steps))
            await asyncio.wait({waiting}, timeout=2)
            waiting.cancel()
            await asyncio.wait({waiting}, timeout=20)
            assert waiting.cancelled()
            await wait_until_async(lambda: line_is_empty(daemon), what="the line to be empty")
        assert sorted(live(daemon)) == sorted([first.id, second.id])
    assert live(daemon) == []


async def test_a_client_that_is_cancelled_as_a_whole_gives_everything_back(
    daemon: DaemonProcess,
) -> None:
    is_held = asyncio.Event()

    async def program() -> None:
        async with client_of(daemon) as client, client.acquire("kre"), client.acquire("kre"):
            is_held.set()
            await asyncio.Event().wait()

    running = asyncio.create_task(program())
    await is_held.wait()
    assert len(live(daemon)) == 2
    running.cancel()
    await asyncio.wait({running}, timeout=20)
    assert running.cancelled()
    assert live(daemon) == []


async def wait_for_seat(client: lessor.AsyncClient) -> None:
    """Wait without an end."""
    async with client.acquire("kre"):
        raise AssertionError("there is no seat")


async def nothing_is_left(daemon: DaemonProcess) -> bool:
    """Whether no lease is live."""
    return not await asyncio.to_thread(live, daemon)


async def line_is_empty(daemon: DaemonProcess) -> bool:
    """Whether nobody waits."""
    text = (await asyncio.to_thread(daemon.anonymous().call, "GET", "/metrics")).body
    return 'lessor_queue_length{license="kre",org="acme"} 0.0' in text
