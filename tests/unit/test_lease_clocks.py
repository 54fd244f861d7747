"""The clocks of all organizations: none waits for another's server."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lessor_daemon.leasing import clocks
from lessor_daemon.leasing.clocks import LeaseClocks
from lessor_daemon.leasing.memory import ClockMemory, Remembered
from lessor_daemon.leasing.settings import DURABLE, UNTRUSTED, LeasingSettings
from lessor_daemon.metrics import Metrics
from lessor_daemon.store import directory, scripts
from lessor_daemon.store.scripts import Reading
from structlog.testing import capture_logs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from lessor_daemon.store.scripts import Context

SETTINGS = LeasingSettings(secret=b"", trust=DURABLE, booted_wall_seconds=1_000_000)


def clocks_of(
    directory: Path,
    *,
    boottime_ms: Callable[[], int] = lambda: 0,
    memory: ClockMemory | None = None,
) -> LeaseClocks:
    return LeaseClocks(
        None,  # type: ignore[arg-type]  # nothing but the scripts uses it
        SETTINGS,
        Metrics(),
        memory or ClockMemory(directory / "clocks.json"),
        boottime_ms=boottime_ms,
        wall_ms=lambda: 0,
        on_ended=lambda _org, _ended: None,
    )


class Copy(ClockMemory):
    """Was put there by somebody else; tells what would be written."""

    def __init__(self, clocks: dict[str, Remembered]) -> None:
        super().__init__(Path("clocks.json"))
        self.clocks = clocks
        self.is_copy = True
        self.written: list[set[str]] = []

    def save(self, heard: dict[str, Remembered], *, wall_seconds: float) -> None:  # noqa: ARG002
        self.written.append(set(heard))


async def test_a_server_that_hangs_holds_up_no_clock_but_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    times = itertools.count(0, 600)
    ticked: list[str] = []
    has_ticked_often = asyncio.Event()

    async def tick(_store: object, org: str, _context: Context) -> Reading:
        ticked.append(org)
        if org == "hangs":
            await asyncio.Event().wait()
        if ticked.count(org) == 5:
            has_ticked_often.set()
        return Reading(
            now_ms=next(times), epoch=2, replid="r", recovering_ms=0, next_deadline_ms=None
        )

    monkeypatch.setattr(scripts, "tick", tick)
    monkeypatch.setattr(clocks, "LOOK_EVERY_SECONDS", 0.0)
    lease_clocks = clocks_of(tmp_path, boottime_ms=lambda: next(times))
    for org in ("hangs", "goes"):
        lease_clocks.epoch_of(org)
    looking = asyncio.create_task(lease_clocks._look_after())
    async with asyncio.timeout(10):
        await has_ticked_often.wait()
    looking.cancel()
    await asyncio.wait([looking])
    assert ticked.count("hangs") == 1, "its call is still under way"


async def test_neither_a_full_machine_nor_odd_content_of_the_store_ends_a_task(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    begun: list[str] = []
    have_begun_anew = asyncio.Event()

    def fails(task: str, error: type[Exception]) -> Callable[..., Awaitable[object]]:
        async def fail(*_: object) -> object:
            begun.append(task)
            if min(begun.count("thread"), begun.count("store")) == 2:
                have_begun_anew.set()
            raise error("no room for another thread, or no text")

        return fail

    monkeypatch.setattr(asyncio, "to_thread", fails("thread", RuntimeError))
    monkeypatch.setattr(directory, "organizations", fails("store", ValueError))
    monkeypatch.setattr(clocks, "REMEMBER_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(clocks, "FIND_EVERY_SECONDS", 0.0)
    with capture_logs() as logged:
        running = asyncio.create_task(clocks_of(tmp_path).keep_running())
        async with asyncio.timeout(10):
            await have_begun_anew.wait()
        assert not running.done()
        running.cancel()
        await asyncio.wait([running])
    told = {one["reason"] for one in logged if one["event"] == "task_failed"}
    assert told == {"clocks_not_remembered", "organizations_unknown"}


@pytest.mark.parametrize("hanging", [{"new", "removed"}, {"new"}, {"removed"}, set()])
async def test_the_file_stays_a_copy_until_each_of_its_clocks_has_begun_anew(
    hanging: set[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    everyone = {"heard", "new", "removed"}
    times = itertools.count(0, 600)
    ticked: list[str] = []
    are_heard = asyncio.Event()

    async def tick(_store: object, org: str, context: Context) -> Reading:
        assert context.trust == UNTRUSTED
        ticked.append(org)
        if all(ticked.count(one) >= (1 if one in hanging else 2) for one in everyone):
            are_heard.set()
        if org in hanging:
            await asyncio.Event().wait()
        return Reading(
            now_ms=next(times), epoch=2, replid="r", recovering_ms=0, next_deadline_ms=None
        )

    async def organizations(_store: object) -> list[str]:
        return ["heard", "new"]

    monkeypatch.setattr(scripts, "tick", tick)
    monkeypatch.setattr(directory, "organizations", organizations)
    monkeypatch.setattr(clocks, "LOOK_EVERY_SECONDS", 0.0)
    memory = Copy({"heard": Remembered(1, 0), "removed": Remembered(1, 0)})
    running = asyncio.create_task(
        clocks_of(tmp_path, boottime_ms=lambda: next(times), memory=memory).keep_running()
    )
    async with asyncio.timeout(10):
        await are_heard.wait()
    running.cancel()
    await asyncio.wait([running])
    assert memory.written == ([] if hanging else [everyone])
