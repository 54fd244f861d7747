"""What the connections to the store do beyond the client's own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from lessor_daemon.store.topology.clients import make_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Writer:
    """Takes everything, and has ``task`` cancelled in the moment in which it is sent."""

    def __init__(self) -> None:
        self.task: asyncio.Task[Any] | None = None
        self.is_closed = False

    def writelines(self, _lines: list[bytes]) -> None:
        pass

    async def drain(self) -> None:
        if self.task is not None:
            asyncio.get_running_loop().call_soon(self.task.cancel)

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def writer() -> Writer:
    return Writer()


@pytest.fixture
async def connection(writer: Writer) -> AsyncIterator[Any]:
    pool: Any = make_client("redis://127.0.0.1:1", connections=1, answer_seconds=5.0)
    made = pool.connection_pool.make_connection()
    made._reader = made._writer = writer
    yield made
    await made.disconnect(nowait=True)


async def test_a_cancellation_that_comes_as_a_command_is_sent_is_not_lost(
    connection: Any,  # noqa: ANN401  # redis has no types for it
    writer: Writer,
) -> None:
    async def send() -> None:
        await connection.send_command("PING")
        await asyncio.Event().wait()

    writer.task = asyncio.create_task(send())
    done, _ = await asyncio.wait([writer.task], timeout=5)
    assert done, "the cancellation was lost"
    assert writer.task.cancelled()
    assert writer.is_closed, "the reply would be taken for that of the next command"


async def test_who_was_cancelled_before_may_still_send_something(
    connection: Any,  # noqa: ANN401  # redis has no types for it
    writer: Writer,
) -> None:
    async def clean_up() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await connection.send_command("PING")

    task = asyncio.create_task(clean_up())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert not writer.is_closed
