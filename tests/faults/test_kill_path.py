"""Whatever dies or freezes, the whole tree is dead by the deadline and the seat comes back.

Real processes, a fake server with a ttl of a few seconds. The deadline that counts is the one of
the last renewal the server answered: ``log`` has its arrival, which is later than its sending.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from support.fake_server import CUT, SILENT, WELL
from support.kill_path import (
    KILL_SECONDS,
    PATHS,
    SOON_SECONDS,
    STUBBORN,
    TREES,
    last,
    last_deadline,
    start_tree,
)
from support.lessor_run import is_alive
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.fake_server import FakeServer
    from support.lessor_run import Run

    Start = Callable[..., Run]


@pytest.fixture(params=sorted(TREES))
def tree(request: pytest.FixtureRequest) -> str:
    """The shell text of a tree that is hard to stop."""
    return TREES[request.param]


@pytest.fixture(params=sorted(PATHS))
def start(request: pytest.FixtureRequest, start: Start) -> Start:
    """A tree found in each of the ways in which it can be."""
    return lambda *arguments, **more: start(
        *arguments, **{**more, "wrapper": (*more.get("wrapper", ()), *PATHS[request.param])}
    )


def test_a_killed_agent_takes_the_whole_tree_with_it_and_the_seat_is_back_at_once(
    start: Start, server: FakeServer, tree: str
) -> None:
    run = start_tree(start, tree)
    leash = run.leash
    killed = time.monotonic()
    os.kill(run.agent, signal.SIGKILL)
    assert run.dead_after() < killed + 2
    wait_until(lambda: not server.leases, what="the release")
    assert last(server, "release") < killed + 2.5
    wait_until(lambda: not is_alive(leash), what="the leash to end")


def test_a_frozen_agent_loses_the_tree_by_the_deadline_and_the_leash_gives_the_seat_back(
    start: Start, server: FakeServer, tree: str
) -> None:
    run = start_tree(start, tree)
    os.kill(run.agent, signal.SIGSTOP)
    deadline = last_deadline(server)
    assert run.dead_after() < deadline + KILL_SECONDS
    wait_until(lambda: not server.leases, what="the release")
    os.kill(run.agent, signal.SIGCONT)
    assert run.wait() == 79


def test_an_agent_that_freezes_while_it_gives_the_seat_back_has_it_given_back_by_the_leash(
    start: Start, server: FakeServer
) -> None:
    server.ttl_ms = 60_000
    run = start("-l", "kre", "--", "sleep", "1000")
    leash = run.leash
    server.mode = SILENT
    os.kill(run.child, signal.SIGKILL)
    wait_until(lambda: server.count("release") == 1, what="the agent's release")
    os.kill(run.agent, signal.SIGSTOP)
    frozen = time.monotonic()
    server.mode = WELL
    wait_until(lambda: server.count("release") == 2, what="the leash's release")
    assert last(server, "release") < frozen + 8
    wait_until(lambda: not is_alive(leash), what="the leash to end")
    os.kill(run.agent, signal.SIGCONT)
    assert run.wait() == 137


def test_a_killed_leash_takes_the_whole_tree_with_it_and_the_run_fails(
    start: Start, server: FakeServer, tree: str
) -> None:
    run = start_tree(start, tree)
    killed = time.monotonic()
    os.kill(run.leash, signal.SIGKILL)
    assert run.dead_after() < killed + 2
    assert run.wait() == 125
    assert not server.leases
    assert "the leash was killed" in run.stderr


def test_a_frozen_leash_is_killed_with_the_tree_by_the_deadline(
    start: Start, server: FakeServer, tree: str
) -> None:
    run = start_tree(start, tree)
    leash = run.leash
    os.kill(leash, signal.SIGSTOP)
    frozen = time.monotonic()
    dead = run.dead_after()
    assert dead < last_deadline(server) + KILL_SECONDS
    assert dead < frozen + 2 * server.ttl_ms / 1000
    assert run.wait() == 125
    assert not is_alive(leash)
    assert not server.leases


def test_a_leash_that_was_frozen_for_a_moment_harms_nobody(
    start: Start, server: FakeServer
) -> None:
    run = start("-l", "kre", "--", "sh", "-c", "sleep 1000")
    wait_until(lambda: server.count("renew"), what="a renewal")
    os.kill(run.leash, signal.SIGSTOP)
    renewals, frozen_at = server.count("renew"), time.monotonic()
    # None follows where it was frozen before it had acknowledged the last one, else one does.
    wait_until(lambda: time.monotonic() > frozen_at + server.ttl_ms / 3000, what="a moment")
    assert server.count("renew") <= renewals + 1
    os.kill(run.leash, signal.SIGCONT)
    wait_until(lambda: server.count("renew") > renewals + 5, what="renewals to go on")
    assert run.survivors()
    os.kill(run.agent, signal.SIGTERM)
    assert run.wait() == 128 + signal.SIGTERM


def test_without_an_answer_the_tree_is_dead_by_the_deadline(
    start: Start, server: FakeServer, tree: str
) -> None:
    run = start_tree(start, tree)
    server.mode = SILENT
    deadline = last_deadline(server)
    assert run.dead_after() < deadline + KILL_SECONDS
    server.mode = WELL
    assert run.wait() == 79


def test_an_outage_of_half_a_ttl_disturbs_nobody(start: Start, server: FakeServer) -> None:
    run = start("-l", "kre", "-k", "5s", "--", "sh", "-c", "sleep 1000")
    run.event("started")
    for mode in (SILENT, CUT):
        renewals = server.count("renew")
        wait_until(lambda seen=renewals: server.count("renew") > seen, what="a renewal")  # type: ignore[misc]  # mypy cannot type a lambda's default
        server.mode = mode
        cut_at = time.monotonic()
        wait_until(lambda at=cut_at: time.monotonic() > at + server.ttl_ms / 2000, what="time")  # type: ignore[misc]  # as above
        server.mode = WELL
        renewals = server.count("renew")
        wait_until(lambda seen=renewals: server.count("renew") > seen + 2, what="more")  # type: ignore[misc]  # as above
    assert run.survivors()
    assert not any(event["event"] in ("lost", "stopped") for event in run.events)
    assert server.count("acquire") == 1
    os.kill(run.agent, signal.SIGTERM)
    assert run.wait() == 128 + signal.SIGTERM


def test_an_ended_lease_stops_the_tree_and_says_why(
    start: Start, server: FakeServer, tree: str
) -> None:
    run = start_tree(start, tree)
    (lease_id,) = server.leases
    server.end(lease_id, "ended by ada@example.com")
    ended = time.monotonic()
    assert run.dead_after() < ended + SOON_SECONDS
    assert run.wait() == 79
    assert "ended by ada@example.com" in run.stderr


def test_with_on_lost_warn_the_tree_outlives_its_lease(start: Start, server: FakeServer) -> None:
    run = start("-l", "kre", "--on-lost", "warn", "--", "sh", "-c", "read line; exit 5", stdin=-1)
    run.event("started")
    (lease_id,) = server.leases
    server.end(lease_id, "ended by ada@example.com")
    run.event("lost")
    assert run.survivors()
    assert run.process.stdin is not None
    run.process.stdin.close()
    assert run.wait() == 5
    assert "THE LEASE IS LOST" in run.stderr


def test_with_on_lost_warn_the_tree_outlives_its_deadline_and_says_so(
    start: Start, server: FakeServer
) -> None:
    run = start("-l", "kre", "--on-lost", "warn", "--", "sh", "-c", "read line; exit 5", stdin=-1)
    run.event("started")
    server.mode = SILENT
    deadline = last_deadline(server)
    run.event("lost")
    wait_until(lambda: time.monotonic() > deadline + 0.5, what="the deadline")
    assert run.survivors()
    assert "THE LEASE IS LOST" in run.stderr
    assert run.process.stdin is not None
    run.process.stdin.close()
    server.mode = WELL
    assert run.wait() == 5


def test_with_on_lost_warn_a_killed_agent_still_takes_the_tree_with_it(
    start: Start, server: FakeServer, tree: str
) -> None:
    run = start_tree(start, tree, "--on-lost", "warn")
    killed = time.monotonic()
    os.kill(run.agent, signal.SIGKILL)
    assert run.dead_after() < killed + SOON_SECONDS
    wait_until(lambda: not server.leases, what="the release")


def test_descendants_that_outlive_the_command_are_named_and_stopped_before_the_release(
    start: Start, server: FakeServer
) -> None:
    run = start("-l", "kre", "--", "sh", "-c", "(setsid sleep 1000 &) & sleep 1000 & exit 4")
    assert run.wait() == 4
    assert not run.survivors()
    assert "sleep (pid" in run.stderr
    assert not server.leases


def test_thousands_of_grandchildren_are_all_stopped(start: Start, server: FakeServer) -> None:
    server.ttl_ms = 5_000
    forking = (
        "import os, time\n"
        "for _ in range(1500):\n"
        "    if os.fork() == 0:\n"
        "        if _ % 2: os.setsid()\n"
        "        time.sleep(1000)\n"
        "time.sleep(1000)\n"
    )
    run = start("-l", "kre", "--", sys.executable, "-c", forking)
    run.wait_for_tree(1_501)
    server.mode = SILENT
    deadline = last_deadline(server)
    assert run.dead_after() < deadline + KILL_SECONDS
    server.mode = WELL
    assert run.wait() in (79, 125), "the agent steps in if the leash is too busy to answer"


def test_a_command_that_forks_on_while_it_is_killed_does_not_escape(
    start: Start, server: FakeServer
) -> None:
    hopping = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "while True:\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        time.sleep(0.01)\n"
        "    else:\n"
        "        time.sleep(0.02)\n"
        "        os._exit(0)\n"
    )
    run = start("-l", "kre", "-k", "300ms", "--", sys.executable, "-c", hopping)
    assert run.wait() == 0
    assert run.dead_after() > 0
    assert not server.leases


def test_a_frozen_leash_does_not_protect_a_command_that_is_to_stop(
    start: Start, server: FakeServer
) -> None:
    server.ttl_ms = 20_000
    run = start("-l", "kre", "-k", "500ms", "--", "sh", "-c", STUBBORN)
    os.kill(run.leash, signal.SIGSTOP)
    told = time.monotonic()
    os.kill(run.agent, signal.SIGTERM)
    assert run.dead_after() < told + 3
    assert run.wait() == 125
    assert not server.leases


def test_a_whole_tree_that_was_frozen_is_dead_right_after_it_thaws(
    start: Start, server: FakeServer, tree: str
) -> None:
    run = start_tree(start, tree)
    frozen = sorted(run.marked())
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    deadline = last_deadline(server)
    wait_until(lambda: time.monotonic() > deadline + 0.2, what="the deadline")
    for pid in frozen:
        with suppress(ProcessLookupError):  # killed already by the one that thawed first
            os.kill(pid, signal.SIGCONT)
    thawed = time.monotonic()
    assert run.dead_after() < thawed + SOON_SECONDS
    assert run.wait() in (79, 125)
    wait_until(lambda: not server.leases, what="the release")
