"""Signals to ``lessor run`` off a terminal: CI systems and supervisors send these."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.fake_server import FakeServer
    from support.lessor_run import Run

    Start = Callable[..., Run]

LOOP = "while :; do sleep 0.05; done"


def start_shell(start: Start, script: str, *options: str) -> Run:
    """A shell that has said ``begun``."""
    run = start("-l", "kre", *options, "--", "sh", "-c", f"{script}; echo begun; {LOOP}")
    assert run.process.stdout is not None
    assert run.process.stdout.readline() == b"begun\n"
    run.event("started")
    return run


def tell(run: Run, signum: signal.Signals) -> None:
    os.kill(run.agent, signum)


@pytest.mark.parametrize(
    "signum",
    [
        signal.SIGINT,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGWINCH,
        signal.SIGTERM,
    ],
)
def test_signals_reach_the_command(start: Start, signum: signal.Signals) -> None:
    run = start_shell(start, f"trap 'exit 9' {signum.name[3:]}")
    tell(run, signum)
    assert run.wait() == 9
    assert not run.survivors()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
def test_a_command_that_a_signal_ends_is_128_plus_its_number(
    start: Start, server: FakeServer, signum: signal.Signals
) -> None:
    run = start("-l", "kre", "--", "sleep", "1000")
    run.event("started")
    tell(run, signum)
    assert run.wait() == 128 + signum
    assert not server.leases


def test_the_tree_is_stopped_with_the_signal_that_was_asked_for(start: Start) -> None:
    run = start_shell(start, "trap '' TERM; trap 'exit 9' INT", "--signal", "INT")
    tell(run, signal.SIGTERM)
    assert run.wait() == 9


def test_after_sigterm_a_stubborn_command_is_killed_and_the_lease_is_kept_until_then(
    start: Start, server: FakeServer
) -> None:
    server.ttl_ms = 1_000
    run = start_shell(start, "trap '' TERM", "--kill-after", "2s")
    told = time.monotonic()
    tell(run, signal.SIGTERM)
    assert run.wait() == 128 + signal.SIGKILL
    assert 1.9 < time.monotonic() - told < 4
    assert not run.survivors()
    assert not any(event["event"] == "lost" for event in run.events)


def test_a_second_interrupt_stops_the_tree_and_a_third_kills_it(start: Start) -> None:
    run = start_shell(start, "trap 'echo once' INT; trap 'echo twice' TERM", "-k", "100s")
    assert run.process.stdout is not None
    tell(run, signal.SIGINT)
    assert run.process.stdout.readline() == b"once\n"
    tell(run, signal.SIGINT)
    assert run.process.stdout.readline() == b"twice\n"
    tell(run, signal.SIGINT)
    assert run.wait() == 128 + signal.SIGKILL
    assert not run.survivors()


def test_a_killed_group_of_the_agent_still_leaves_the_leash(
    start: Start, server: FakeServer
) -> None:
    run = start("-l", "kre", "--", "sleep", "1000", process_group=0)
    run.event("started")
    os.killpg(run.agent, signal.SIGKILL)
    run.dead_after()
    assert run.wait() == -signal.SIGKILL
    wait_until(lambda: not server.leases, what="the release")


def test_what_the_command_starts_while_it_is_stopping_is_asked_to_stop_too(start: Start) -> None:
    run = start_shell(start, "trap 'sleep 1000 & exit 9' TERM", "--kill-after", "100s")
    tell(run, signal.SIGTERM)
    assert run.wait() == 9
    assert not run.survivors()


def test_a_command_stopped_from_elsewhere_keeps_its_lease_and_can_still_be_ended(
    start: Start, server: FakeServer
) -> None:
    server.ttl_ms = 1_000
    run = start("-l", "kre", "--", "sleep", "1000")
    os.kill(run.child, signal.SIGSTOP)
    renewals = server.count("renew")
    wait_until(lambda: server.count("renew") > renewals + 6, what="it to outlive its first ttl")
    tell(run, signal.SIGTERM)
    assert run.wait() == 128 + signal.SIGTERM
