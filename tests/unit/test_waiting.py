"""When a call that was held in vain may be repeated without asking the store."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from lessor_daemon.directory.callers import RUN, Caller
from lessor_daemon.leasing import waiting
from lessor_daemon.leasing.service import Granted, Leasing
from lessor_daemon.leasing.waiting import (
    REPEATED_WITHIN_MS,
    TOLD_ANEW_MS,
    Place,
    Waiting,
)
from lessor_protocol.messages import AcquireRequest, Machine, Process
from lessor_protocol.queued import Queued
from support.waiting import wait_until_async

if TYPE_CHECKING:
    from collections.abc import Callable

ID = bytes(16)
ADA = Caller("k1", "ci", "acme", None, None, frozenset({RUN}))
BOB = Caller("k2", "ci", "acme", None, None, frozenset({RUN}))


class Line:
    """One waiter of a daemon, third in line, with a store and time that do as the test says."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000
        self.position = 3
        self.recovering_ms = 0
        self.asked: list[str] = []
        self.waiting = Waiting(
            cast("Any", None), cast("Any", self), boottime_ms=lambda: self.now_ms
        )

    async def run(self, org: str, _script: object) -> tuple[object, list[int]]:
        """What ``keep`` would find; the organization ``hangs`` has a server that does."""
        self.asked.append(org)
        if org == "hangs":
            await asyncio.Event().wait()
        return SimpleNamespace(recovering_ms=self.recovering_ms), [self.position]

    def place(self, *, told_ms: int | None = None) -> Place:
        told = Queued(7, 3, "seats", [], 0)
        at_ms = self.now_ms if told_ms is None else told_ms
        return Place(told, 30_000, ADA, wanted().content(), at_ms)

    async def hold_in_vain(self, place: Place, *, is_kept: bool = True) -> None:
        """A call that comes back with what it was told when it began."""
        with self.waiting.turn_of("acme", ID, lambda: True) as turn:
            if is_kept:
                await self.waiting._keep("acme", [ID])
            self.now_ms += 1_000
            self.waiting.held_in_vain(ID, turn, place)

    def recall(self, caller: Caller = ADA, command: str = "pytest") -> Place | None:
        return self.waiting.recall(caller, wanted(command))


def wanted(command: str = "pytest") -> AcquireRequest:
    return AcquireRequest(ID, "kre", Machine("m1"), Process(7, command), wait_ms=60_000)


async def test_what_a_call_was_told_holds_for_the_one_that_follows_it_and_no_longer() -> None:
    line = Line()
    place = line.place()
    await line.hold_in_vain(place)
    line.now_ms += REPEATED_WITHIN_MS
    assert line.recall() is place
    assert line.recall() is None, "it was for one call"
    await line.hold_in_vain(place)
    line.now_ms += REPEATED_WITHIN_MS + 1
    assert line.recall() is None


async def test_places_are_kept_while_another_organizations_server_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting, "KEEP_EVERY_SECONDS", 0.001)
    line = Line()

    async def has_been_kept_again() -> bool:
        return line.asked.count("goes") >= 3

    with (
        line.waiting.turn_of("goes", ID, lambda: True),
        line.waiting.turn_of("hangs", bytes(15) + b"1", lambda: True),
    ):
        keeping = asyncio.create_task(line.waiting._keep_places())
        await wait_until_async(has_been_kept_again, what="the places of who goes to be kept")
        keeping.cancel()
    assert line.asked.count("hangs") == 1, "it is under way"


async def test_it_holds_for_the_same_caller_with_the_same_wish() -> None:
    line = Line()
    await line.hold_in_vain(line.place())
    assert line.recall(BOB) is None
    await line.hold_in_vain(line.place())
    assert line.recall(command="rm") is None


async def moved(line: Line) -> None:
    line.position = 2
    await line.hold_in_vain(line.place())


async def left(line: Line) -> None:
    line.position = 0
    await line.hold_in_vain(line.place())


async def recovering(line: Line) -> None:
    line.recovering_ms = 5_000
    await line.hold_in_vain(line.place())


async def not_kept(line: Line) -> None:
    await line.hold_in_vain(line.place(), is_kept=False)


async def told_long_ago(line: Line) -> None:
    await line.hold_in_vain(line.place(told_ms=line.now_ms - TOLD_ANEW_MS))


async def offered_between(line: Line) -> None:
    await line.hold_in_vain(line.place())
    line.waiting.offered(ID)


async def woken_between(line: Line) -> None:
    await line.hold_in_vain(line.place())
    line.waiting.wake_all()


@pytest.mark.parametrize(
    "meanwhile",
    [moved, left, recovering, not_kept, told_long_ago, offered_between, woken_between],
)
async def test_the_store_is_asked_where_something_may_have_happened(
    meanwhile: Callable[[Line], Any],
) -> None:
    line = Line()
    await meanwhile(line)
    assert line.recall() is None


class Asked(Leasing):
    """The daemon's part in it; the store grants whatever it is asked for."""

    def __init__(self, line: Line) -> None:
        self._waiting = line.waiting
        self._boottime_ms = lambda: line.now_ms
        self._is_draining = False
        self.times = 0

    async def acquire(self, *_: object, **__: object) -> Granted | Queued:
        self.times += 1
        return Granted(cast("Any", None), is_new=True)


async def still_ada() -> Caller:
    """Her key was not revoked meanwhile."""
    return ADA


async def test_a_call_that_nobody_asked_the_store_about_asks_at_its_end() -> None:
    line = Line()
    place = line.place()
    await line.hold_in_vain(place)
    asked = Asked(line)
    request = wanted()
    request.hold_ms = 1
    assert isinstance(await asked.acquire_held(ADA, request, lambda: True, still_ada), Granted)
    assert asked.times == 1


async def test_a_call_whose_place_was_kept_meanwhile_need_not() -> None:
    line = Line()
    place = line.place()
    await line.hold_in_vain(place)
    asked = Asked(line)
    request = wanted()
    request.hold_ms = 1_000
    call = asyncio.create_task(asked.acquire_held(ADA, request, lambda: True, still_ada))
    await asyncio.sleep(0)
    await line.waiting._keep("acme", [ID])
    assert await call is place.answer
    assert asked.times == 0
