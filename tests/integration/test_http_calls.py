"""The HTTP surface of a real daemon, seen from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from support.daemon import DaemonProcess


def test_a_seat_is_granted_renewed_and_released(daemon: DaemonProcess) -> None:
    caller = daemon.caller()
    granted = caller.acquire()
    assert granted.status == 201
    lease = granted.body["lease"]
    assert caller.renew(lease["id"]).body["renewed"] == [lease["id"]]
    assert caller.release(lease["id"]).status == 204
    assert caller.release(lease["id"]).status == 204
    assert caller.renew(lease["id"]).body["lost"][0]["code"] == "lease_ended"
