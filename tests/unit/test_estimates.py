"""Estimates are made once for a whole line, and never told when they are old."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest
from lessor_daemon.leasing.estimates import KEPT_MS, OLDEST_MS, Estimates
from lessor_daemon.store.errors import StoreUnavailable
from lessor_protocol.errors import Problem
from lessor_protocol.queued import Estimate

if TYPE_CHECKING:
    from lessor_daemon.store.store import Store

FIRST, SECOND = Estimate(1_000, 2_000, 12), Estimate(60_000, 90_000, 12)


class Made(Estimates):
    """Each is made when the test says so."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.under_way: list[asyncio.Future[list[Estimate]]] = []
        clock = lambda: self.now_ms  # noqa: E731  # one line says it
        super().__init__(cast("Store", None), boottime_ms=clock, wall_ms=clock)

    async def _make(self, org: str, license: str) -> list[Estimate]:
        assert (org, license) == ("acme", "kre")
        self.under_way.append(asyncio.get_running_loop().create_future())
        return await self.under_way[-1]

    async def ask(self) -> asyncio.Task[Estimate | None]:
        task = asyncio.create_task(self.of("acme", "kre", 1))
        await asyncio.sleep(0)
        return task


@pytest.fixture
async def made() -> Made:
    """The first was made at 0."""
    estimates = Made()
    asked = await estimates.ask()
    estimates.under_way[-1].set_result([FIRST])
    assert await asked == FIRST
    return estimates


async def test_one_is_told_for_a_while(made: Made) -> None:
    made.now_ms = KEPT_MS - 1
    assert await (await made.ask()) == FIRST
    assert len(made.under_way) == 1


async def test_the_one_before_is_told_while_the_next_is_made(made: Made) -> None:
    made.now_ms = KEPT_MS
    maker = await made.ask()
    assert await (await made.ask()) == FIRST
    made.under_way[-1].set_result([SECOND])
    assert await maker == SECOND
    assert await (await made.ask()) == SECOND
    assert len(made.under_way) == 2


async def test_an_old_one_is_told_to_nobody(made: Made) -> None:
    made.now_ms = OLDEST_MS
    maker = await made.ask()
    assert await (await made.ask()) is None
    made.under_way[-1].set_result([SECOND])
    assert await maker == SECOND


async def test_after_one_that_could_not_be_made_the_next_is_tried(made: Made) -> None:
    made.now_ms = OLDEST_MS
    maker = await made.ask()
    made.under_way[-1].set_exception(StoreUnavailable("gone"))
    with pytest.raises(Problem, match="gone"):
        await maker
    maker = await made.ask()
    made.under_way[-1].set_result([SECOND])
    assert await maker == SECOND
