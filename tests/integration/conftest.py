"""Fixtures of all tests against a real daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.daemon import DaemonProcess

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """One daemon for tests of a file that leave nothing behind. It logs no mistake of its own."""
    made = DaemonProcess(tmp_path_factory.mktemp("daemon"))
    try:
        made.start()
        yield made
        errors = [line for line in made.log_lines() if line["level"] in ("error", "critical")]
        assert made.stop() == 0
        assert errors == []
    finally:
        made.end()


@pytest.fixture
def daemon(shared: DaemonProcess) -> Iterator[DaemonProcess]:
    """The file's daemon; what a test leaves in its line, its seats and its machines goes.

    A test that stops it, sets licenses or counts what it has done needs ``own_daemon``.
    """
    yield shared
    admin = shared.caller("admin")
    waiting = admin.call("GET", "/v1/orgs/acme/licenses/kre/queue").body["items"]
    held = admin.call("GET", "/v1/leases?limit=500").body["items"]
    for lease_id in (one["id"] for one in (*waiting, *held)):
        # A seat is free at once where its holder gives it back.
        if shared.caller("ci").release(lease_id).status != 204:
            assert admin.release(lease_id).status == 204
    machines = admin.call("POST", "/v1/orgs/acme/machines/remove", {"license": "kre"})
    assert machines.status == 200, machines.body
