"""The clocks of all organizations: none waits for another's server."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

from lessor_daemon.leasing import clocks
from lessor_daemon.leasing.clocks import LeaseClocks
from lessor_daemon.leasing.memory import ClockMemory
from lessor_daemon.leasing.settings import DURABLE, LeasingSettings
from lessor_daemon.metrics import Metrics
from lessor_daemon.store import scripts
from lessor_daemon.store.scripts import Reading

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from lessor_daemon.store.scripts import Context

SETTINGS = LeasingSettings(secret=b"", trust=DURABLE, booted_wall_seconds=1_000_000)


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
    lease_clocks = LeaseClocks(
        None,  # type: ignore[arg-type]  # nothing but the scripts uses it
        SETTINGS,
        Metrics(),
        ClockMemory(tmp_path / "clocks.json"),
        boottime_ms=lambda: next(times),
        wall_ms=lambda: 0,
        on_ended=lambda _org, _ended: None,
    )
    for org in ("hangs", "goes"):
        lease_clocks.epoch_of(org)
    looking = asyncio.create_task(lease_clocks._look_after())
    async with asyncio.timeout(10):
        await has_ticked_often.wait()
    looking.cancel()
    await asyncio.wait([looking])
    assert ticked.count("hangs") == 1, "its call is still under way"
