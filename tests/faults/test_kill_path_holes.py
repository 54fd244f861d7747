"""What two processes cannot prevent, by name and size: the holes of docs/guarantees.md.

Agent and leash are stopped first and only then killed, so that neither sees the other die.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
from support.kill_path import (
    ESCAPING,
    PATHS,
    SOON_SECONDS,
    TREES,
    last_deadline,
    start_tree,
)
from support.lessor_run import is_alive, is_stopped
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.fake_server import FakeServer
    from support.lessor_run import Run

    Start = Callable[..., Run]


@pytest.fixture(params=sorted(PATHS))
def start(request: pytest.FixtureRequest, start: Start) -> Start:
    """A tree found in each of the ways in which it can be."""
    return lambda *arguments, **more: start(*arguments, **{**more, "wrapper": PATHS[request.param]})


LASTING = 4
"""Of the descendants in ``ESCAPING``; others come and go."""


def stop_both(run: Run) -> tuple[int, int]:
    """Agent and leash, frozen."""
    both = run.agent, run.leash
    for pid in both:
        os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: all(map(is_stopped, both)), what="agent and leash to be frozen")
    return both


def kill_both(run: Run) -> float:
    """When it was done."""
    agent, leash = stop_both(run)
    os.kill(leash, signal.SIGKILL)
    os.kill(agent, signal.SIGKILL)
    return time.monotonic()


def test_agent_and_leash_killed_at_once_take_a_command_without_descendants_with_them(
    start: Start,
) -> None:
    run = start("-l", "kre", "--", "sleep", "1000")
    run.wait_for_tree(1)
    killed = kill_both(run)
    assert run.dead_after() < killed + SOON_SECONDS, "the kernel's doing: death with the parent"


def test_agent_and_leash_killed_at_once_leave_the_descendants_of_the_command(
    start: Start, server: FakeServer
) -> None:
    """The hole. Should it close one day, this test is to be turned round."""
    run = start_tree(start, ESCAPING)
    command = run.child
    killed = kill_both(run)
    wait_until(lambda: not is_alive(command), what="the command to die with the leash")
    assert time.monotonic() < killed + SOON_SECONDS
    deadline = last_deadline(server)
    wait_until(lambda: time.monotonic() > deadline + 0.2, what="the deadline")
    assert len(run.survivors()) >= LASTING, "as long as they like"
    assert server.leases, "nobody is left to give the seat back: it is free by lapse"


@pytest.mark.parametrize("tree", sorted(TREES))
@pytest.mark.parametrize("first", ["agent", "leash"])
def test_agent_and_leash_frozen_at_once_stop_the_tree_as_soon_as_one_of_them_thaws(
    start: Start, server: FakeServer, first: str, tree: str
) -> None:
    run = start_tree(start, TREES[tree])
    agent, leash = stop_both(run)
    deadline = last_deadline(server)
    wait_until(lambda: time.monotonic() > deadline + 0.3, what="the deadline")
    assert run.survivors(), "the hole: it runs on until then"
    one, other = (agent, leash) if first == "agent" else (leash, agent)
    os.kill(one, signal.SIGCONT)
    thawed = time.monotonic()
    assert run.dead_after() < thawed + SOON_SECONDS
    if is_alive(other):
        os.kill(other, signal.SIGCONT)
    assert run.wait() in (79, 125)
    wait_until(lambda: not server.leases, what="the release")
