"""One read for all who ask at the same time."""

from __future__ import annotations

import asyncio

import pytest
from lessor_daemon import logs
from lessor_daemon.shared_reads import SharedReads
from lessor_daemon.store.errors import STUCK_SECONDS


class _Slow:
    """A read that ends when it is told to. Counts how often it began."""

    def __init__(self) -> None:
        self.began = 0
        self.ends: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def __call__(self) -> str:
        self.began += 1
        return await self.ends


async def test_all_who_ask_meanwhile_get_the_answer_of_one_read() -> None:
    reads: SharedReads[str, str] = SharedReads()
    slow, other = _Slow(), _Slow()
    asking = [asyncio.create_task(reads.read("kre", slow)) for _ in range(100)]
    another = asyncio.create_task(reads.read("studio", other))
    await asyncio.sleep(0)
    slow.ends.set_result("ann")
    other.ends.set_result("bob")
    assert await asyncio.gather(*asking) == ["ann"] * 100
    assert await another == "bob"
    assert slow.began == 1
    assert await reads.read("kre", slow) == "ann"
    assert slow.began == 2, "what has ended is not shared any more"


async def test_who_goes_away_does_not_take_the_answer_along() -> None:
    reads: SharedReads[str, str] = SharedReads()
    slow = _Slow()
    first, second = (asyncio.create_task(reads.read("kre", slow)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    slow.ends.set_result("ann")
    assert await second == "ann"
    assert first.cancelled()


async def test_what_goes_wrong_goes_wrong_for_all_and_is_tried_anew_by_the_next() -> None:
    reads: SharedReads[str, str] = SharedReads()
    slow = _Slow()
    asking = [asyncio.create_task(reads.read("kre", slow)) for _ in range(2)]
    await asyncio.sleep(0)
    slow.ends.set_exception(OSError("gone"))
    assert all(
        isinstance(one, OSError) for one in await asyncio.gather(*asking, return_exceptions=True)
    )
    again = _Slow()
    again.ends.set_result("ann")
    assert await reads.read("kre", again) == "ann"


async def test_a_read_that_hangs_is_not_waited_for_by_who_comes_later() -> None:
    outdated: list[str] = []
    moment = 100.0
    reads: SharedReads[str, str] = SharedReads(outdated.append, now=lambda: moment)
    hangs, quick = _Slow(), _Slow()
    early = asyncio.create_task(reads.read("kre", hangs))
    await asyncio.sleep(0)
    moment += STUCK_SECONDS + 0.01
    late = [asyncio.create_task(reads.read("kre", quick)) for _ in range(2)]
    await asyncio.sleep(0)
    quick.ends.set_result("new")
    assert await asyncio.gather(*late) == ["new", "new"]
    assert quick.began == 1, "the newer one is shared"
    assert outdated == []
    hangs.ends.set_result("old")
    assert await early == "old"
    assert outdated == ["kre"], "what it kept may be older than what the newer one found"


@pytest.mark.parametrize("keys", [None, ["kre"]])
async def test_what_is_forgotten_while_it_is_read_is_not_shared_with_who_asks_later(
    keys: list[str] | None,
) -> None:
    outdated: list[str] = []
    reads: SharedReads[str, str] = SharedReads(outdated.append)
    before, after = _Slow(), _Slow()
    early = asyncio.create_task(reads.read("kre", before))
    await asyncio.sleep(0)
    reads.forget(keys)
    late = asyncio.create_task(reads.read("kre", after))
    await asyncio.sleep(0)
    before.ends.set_result("old")
    assert await early == "old"
    assert outdated == ["kre"]
    after.ends.set_result("new")
    assert await late == "new"
    assert outdated == ["kre"], "the second read is up to date"


async def test_what_it_logs_carries_no_ids_of_who_asked_first() -> None:
    reads: SharedReads[str, dict[str, object]] = SharedReads()

    async def bound() -> dict[str, object]:
        return dict(logs.bound())

    logs.bind(request="r1")
    try:
        assert await reads.read("kre", bound) == {}
    finally:
        logs.unbind()
