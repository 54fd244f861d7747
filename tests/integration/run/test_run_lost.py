"""Renewals that do not come through: what is retried, and what is told when the lease is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lessor_protocol.errors import Problem
from support.fake_server import CUT, SILENT
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.fake_server import FakeServer
    from support.lessor_run import Run

    Start = Callable[..., Run]

LOST = 79


def test_a_path_that_is_not_served_for_a_while_ends_no_run(
    start: Start, server: FakeServer
) -> None:
    run = start("-l", "kre", "--", "sleep", "1000")
    run.event("started")
    server.renew_refusal = Problem("not_found", "nothing is served at this path")
    assert "leads to no Lessor" in run.event("renew_failed")["reason"]
    server.renew_refusal = None
    wait_until(lambda: "renewed again" in run.stderr, what="the next renewal")
    assert not [one for one in run.events if one["event"] == "lost"]


@pytest.mark.parametrize("is_frozen", [True, False])
def test_a_lease_that_was_not_renewed_in_time_is_told_as_lost_once(
    start: Start, server: FakeServer, *, is_frozen: bool
) -> None:
    run = start("-l", "kre", "--", "sleep", "1000")
    run.event("started")
    server.mode = SILENT if is_frozen else CUT
    assert run.wait() == LOST
    told = [one["event"] for one in run.events if one["event"] != "renew_failed"]
    assert told == ["granted", "started", "lost", "stopped"]
    lost = run.event("lost")
    assert lost["code"] == "expired"
    assert lost["reason"]
    assert run.event("stopped")["why"] == "deadline"
    assert run.stderr.count("the command is stopped") == 1
