"""Renewals that do not come through: what is retried, and what is told when the lease is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_protocol.errors import Problem
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.fake_server import FakeServer
    from support.lessor_run import Run

    Start = Callable[..., Run]


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
