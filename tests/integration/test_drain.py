"""SIGTERM: finish what has begun, grant nothing more, go."""

from __future__ import annotations

import json
import signal
import time
import uuid
from typing import TYPE_CHECKING, Self

import pytest
from support.raw import RawConnection
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.client import HTTPConnection

    from support.calls import Caller
    from support.daemon import DaemonProcess, MakeDaemon

RENEW = "/v1/leases/renew"


@pytest.fixture
def daemon(own_daemon: DaemonProcess) -> DaemonProcess:
    """One for each test, which stops it."""
    return own_daemon


class CallUnderWay:
    """A renewal whose body is not sent yet."""

    def __init__(self, daemon: DaemonProcess, lease_id: str) -> None:
        self._body = json.dumps({"leases": [lease_id]}).encode()
        self.connection = RawConnection(daemon.url)
        self.connection.send_head(
            RENEW, daemon.key(), Content_Length=str(len(self._body)), Expect="100-continue"
        )
        # The server says "continue" once the call is its own.
        assert self.connection.read_answer()[0] == 100

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def finish(self) -> tuple[int, dict[str, str], object]:
        """Send the body and read the answer."""
        self.connection.send(self._body)
        return self.connection.read_answer()


@pytest.fixture
def lease_id(daemon: DaemonProcess) -> str:
    """A live lease."""
    found: str = daemon.caller().acquire().body["lease"]["id"]
    return found


@pytest.fixture
def kept(daemon: DaemonProcess) -> Iterator[tuple[Caller, HTTPConnection]]:
    """A caller with a connection it has used and keeps."""
    caller = daemon.caller()
    connection = caller.connect()
    caller.call("GET", "/v1/whoami", kept=connection)
    yield caller, connection
    connection.close()


def test_an_idle_daemon_stops_at_once_and_closes_kept_connections(
    daemon: DaemonProcess,
) -> None:
    with RawConnection(daemon.url) as idle:
        idle.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.read_answer()[0] == 200
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < 5
        assert idle.is_closed_within(1)
    assert daemon.events("stopped")


def test_a_call_under_way_is_finished_and_new_leases_are_refused(
    daemon: DaemonProcess, lease_id: str, kept: tuple[Caller, HTTPConnection]
) -> None:
    caller, connection = kept
    with CallUnderWay(daemon, lease_id) as under_way:
        daemon.signal(signal.SIGTERM)
        wait_until(lambda: daemon.events("draining"), what="the drain")
        body = {"id": str(uuid.uuid4()), "license": "kre", "machine": {"id": "m"}}
        body["process"] = {"pid": 1, "command": "c"}
        refusal = caller.call("POST", "/v1/leases", body, kept=connection)
        assert (refusal.status, refusal.code) == (503, "draining")
        assert int(refusal.headers["Retry-After"]) >= 1
        assert refusal.headers["Connection"] == "close"
        unready = daemon.anonymous().call("GET", "/readyz")
        assert (unready.status, unready.code) == (503, "draining")
        assert daemon.caller().renew(lease_id).body["renewed"] == [lease_id]
        status, headers, answer = under_way.finish()
    assert status == 200
    assert headers["connection"] == "close"
    assert isinstance(answer, dict)
    assert answer["renewed"] == [lease_id]
    assert daemon.wait() == 0


def test_a_call_that_does_not_end_is_cut_off_when_the_drain_is_over(
    make_daemon: MakeDaemon,
) -> None:
    daemon = make_daemon("--drain", "500ms")
    daemon.start()
    with CallUnderWay(daemon, str(uuid.uuid4())):
        began = time.monotonic()
        assert daemon.stop() == 0
        assert 0.5 <= time.monotonic() - began < 5


def test_a_second_signal_waits_for_nothing(daemon: DaemonProcess, lease_id: str) -> None:
    with CallUnderWay(daemon, lease_id):
        daemon.signal(signal.SIGINT)
        wait_until(lambda: daemon.events("draining"), what="the drain")
        began = time.monotonic()
        daemon.signal(signal.SIGINT)
        assert daemon.wait() == 0
        assert time.monotonic() - began < 5


def test_leases_survive_a_drain(daemon: DaemonProcess, lease_id: str) -> None:
    assert daemon.stop() == 0
    daemon.start()
    assert daemon.caller().renew(lease_id).body["renewed"] == [lease_id]


def test_a_daemon_that_never_reached_its_store_stops_as_well(
    make_daemon: MakeDaemon,
) -> None:
    daemon = make_daemon("--store", "unix:///does/not/exist")
    daemon.start(until="listening")
    assert daemon.stop() == 0
