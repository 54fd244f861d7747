"""The control group of a run: its own alone, and gone when the run is."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lessor.agent.cgroup import PREFIX, Cgroup
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.fake_server import FakeServer
    from support.lessor_run import Run

    Start = Callable[..., Run]

IN_A_PID_NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc")
STUBBORN = "trap '' TERM; sleep 1000 & exit 0"
"""Ends and leaves something behind that only a SIGKILL stops."""

SWEPT_BEFORE_IT_IS_ENTERED = """
import os
from lessor.agent.cgroup import Cgroup
group = Cgroup.of_run(bytes(16))
group.make()
if group.path is None:
    raise SystemExit(3)
os.rmdir(group.path)
group.enter()
assert group.path and open(group.path + "/cgroup.procs").read().split() == [str(os.getpid())]
group.leave()
group.remove()
assert not os.path.exists(group.path)
"""


def groups_of(pid: int) -> list[Path]:
    """The control groups of the run whose agent has this pid."""
    own = Cgroup.below_own("any").path
    return [] if own is None else [*Path(own).parent.glob(f"{PREFIX}{pid}-*")]


def is_removed(group: Path) -> bool:
    with suppress(OSError):
        group.rmdir()
    return not group.exists()


def may_unshare() -> bool:
    probe = subprocess.run([*IN_A_PID_NAMESPACE, "true"], capture_output=True, check=False)
    return probe.returncode == 0


def test_what_a_killed_run_left_among_the_control_groups_the_next_one_clears_up(
    start: Start,
) -> None:
    killed = start("-l", "kre", "--", "sleep", "1000")
    killed.event("started")
    groups = groups_of(killed.agent)
    killed.end()
    assert start("-l", "kre", "--", "true").wait() == 0
    assert not any(group.exists() for group in groups)


def test_a_run_of_the_same_pid_in_another_container_has_another_control_group(
    start: Start, server: FakeServer
) -> None:
    if not may_unshare():
        pytest.skip("no pid namespace can be made here")
    one = start("-l", "kre", "--", "sleep", "1000", wrapper=IN_A_PID_NAMESPACE)
    one.event("started")
    other = start(
        "-l", "kre", "-k", "100ms", "--", "sh", "-c", STUBBORN, wrapper=IN_A_PID_NAMESPACE
    )
    assert other.wait() == 0
    renewed = server.count("renew")
    wait_until(lambda: server.count("renew") >= renewed + 2, what="the first run to go on")
    assert one.process.poll() is None
    assert [event["event"] for event in one.events] == ["granted", "started"]
    # To a run out here process 1 lives, so none would ever clear this up.
    one.end()
    wait_until(
        lambda: all(map(is_removed, groups_of(1))), what="the killed run's group to be empty"
    )


def test_a_group_that_was_swept_away_before_it_was_entered_is_made_again() -> None:
    command = [sys.executable, "-c", SWEPT_BEFORE_IT_IS_ENTERED]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 3:
        pytest.skip("no control group can be made here")
    assert (done.returncode, done.stderr) == (0, "")
