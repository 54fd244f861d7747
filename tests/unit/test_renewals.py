"""Renewals that come together travel in one call, and none is lost or mixed up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from lessor_daemon import logs
from lessor_daemon.leasing import renewals as module
from lessor_daemon.leasing.renewals import Renewals
from lessor_protocol.errors import Problem
from lessor_protocol.messages import Renewal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lessor_daemon.leasing.renewals import Result


class Script:
    """Answers each id with the number in it, and remembers the calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[Renewal]]] = []
        self.error: Exception | None = None
        self.called = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, org: str, ids: Sequence[Renewal]) -> list[Result]:
        self.calls.append((org, list(ids)))
        self.called.set()
        await self.gate.wait()
        if self.error:
            raise self.error
        return [int.from_bytes(one.lease_id, "big") for one in ids]


def ids(*numbers: int) -> list[Renewal]:
    return [Renewal(number.to_bytes(16, "big")) for number in numbers]


@pytest.fixture
def script() -> Script:
    return Script()


async def test_those_that_come_together_travel_together_and_get_their_own_answers(
    script: Script,
) -> None:
    async with asyncio.TaskGroup() as group:
        collected = Renewals(script, group)
        answers = await asyncio.gather(
            *(collected.renew("acme", ids(n, n + 1000)) for n in range(100))
        )
    assert answers == [[n, n + 1000] for n in range(100)]
    assert len(script.calls) == 1


async def test_organizations_do_not_mix(script: Script) -> None:
    async with asyncio.TaskGroup() as group:
        collected = Renewals(script, group)
        await asyncio.gather(collected.renew("acme", ids(1)), collected.renew("other", ids(2)))
    assert sorted(org for org, _ in script.calls) == ["acme", "other"]


async def test_a_call_carries_five_hundred_at_most(script: Script) -> None:
    async with asyncio.TaskGroup() as group:
        collected = Renewals(script, group)
        await asyncio.gather(*(collected.renew("acme", ids(*range(300))) for _ in range(4)))
    assert [len(called) for _, called in script.calls] == [300] * 4


async def test_a_failure_reaches_each_caller_and_the_next_batch_works(script: Script) -> None:
    script.error = Problem("store_unavailable", "away")
    async with asyncio.TaskGroup() as group:
        collected = Renewals(script, group)
        outcomes = await asyncio.gather(
            *(collected.renew("acme", ids(n)) for n in range(3)), return_exceptions=True
        )
        assert outcomes == [script.error] * 3
        script.error = None
        assert await collected.renew("acme", ids(5)) == [5]


async def test_a_caller_that_went_away_does_not_hold_up_the_others(script: Script) -> None:
    script.gate.clear()
    async with asyncio.TaskGroup() as group:
        collected = Renewals(script, group)
        first = asyncio.ensure_future(collected.renew("acme", ids(1)))
        await script.called.wait()
        leaver = asyncio.ensure_future(collected.renew("acme", ids(2)))
        stayer = asyncio.ensure_future(collected.renew("acme", ids(3)))
        await asyncio.sleep(0)
        leaver.cancel()
        script.gate.set()
        assert list(await asyncio.gather(first, stayer)) == [[1], [3]]
    assert [called for _, called in script.calls] == [ids(1), ids(3)]


async def test_what_comes_while_a_call_is_under_way_fills_the_next_one(script: Script) -> None:
    script.gate.clear()
    async with asyncio.TaskGroup() as group:
        collected = Renewals(script, group)
        first = asyncio.ensure_future(collected.renew("acme", ids(1)))
        await script.called.wait()
        later = [asyncio.ensure_future(collected.renew("acme", ids(n))) for n in (2, 3)]
        await asyncio.sleep(0)
        script.gate.set()
        assert await asyncio.gather(first, *later) == [[1], [2], [3]]
    assert [called for _, called in script.calls] == [ids(1), ids(2, 3)]


async def test_too_many_waiting_are_told_to_come_back(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_PENDING", 10)
    async with asyncio.TaskGroup() as group:
        collected = Renewals(script, group)
        within = asyncio.ensure_future(collected.renew("acme", ids(*range(10))))
        await asyncio.sleep(0)
        with pytest.raises(Problem) as refused:
            await collected.renew("acme", ids(11))
        assert refused.value.code == "rate_limited"
        assert len(await within) == 10
        assert await collected.renew("acme", ids(11)) == [11]


async def test_a_callback_is_told_once_with_its_own_results_or_what_went_wrong(
    script: Script,
) -> None:
    told: list[list[Result] | Exception] = []
    async with asyncio.TaskGroup() as group:
        collected = Renewals(script, group)
        collected.submit("acme", ids(1, 2), told.append)
        collected.submit("acme", ids(3), told.append)
    assert told == [[1, 2], [3]]
    script.error = Problem("store_unavailable", "away")
    async with asyncio.TaskGroup() as group:
        Renewals(script, group).submit("acme", ids(4), told.append)
    assert told[2:] == [script.error]


async def test_a_withdrawn_request_is_neither_sent_nor_answered(script: Script) -> None:
    told: list[list[Result] | Exception] = []
    async with asyncio.TaskGroup() as group:
        collected = Renewals(script, group)
        collected.submit("acme", ids(1), told.append).withdraw()
        collected.submit("acme", ids(2), told.append)
    assert told == [[2]]
    assert script.calls == [("acme", ids(2))]


async def test_whoever_still_waits_when_the_daemon_ends_is_told(script: Script) -> None:
    told: list[list[Result] | Exception] = []
    script.gate.clear()

    async def serve() -> None:
        async with asyncio.TaskGroup() as group:
            collected = Renewals(script, group)
            collected.submit("acme", ids(1), told.append)
            await script.called.wait()
            collected.submit("acme", ids(2), told.append)
            await asyncio.Event().wait()

    serving = asyncio.ensure_future(serve())
    await script.called.wait()
    await asyncio.sleep(0)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    assert [told_one.code for told_one in told if isinstance(told_one, Problem)] == ["draining"] * 2


async def test_a_full_batch_does_not_wait_for_the_one_before_it_but_a_third_does(
    script: Script,
) -> None:
    script.gate.clear()
    async with asyncio.TaskGroup() as group:
        collected = Renewals(script, group)
        answers = [
            asyncio.ensure_future(collected.renew("acme", ids(*range(500)))) for _ in range(3)
        ]
        await script.called.wait()
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(script.calls) == 2
        script.gate.set()
        assert await asyncio.gather(*answers) == [list(range(500))] * 3
    assert len(script.calls) == 3


async def test_a_call_that_hangs_holds_up_nobody_else(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asyncio.TaskGroup() as group:
        collected = Renewals(script, group)
        script.gate.clear()
        hanging = asyncio.create_task(collected.renew("acme", ids(1)))
        await script.called.wait()
        waiting = asyncio.create_task(collected.renew("acme", ids(2)))
        await asyncio.sleep(0)
        assert len(script.calls) == 1, "it may still come back soon"
        monkeypatch.setattr(module, "STUCK_SECONDS", -1)
        hung, script.gate = script.gate, asyncio.Event()
        script.gate.set()
        assert await collected.renew("acme", ids(3)) == [3]
        assert await waiting == [2]
        assert not hanging.done()
        hung.set()
        assert await hanging == [1]


async def test_only_requests_of_several_leases_wait_a_moment_for_more(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr("lessor_daemon.leasing.renewals.asyncio.sleep", pause)
    for sizes, waits in (((1, 1), False), ((1, 2), True), ((2,), True), ((500,), False)):
        pauses.clear()
        async with asyncio.TaskGroup() as group:
            collected = Renewals(script, group)
            for size in sizes:
                collected.submit("acme", ids(*range(size)), lambda _: None)
        assert bool(pauses) is waits, sizes


async def test_what_a_batch_logs_carries_its_organization_and_nothing_of_the_first_caller() -> None:
    bound: list[dict[str, object]] = []
    told: list[dict[str, object]] = []

    async def flush(_org: str, renewals: Sequence[Renewal]) -> list[Result]:
        bound.append(dict(logs.bound()))
        return [1] * len(renewals)

    async with asyncio.TaskGroup() as group:
        collected = Renewals(flush, group)
        logs.bind(request="r1", key="k1", org="acme", lease="one")
        collected.submit("acme", ids(1), lambda _: told.append(dict(logs.bound())))
        assert logs.bound()["request"] == "r1", "the caller's own lines keep theirs"
        logs.unbind()
        collected.submit("acme", ids(2), lambda _: told.append(dict(logs.bound())))
    assert bound == [{"org": "acme"}]
    assert told == [{"org": "acme"}] * 2
