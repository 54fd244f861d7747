"""Commands that go to the server together, and come back each to its own caller."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from lessor_daemon.store.topology.collected import MOST_TOGETHER, Collected
from redis.exceptions import ResponseError

if TYPE_CHECKING:
    from lessor_daemon.store.store import Store


async def test_each_caller_gets_its_own_reply(store: Store) -> None:
    collected = Collected(store.redis)
    words = [f"word-{i}" for i in range(3 * MOST_TOGETHER)]
    replies = await asyncio.gather(*(collected.execute("ECHO", word) for word in words))
    assert replies == [word.encode() for word in words]
    await collected.close()


async def test_an_error_is_for_the_one_who_made_it(store: Store) -> None:
    collected = Collected(store.redis)
    replies = await asyncio.gather(
        collected.execute("ECHO", "one"),
        collected.execute("NONSENSE"),
        collected.execute("ECHO", "other"),
        return_exceptions=True,
    )
    assert (replies[0], replies[2]) == (b"one", b"other")
    assert isinstance(replies[1], ResponseError)
    await collected.close()


async def test_a_caller_that_goes_away_takes_nobody_along(store: Store) -> None:
    collected = Collected(store.redis)
    gone = asyncio.create_task(collected.execute("ECHO", "gone"))
    stays = asyncio.create_task(collected.execute("ECHO", "stays"))
    await asyncio.sleep(0)  # both have begun
    gone.cancel()
    assert await stays == b"stays"
    with pytest.raises(asyncio.CancelledError):
        await gone
    await collected.close()


async def test_those_that_begin_in_one_turn_share_one_trip(store: Store) -> None:
    collected = Collected(store.redis)
    (ids, others) = await asyncio.gather(
        collected.execute("CLIENT", "ID"), collected.execute("CLIENT", "ID")
    )
    assert ids == others
    await collected.close()
