"""``lessor run`` against a real daemon on the embedded store."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.daemon import DaemonProcess
    from support.lessor_run import Run

    Start = Callable[..., Run]

BOOTSTRAP = """
[[organization]]
slug = "acme"
[[organization.license]]
name = "kre"
seats = 1
ttl = "20s"
[[organization.key]]
name = "ci"
scopes = ["run"]
secret_file = "ci.key"
[[organization.key]]
name = "admin"
scopes = ["run", "read", "admin"]
secret_file = "admin.key"
"""


@pytest.fixture
def daemon(make_daemon: Callable[..., DaemonProcess]) -> DaemonProcess:
    """A daemon with one seat."""
    made = make_daemon(bootstrap=BOOTSTRAP)
    made.start()
    return made


@pytest.fixture
def begin(start: Start, daemon: DaemonProcess) -> Start:
    """Starts ``lessor run`` against that daemon."""
    environ = {"LESSOR_API_KEY": (daemon.directory / "ci.key").read_text().strip()}
    return lambda *arguments, **more: start(*arguments, url=daemon.url, environ=environ, **more)


def test_a_killed_holders_seat_goes_to_who_waits_at_once(begin: Start, tmp_path: Path) -> None:
    holder = begin("--", "sleep", "1000")
    holder.event("started")
    waiter = begin("--", "touch", str(tmp_path / "ran"))
    assert waiter.event("waiting")["holders"][0]["command"] == "sleep 1000"
    killed = time.monotonic()
    os.kill(holder.agent, signal.SIGKILL)
    assert waiter.wait() == 0
    assert time.monotonic() < killed + 4
    assert (tmp_path / "ran").exists()
    assert not holder.survivors()


def test_who_is_sent_away_from_the_line_hears_so_at_once_and_has_had_no_seat(
    begin: Start, daemon: DaemonProcess
) -> None:
    begin("--", "sleep", "1000").event("started")
    waiter = begin("--", "true")
    waiter.event("waiting")
    admin = daemon.caller("admin")
    (shown,) = admin.call("GET", "/v1/orgs/acme/licenses/kre/queue").body["items"]
    sent_away = time.monotonic()
    assert admin.release(shown["id"]).status == 204
    assert waiter.wait() == 75
    assert time.monotonic() < sent_away + 2, "well before its call would have come back"
    assert "an admin has ended it" in waiter.stderr


def test_a_daemon_killed_and_restarted_disturbs_no_run(begin: Start, daemon: DaemonProcess) -> None:
    run = begin("--", "cat", stdin=-1)
    run.event("started")
    daemon.signal(signal.SIGKILL)
    daemon.wait()
    run.event("renew_failed")
    daemon.start()
    wait_until(lambda: "renewed again" in run.stderr, seconds=20.0, what="the renewal")
    assert run.process.stdin is not None
    run.process.stdin.close()
    assert run.wait() == 0
    assert [event["event"] for event in run.events if event["event"] != "renew_failed"] == [
        "granted",
        "started",
        "stopped",
        "released",
    ]


def test_a_range_of_seats_takes_what_is_free_and_tells_the_command_how_many(
    start: Start, make_daemon: Callable[..., DaemonProcess], tmp_path: Path
) -> None:
    daemon = make_daemon(bootstrap=BOOTSTRAP.replace("seats = 1", "seats = 5"))
    daemon.start()
    environ = {"LESSOR_API_KEY": (daemon.directory / "ci.key").read_text().strip()}

    def begin(*arguments: str) -> Run:
        return start(*arguments, url=daemon.url, environ=environ)

    holder = begin("-N", "2", "--", "sleep", "1000")
    holder.event("started")
    counted = tmp_path / "count"
    ranged = begin("-N", "2..8", "--", "sh", "-c", f"echo $LESSOR_COUNT > {counted}")
    assert ranged.wait() == 0
    assert counted.read_text() == "3\n"
    refused = begin("-N", "6", "-w", "5s", "--", "true")
    assert refused.wait() == 78
    assert "at most 5 seats of 'kre' can be free at once" in refused.stderr
