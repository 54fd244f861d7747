"""A machine that is suspended and resumes: time that it slept counts."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from support.kill_path import (
    SOON_SECONDS,
    TREES,
    start_tree,
)
from support.suspending import Suspension
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.fake_server import FakeServer
    from support.lessor_run import Run

    Start = Callable[..., Run]


@pytest.fixture
def machine(tmp_path: Path) -> Suspension:
    """What can be suspended."""
    return Suspension(tmp_path)


@pytest.mark.parametrize("tree", sorted(TREES))
@pytest.mark.parametrize("hours", [0.001, 12])
def test_after_a_suspend_past_the_deadline_the_tree_is_dead_at_once(
    start: Start, server: FakeServer, machine: Suspension, tree: str, hours: float
) -> None:
    run = start_tree(start, TREES[tree], wrapper=machine.wrapper)
    resumed = machine.suspend(run.marked(), hours * 3600)
    assert run.dead_after() < resumed + SOON_SECONDS
    assert run.wait() in (79, 125)
    wait_until(lambda: not server.leases, what="the release")


def test_short_suspends_are_counted_and_disturb_nobody(
    start: Start, server: FakeServer, machine: Suspension
) -> None:
    server.ttl_ms = 6_000
    run = start("-l", "kre", "--", "sh", "-c", "sleep 1000", wrapper=machine.wrapper)
    run.event("started")
    for _ in range(5):
        machine.suspend(run.marked(), 1.4)  # nearly until the next renewal is due
        renewals = server.count("renew")
        wait_until(lambda seen=renewals: server.count("renew") > seen, what="a renewal")  # type: ignore[misc]  # mypy cannot type a lambda's default
    assert run.survivors()
    assert not any(event["event"] in ("lost", "stopped") for event in run.events)
    os.kill(run.agent, signal.SIGTERM)
    assert run.wait() == 128 + signal.SIGTERM
