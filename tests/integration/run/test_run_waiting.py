"""Waiting for a seat, and getting none: what is said, which exit code, what is left behind."""

from __future__ import annotations

import os
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest
from lessor_protocol.errors import Problem
from support.fake_server import CUT, GARBAGE, SILENT, WELL
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.fake_server import FakeServer
    from support.lessor_run import Run

    Start = Callable[..., Run]


@pytest.fixture
def holder(start: Start, server: FakeServer) -> Run:
    """A run that has the only seat."""
    server.seats = 1
    server.ttl_ms = 20_000
    run = start("-l", "kre", "--label", "branch=main", "--", "sleep", "1000")
    run.event("started")
    return run


def test_who_waits_is_told_who_holds_the_seats_and_starts_when_one_is_free(
    start: Start, server: FakeServer, holder: Run
) -> None:
    run = start("-l", "kre", "--", "echo", "mine now")
    waiting = run.event("waiting")
    assert waiting["position"] == 1
    assert waiting["blocked_by"] == "seats"
    assert waiting["holders"][0]["command"] == "sleep 1000"
    assert "position 1" in run.stderr
    assert "sleep 1000" in run.stderr
    assert "main" in run.stderr
    wait_until(lambda: server.count("acquire") > 5, what="a few more attempts")
    assert run.stderr.count("waiting for a seat") == 1
    os.kill(holder.agent, signal.SIGTERM)
    assert run.output() == b"mine now\n"
    assert run.wait() == 0


@pytest.mark.parametrize("option", [("-n",), ("-w", "0"), ("-w", "300ms")])
@pytest.mark.usefixtures("holder")
def test_no_seat_within_the_wait_is_75_and_says_who_and_what_to_do(
    start: Start, server: FakeServer, option: tuple[str, ...]
) -> None:
    run = start("-l", "kre", *option, "--", "true")
    assert run.wait() == 75
    assert "all seats are taken" in run.stderr
    assert "sleep 1000" in run.stderr
    assert "--wait" in run.stderr
    assert not server.waiting


@pytest.mark.usefixtures("holder")
def test_the_code_for_no_seat_can_be_chosen(start: Start) -> None:
    assert start("-l", "kre", "-n", "-E", "33", "--", "true").wait() == 33


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
@pytest.mark.usefixtures("holder")
def test_a_signal_while_waiting_gives_the_place_back(
    start: Start, server: FakeServer, signum: signal.Signals
) -> None:
    run = start("-l", "kre", "--", "true")
    run.event("waiting")
    os.kill(run.agent, signum)
    assert run.wait() == 128 + signum
    assert not server.waiting
    assert len(server.leases) == 1


@pytest.mark.usefixtures("holder")
def test_a_second_signal_while_waiting_ends_at_once(start: Start, server: FakeServer) -> None:
    run = start("-l", "kre", "--", "true")
    run.event("waiting")
    server.mode = SILENT
    os.kill(run.agent, signal.SIGINT)
    wait_until(lambda: "no longer waiting" in run.stderr, what="the first one to be noticed")
    told = time.monotonic()
    os.kill(run.agent, signal.SIGINT)
    assert run.wait() == 128 + signal.SIGINT
    assert time.monotonic() < told + 2


def test_a_second_signal_while_the_seat_is_given_back_leaves_that_to_the_leash(
    start: Start, server: FakeServer
) -> None:
    run = start("-l", "kre", "--", "sleep", "1000")
    run.event("started")
    server.mode = SILENT
    os.kill(run.agent, signal.SIGHUP)
    wait_until(lambda: server.count("release"), what="the agent to give it back")
    told = time.monotonic()
    os.kill(run.agent, signal.SIGHUP)
    assert run.wait() == 128 + signal.SIGHUP
    assert time.monotonic() < told + 2
    server.mode = WELL
    asked = server.count("release")
    wait_until(lambda: server.count("release") > asked, what="the leash to give it back")


@pytest.mark.usefixtures("holder")
def test_an_agent_killed_while_waiting_leaves_no_place_in_the_queue(
    start: Start, server: FakeServer
) -> None:
    run = start("-l", "kre", "--", "true")
    run.event("waiting")
    os.kill(run.agent, signal.SIGKILL)
    wait_until(lambda: not server.waiting, what="the leash to withdraw the ticket")


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        ("unauthenticated", 77),
        ("revoked", 77),
        ("forbidden", 77),
        ("license_expired", 77),
        ("unknown_license", 77),
        ("not_registered_user", 77),
        ("invalid", 78),
        ("lease_ended", 75),
        ("conflict", 125),
    ],
)
def test_a_refusal_for_good_has_its_own_exit_code(
    start: Start, server: FakeServer, code: str, exit_code: int
) -> None:
    server.refusal = Problem(code, "because it is so")
    run = start("-l", "kre", "--", "true")
    assert run.wait() == exit_code
    assert "because it is so" in run.stderr
    assert server.count("acquire") == 1


def test_a_refusal_cannot_write_to_the_terminal_what_it_likes(
    start: Start, server: FakeServer
) -> None:
    server.refusal = Problem("forbidden", "red\x1b[31m\nlessor: all is well")
    run = start("-l", "kre", "--", "true")
    assert run.wait() == 77
    assert "\x1b" not in run.stderr
    assert run.stderr.count("\n") == 1


def test_a_server_that_recovers_is_waited_for(start: Start, server: FakeServer) -> None:
    server.refusal = Problem("recovering", "the store lost its memory", retry_after=0.05)
    run = start("-l", "kre", "--", "true")
    run.event("waiting")
    server.refusal = None
    assert run.wait() == 0


def test_why_there_is_no_seat_yet_is_told_once(start: Start, server: FakeServer) -> None:
    server.refusal = Problem("store_unavailable", "the store cannot be used now", retry_after=0.05)
    run = start("-l", "kre", "--", "true")
    wait_until(lambda: server.count("acquire") > 2, what="a few attempts")
    server.refusal = None
    assert run.wait() == 0
    assert run.stderr.count("no seat yet: the store cannot be used now") == 1


def test_who_gives_up_on_a_server_that_recovers_leaves_its_line(
    start: Start, server: FakeServer
) -> None:
    server.refusal = Problem("recovering", "the store lost its memory", retry_after=0.05)
    assert start("-l", "kre", "-w", "0.3", "--", "true").wait() == 75
    assert server.count("release") == 1


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port whose connections nobody ever accepts or answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_no_server_in_time_is_69(start: Start, silent_port: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closing:
        refused = closing.getsockname()[1]
    for url in (
        f"http://127.0.0.1:{refused}",
        f"http://127.0.0.1:{silent_port}",
        "http://no-such-host.invalid:7420",
        f"http://127.0.0.1:{refused},http://127.0.0.1:{silent_port}",
    ):
        began = time.monotonic()
        run = start("-l", "kre", "--connect-timeout", "500ms", "--", "true", url=url)
        assert run.wait() == 69, url
        assert time.monotonic() < began + 5
        assert "no server could be reached" in run.stderr
        assert not run.survivors()


@pytest.mark.parametrize("mode", [GARBAGE, CUT, SILENT])
def test_a_server_out_of_its_mind_is_69_unless_it_comes_back_in_time(
    start: Start, server: FakeServer, mode: str
) -> None:
    server.mode = mode
    run = start("-l", "kre", "--connect-timeout", "500ms", "--", "true")
    assert run.wait() == 69
    run = start("-l", "kre", "--connect-timeout", "20s", "--", "true")
    asked = server.count("acquire")
    wait_until(lambda: server.count("acquire") > asked, what="an attempt")
    server.mode = WELL
    assert run.wait() == 0
    assert not server.leases


@pytest.mark.parametrize("url", ["", "ftp://127.0.0.1:1", "http://", "127.0.0.1:7420"])
def test_a_url_that_cannot_work_is_78(start: Start, url: str) -> None:
    run = start("-l", "kre", "--", "true", url=url)
    assert run.wait() == 78
    assert "LESSOR_URL" in run.stderr or "URL" in run.stderr


@pytest.mark.usefixtures("holder")
def test_quiet_says_nothing_while_it_waits(start: Start) -> None:
    run = start("-q", "-l", "kre", "-w", "300ms", "--", "true")
    run.event("waiting")
    assert "waiting" not in run.stderr
    assert run.wait() == 75
    assert "no seat" in run.stderr
