"""Outside Linux ``lessor run`` says that it promises less, and keeps what it still promises.

The other platform is a pretended one: what it lacks is taken away.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from lessor.agent.linux import WEAKER_ELSEWHERE
from support.elsewhere import WRAPPER
from support.fake_server import SILENT, WELL
from support.kill_path import (
    KILL_SECONDS,
    STUBBORN,
    last_deadline,
)
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.fake_server import FakeServer
    from support.lessor_run import Run

    Start = Callable[..., Run]

GROUP = f"({STUBBORN}) & {STUBBORN}"
"""Stays in its process group and ignores polite signals."""


@pytest.fixture
def run(start: Start) -> Run:
    """Under way, with its tree."""
    made = start("-l", "kre", "-k", "300ms", "--", "sh", "-c", GROUP, wrapper=WRAPPER)
    made.wait_for_tree(4)
    return made


def test_the_weaker_promise_is_said_at_once_and_the_command_runs(start: Start) -> None:
    run = start("-l", "kre", "--", "sh", "-c", "exit 7", wrapper=WRAPPER)
    assert run.wait() == 7
    assert run.stderr.splitlines() == [f"lessor: {WEAKER_ELSEWHERE}"]


def test_without_an_answer_the_process_group_is_dead_by_the_deadline(
    run: Run, server: FakeServer
) -> None:
    server.mode = SILENT
    deadline = last_deadline(server)
    assert run.dead_after() < deadline + KILL_SECONDS
    server.mode = WELL
    assert run.wait() == 79
    assert not server.leases


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_without_an_agent_the_process_group_is_dead_by_the_deadline(
    run: Run, server: FakeServer, number: signal.Signals
) -> None:
    os.kill(run.agent, number)
    deadline = last_deadline(server)
    assert run.dead_after() < deadline + KILL_SECONDS
    wait_until(lambda: not server.leases, what="the release")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_without_a_leash_the_process_group_is_dead_by_the_deadline(
    run: Run, server: FakeServer, number: signal.Signals
) -> None:
    os.kill(run.leash, number)
    wait_until(lambda: run.process.poll() is not None, 20, "the end of the run")
    assert run.process.returncode == 125
    assert not run.survivors()
    assert not server.leases
