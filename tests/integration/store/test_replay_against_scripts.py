"""The dry run's replay beside the real scripts: the same runs are served at the same times."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from lessor_daemon.directory.policy import Group, pack_policy
from lessor_daemon.directory.replay import Run, replay
from lessor_daemon.store.scripts import SeatGranted

if TYPE_CHECKING:
    from support.organization import Organization

SEATS = 3
STEP_MS = 1_000
POLICY = (
    Group("release", "team", "release", head_start_ms=6_000, reserve=1),
    Group("nightly", "team", "nightly", cap=1),
)


def some_runs(seed: int) -> list[Run]:
    """Times are whole steps, and no two ask at once."""
    choose = random.Random(seed)
    return [
        Run(
            asked_ms=2 * STEP_MS * number,
            seats=1
            if (team := choose.choice(("release", "nightly", "web", "web"))) == "nightly"
            else choose.choice((1, 1, 1, 2)),
            lasted_ms=STEP_MS * (2 * choose.randint(1, 9) + 1),
            labels={"team": team},
        )
        for number in range(24)
    ]


async def real_waits(acme: Organization, runs: list[Run]) -> list[int]:
    """Each step: what ends is given back, who waits asks again, who comes asks."""
    began: dict[int, int] = {}
    now_ms = 0
    while len(began) < len(runs) or any(
        began[i] + run.lasted_ms >= now_ms for i, run in enumerate(runs)
    ):
        for i, run in enumerate(runs):
            if i in began and began[i] + run.lasted_ms == now_ms:
                await acme.release(i + 1)
                await claim(acme, runs, began, now_ms)
        await claim(acme, runs, began, now_ms)
        running = [i + 1 for i, at in began.items() if at + runs[i].lasted_ms > now_ms]
        if running:
            await acme.renew(*running)
        await acme.pass_time(STEP_MS)
        now_ms += STEP_MS
    return [began[i] - run.asked_ms for i, run in enumerate(runs)]


async def claim(acme: Organization, runs: list[Run], began: dict[int, int], now_ms: int) -> None:
    for i, run in enumerate(runs):
        if run.asked_ms <= now_ms and i not in began:
            outcome = await acme.acquire(i + 1, wait=True, seats=run.seats, labels=dict(run.labels))
            if isinstance(outcome, SeatGranted):
                began[i] = now_ms


@pytest.mark.parametrize("seed", range(4))
async def test_the_replay_serves_as_the_scripts_do(acme: Organization, seed: int) -> None:
    await acme.set_quota(SEATS)
    await acme.set_packed_policy(pack_policy(POLICY))
    runs = some_runs(seed)
    assert await real_waits(acme, runs) == replay(runs, SEATS, POLICY)
