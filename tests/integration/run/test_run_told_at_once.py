"""``lessor run`` is told between renewals: its session was ended, taken over, withdrawn."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from support.administration import BOOTSTRAP, Acme
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.daemon import MakeDaemon
    from support.lessor_run import Run

    Start = Callable[..., Run]

EXIT_LOST = 79
AT_ONCE_SECONDS = 3.0
"""Far below the 7.5 s between renewals, and enough for a busy machine."""


@pytest.fixture
def acme(make_daemon: MakeDaemon) -> Acme:
    """A daemon with an organization that has admins."""
    daemon = make_daemon(bootstrap=BOOTSTRAP)
    daemon.start()
    return Acme(daemon)


def listening(acme: Acme, start: Start, license: str, machine: str, role: str) -> Run:
    """A run whose watch is held by now."""
    before = acme.daemon.script_calls("news")
    run = start(
        *("-l", license, "-m", machine, "--", "sleep", "1000"),
        url=acme.daemon.url,
        environ={"LESSOR_API_KEY": acme.daemon.key(role)},
    )
    run.event("started")
    wait_until(lambda: acme.daemon.script_calls("news") > before, what="the watch to be held")
    return run


def ends_at_once(run: Run, began: float, text: str) -> None:
    """The command is stopped, and the terminal says why, long before a renewal."""
    assert run.wait() == EXIT_LOST
    assert time.monotonic() - began < AT_ONCE_SECONDS
    assert text in run.event("lost")["reason"]
    assert text in run.stderr


def test_an_ended_session_is_stopped_at_once_and_the_terminal_says_why(
    acme: Acme, start: Start
) -> None:
    run = listening(acme, start, "kre", "rig-1", "run")
    began = time.monotonic()
    acme.post(f"/sessions/{run.event('granted')['lease_id']}/end", {"reason": "the lab closes"})
    ends_at_once(run, began, "olga@example.com ended it: the lab closes")


def test_a_request_to_finish_comes_at_once_and_once(acme: Acme, start: Start) -> None:
    run = listening(acme, start, "kre", "rig-1", "run")
    began = time.monotonic()
    before = acme.daemon.script_calls("news")
    acme.post(f"/sessions/{run.event('granted')['lease_id']}/finish", {"text": "lunch"})
    assert run.event("notice")["notice"]["text"] == "lunch"
    assert time.monotonic() - began < AT_ONCE_SECONDS
    # It watches on, and does not take the same notice for news.
    wait_until(lambda: acme.daemon.script_calls("news") > before + 1, what="the next watch")
    assert run.stderr.count("asks this run to finish: lunch") == 1


def test_a_user_taken_off_the_list_is_stopped_at_once(acme: Acme, start: Start) -> None:
    acme.post("/licenses/studio/registered-users", {"email": "mary@example.com"})
    run = listening(acme, start, "studio", "rig-1", "member")
    began = time.monotonic()
    acme.delete("/licenses/studio/registered-users/mary@example.com")
    ends_at_once(run, began, "the license was withdrawn from you")


def test_the_first_machine_is_told_at_once_that_a_second_took_over(
    acme: Acme, start: Start
) -> None:
    acme.post("/licenses/studio/registered-users", {"email": "mary@example.com"})
    first = listening(acme, start, "studio", "rig-1", "member")
    began = time.monotonic()
    second = start(
        *("-l", "studio", "-m", "rig-2", "--", "sleep", "1000"),
        url=acme.daemon.url,
        environ={"LESSOR_API_KEY": acme.daemon.key("member")},
    )
    second.event("started")
    ends_at_once(first, began, "rig-2")
    assert second.process.poll() is None
