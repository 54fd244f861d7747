"""The kill path where a container stands around: frozen and thawed, and with a full process table.

Each test makes a control group of its own, bounded and ended with it. Where that is not allowed the
test is skipped and says why.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest
from support.control_groups import V1, V2, Freezer, ProcessTable
from support.fake_server import SILENT, WELL
from support.kill_path import (
    ESCAPING,
    KILL_SECONDS,
    PATHS,
    SOON_SECONDS,
    TREES,
    last_deadline,
    start_tree,
)
from support.lessor_run import is_alive
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.fake_server import FakeServer
    from support.lessor_run import Run

    Start = Callable[..., Run]

TABLE_SIZE = 48
STEPPED_IN = 125
"""The agent has killed the tree itself: on a busy machine the leash was too slow to answer."""
FORKING = (
    "import os, time\n"
    "while True:\n"
    "    try:\n"
    "        pid = os.fork()\n"
    "    except OSError:\n"
    "        time.sleep(0.01)\n"
    "    else:\n"
    "        if pid == 0:\n"
    "            os.setsid()\n"
    "            time.sleep(1000)\n"
)
"""Fills the process table, and fills it again as soon as one is killed."""


def freezer_of(version: str) -> Freezer:
    try:
        return Freezer(version)
    except OSError as error:
        pytest.skip(f"no control group can be made and frozen here: {error}")


def table_of(size: int) -> ProcessTable:
    try:
        return ProcessTable(size)
    except OSError as error:
        pytest.skip(f"no control group with a limit of processes can be made here: {error}")


@pytest.fixture(params=[V1, V2])
def container(request: pytest.FixtureRequest) -> Iterator[Freezer]:
    """A control group that can be frozen, of either kind."""
    made = freezer_of(request.param)
    yield made
    made.end()


@pytest.fixture
def table() -> Iterator[ProcessTable]:
    """A control group that holds few processes."""
    made = table_of(TABLE_SIZE)
    yield made
    made.end()


@pytest.mark.parametrize("tree", sorted(TREES))
def test_a_container_frozen_past_the_deadline_is_dead_right_after_it_thaws(
    start: Start, server: FakeServer, container: Freezer, tree: str
) -> None:
    run = start_tree(start, TREES[tree], wrapper=container.wrapper)
    container.freeze()
    deadline = last_deadline(server)
    wait_until(lambda: time.monotonic() > deadline + 0.2, what="the deadline")
    assert run.survivors(), "who is frozen does not die"
    container.thaw()
    thawed = time.monotonic()
    assert run.dead_after() < thawed + SOON_SECONDS
    assert run.wait() in (79, STEPPED_IN)
    wait_until(lambda: not server.leases, what="the release")


def test_a_container_frozen_for_a_third_of_a_ttl_goes_on(
    start: Start, server: FakeServer, container: Freezer
) -> None:
    run = start_tree(start, ESCAPING, wrapper=container.wrapper)
    container.freeze()
    frozen = time.monotonic()
    wait_until(lambda: time.monotonic() > frozen + server.ttl_ms / 3000, what="time to pass")
    container.thaw()
    renewals = server.count("renew")
    wait_until(lambda: server.count("renew") > renewals + 5, what="renewals to go on")
    assert len(run.survivors()) >= 5
    assert not any(event["event"] in ("lost", "stopped") for event in run.events)
    os.kill(run.agent, signal.SIGTERM)
    assert run.wait() in (128 + signal.SIGTERM, STEPPED_IN)


def test_a_command_that_is_frozen_alone_is_dead_by_the_deadline(
    start: Start, server: FakeServer
) -> None:
    frozen = freezer_of(V2)
    try:
        run = start("-l", "kre", "-k", "300ms", "--", *frozen.wrapper, "sh", "-c", ESCAPING)
        run.wait_for_tree(5)
        frozen.freeze()
        server.mode = SILENT
        deadline = last_deadline(server)
        assert run.dead_after() < deadline + KILL_SECONDS
        server.mode = WELL
        assert run.wait() == 79
        assert not server.leases
    finally:
        frozen.end()


def test_a_command_that_the_older_freezer_holds_keeps_its_seat_and_dies_when_it_is_let_go(
    start: Start, server: FakeServer
) -> None:
    """That freezer lets nobody die. Nor does anything in it run, so no promise is broken."""
    frozen = freezer_of(V1)
    try:
        run = start("-l", "kre", "-k", "300ms", "--", *frozen.wrapper, "sh", "-c", ESCAPING)
        run.wait_for_tree(5)
        frozen.freeze()
        server.mode = SILENT
        deadline = last_deadline(server)
        wait_until(lambda: time.monotonic() > deadline + 0.2, what="the deadline")
        server.mode = WELL
        held = run.survivors()
        assert held, "killed, but not dead"
        assert run.process.poll() is None, "nobody says that the tree is gone while it is not"
        assert server.leases
        frozen.thaw()
        thawed = time.monotonic()
        assert run.dead_after() < thawed + SOON_SECONDS
        assert run.wait() in (79, STEPPED_IN)
        assert not server.leases
    finally:
        frozen.end()


@pytest.mark.parametrize("path", sorted(PATHS))
def test_with_a_full_process_table_the_tree_is_dead_by_the_deadline(
    start: Start, server: FakeServer, table: ProcessTable, path: str
) -> None:
    run = fill(start, table, path)
    server.mode = SILENT
    deadline = last_deadline(server)
    assert run.dead_after() < deadline + KILL_SECONDS
    server.mode = WELL
    assert run.wait() in (79, STEPPED_IN)
    assert not server.leases


@pytest.mark.parametrize("path", sorted(PATHS))
def test_with_a_full_process_table_the_leash_stops_all_and_gives_the_seat_back(
    start: Start, server: FakeServer, table: ProcessTable, path: str
) -> None:
    run = fill(start, table, path)
    leash = run.leash
    killed = time.monotonic()
    os.kill(run.agent, signal.SIGKILL)
    assert run.dead_after() < killed + 2
    wait_until(lambda: not server.leases, what="the release")
    wait_until(lambda: not is_alive(leash), what="the leash to end")


def fill(start: Start, table: ProcessTable, path: str) -> Run:
    """A run whose command has filled the table that agent and leash are in as well."""
    wrapper = (*table.wrapper, *PATHS[path])
    command = (sys.executable, "-c", FORKING)
    run = start("-l", "kre", "-k", "300ms", "--", *command, wrapper=wrapper)
    run.event("started")
    wait_until(lambda: table.is_full, what="the table to be full")
    return run


def test_without_room_for_the_command_the_seat_is_given_back(
    start: Start, server: FakeServer
) -> None:
    table = table_of(2)
    try:
        run = start("-l", "kre", "--", "sleep", "1000", wrapper=table.wrapper)
        assert run.wait() == 125
    finally:
        table.end()
    assert run.stderr.splitlines() == ["lessor: sleep: Resource temporarily unavailable"]
    assert server.count("acquire") == 1
    assert not server.leases


def test_without_room_for_the_leash_no_seat_is_asked_for(start: Start, server: FakeServer) -> None:
    table = table_of(1)
    try:
        run = start("-l", "kre", "--", "sleep", "1000", wrapper=table.wrapper)
        assert run.wait() == 125
    finally:
        table.end()
    assert "lessor cannot start" in run.stderr
    assert not server.log
