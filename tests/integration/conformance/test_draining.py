"""Who drains still renews and releases, over every transport."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from support.streaming import StreamCaller
from support.waiting import wait_until

if TYPE_CHECKING:
    from support.daemon import DaemonProcess

    from .conftest import Calls


@pytest.fixture
def daemon(own_daemon: DaemonProcess) -> DaemonProcess:
    """One for each test, which stops it."""
    return own_daemon


def test_a_draining_daemon_grants_nothing_and_keeps_renewing(
    daemon: DaemonProcess, caller: Calls
) -> None:
    lease_id = caller.acquire().body["lease"]["id"]
    # An open stream is a call under way: the daemon does not leave before it is closed.
    with StreamCaller(daemon.url, daemon.key()):
        daemon.signal(signal.SIGTERM)
        wait_until(lambda: daemon.events("draining"), what="the drain")
        refused = caller.acquire()
        assert (refused.status, refused.code) == (503, "draining")
        assert refused.body["retry_after"] >= 1
        assert caller.renew(lease_id).body["renewed"] == [lease_id]
        assert caller.release(lease_id).status == 204
