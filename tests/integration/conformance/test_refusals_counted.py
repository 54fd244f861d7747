"""``lessor_denied_total``, ``lessor_acquire_total``: every refused acquire, whatever refused it."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

import pytest
from support.calls import Caller
from support.streaming import StreamCaller

if TYPE_CHECKING:
    from support.daemon import DaemonProcess

    from .conftest import Calls


@pytest.fixture
def daemon(own_daemon: DaemonProcess) -> DaemonProcess:
    """One for each test: what it counts begins at zero."""
    return own_daemon


def counted(daemon: DaemonProcess) -> tuple[dict[str, float], float]:
    """Refused acquires by code, and as outcome of a call."""
    text = daemon.anonymous().call("GET", "/metrics").body
    codes = re.findall(r'^lessor_denied_total{code="(.+)"} (.+)$', text, re.MULTILINE)
    results = re.findall(r'^lessor_acquire_total{result="denied"} (.+)$', text, re.MULTILINE)
    return {code: float(count) for code, count in codes}, sum(map(float, results))


def test_what_bodies_and_licenses_cause_is_counted_once(
    daemon: DaemonProcess, caller: Calls
) -> None:
    assert caller.acquire(seats=-1).code == "invalid"
    assert caller.acquire("none").code == "unknown_license"
    assert caller.acquire("none", wait=5, hold=1).code == "unknown_license"
    assert [caller.acquire().status for _ in range(3)] == [201, 201, 409]
    assert caller.renew(str(uuid.uuid4())).status == 200
    expected = {"invalid": 1.0, "unknown_license": 2.0, "seats_exhausted": 1.0}
    assert counted(daemon) == (expected, 4.0)


@pytest.mark.parametrize("key", ["lsr_nobody_knows", "gone", "reader"])
def test_a_key_that_does_not_hold_is_counted_by_its_code(daemon: DaemonProcess, key: str) -> None:
    caller = Caller(daemon.url, key if key.startswith("lsr_") else daemon.key(key))
    code = caller.acquire().code
    assert code in ("unauthenticated", "revoked", "forbidden")
    caller.renew(str(uuid.uuid4()))
    caller.call("GET", "/v1/leases")
    assert counted(daemon) == ({code: 1.0}, 1.0)


def test_a_key_that_is_revoked_while_its_stream_is_open_is_counted(daemon: DaemonProcess) -> None:
    admin = daemon.caller("admin")
    (key_id,) = [
        one["id"]
        for one in admin.call("GET", "/v1/orgs/acme/keys").body["items"]
        if one["name"] == "ci"
    ]
    with StreamCaller(daemon.url, daemon.key()) as stream:
        assert admin.call("DELETE", f"/v1/orgs/acme/keys/{key_id}").status in (200, 204)
        assert stream.acquire().code == "revoked"
        assert counted(daemon) == ({"revoked": 1.0}, 1.0)
