"""``lessor run`` on a license with an idle time-out: who does nothing is ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.administration import BOOTSTRAP, Acme
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.daemon import MakeDaemon
    from support.lessor_run import Run

    Start = Callable[..., Run]

WITH_TIMEOUT = BOOTSTRAP.replace('kind = "named-user"', 'kind = "named-user"\nidle_timeout = "10s"')


@pytest.fixture
def acme(make_daemon: MakeDaemon) -> Acme:
    """Mary's license has a time-out of ten seconds, by the bootstrap file."""
    daemon = make_daemon(bootstrap=WITH_TIMEOUT.replace('ttl = "30s"', 'ttl = "5s"'))
    daemon.start()
    acme = Acme(daemon)
    acme.post("/licenses/studio/registered-users", {"email": "mary@example.com"})
    return acme


def begin(acme: Acme, start: Start, script: str) -> Run:
    key = {"LESSOR_API_KEY": acme.daemon.key("member")}
    return start("-l", "studio", "--", "sh", "-c", script, url=acme.daemon.url, environ=key)


def test_who_does_nothing_is_warned_and_then_stopped(acme: Acme, start: Start) -> None:
    run = begin(acme, start, "sleep 1000")
    assert run.event("notice", 30)["notice"]["code"] == "idle"
    assert run.wait(30) == 79
    assert "nothing was done here for long: this session ends in 2 s" in run.stderr
    assert "the lease is lost (nothing was done for 10 s)" in run.stderr


@pytest.mark.parametrize(
    "script",
    [
        pytest.param("while :; do echo dot; sleep 0.5; done", id="output"),
        pytest.param("while :; do :; done", id="computing"),
    ],
)
def test_output_or_computing_is_use(acme: Acme, start: Start, script: str) -> None:
    run = begin(acme, start, script)
    lease_id = run.event("started") and run.event("granted")["lease_id"]
    wait_until(
        lambda: acme.get(f"/sessions/{lease_id}").body["duration"] > 14,
        30,
        what="more than the time-out to pass",
    )
    assert acme.get(f"/sessions/{lease_id}").body["state"] == "live"
    assert "nothing was done" not in run.stderr
