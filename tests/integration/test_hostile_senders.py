"""Slow, silent and numerous connections: they are cut off in time, and the others are served."""

from __future__ import annotations

import statistics
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from support.raw import RawConnection
from support.waiting import wait_until

if TYPE_CHECKING:
    from support.daemon import DaemonProcess, MakeDaemon

SENDERS = 210
PATIENCE_SECONDS = 10
"""For the head of a request, and for its body."""
SLACK_SECONDS = 8


def test_two_hundred_slow_and_half_open_senders_are_cut_off_while_others_are_served(
    daemon: DaemonProcess,
) -> None:
    key = daemon.key()
    caller = daemon.caller()
    with ExitStack() as stack:
        senders = [stack.enter_context(RawConnection(daemon.url)) for _ in range(SENDERS)]
        silent, slow_heads, slow_bodies = senders[::3], senders[1::3], senders[2::3]
        for sender in slow_heads:
            sender.send(b"GET /livez HTTP/1.1\r\nHost: ")
        for sender in slow_bodies:
            sender.send_head("/v1/leases", key, Content_Length="100000")
        began = time.monotonic()
        took = []
        while time.monotonic() - began < PATIENCE_SECONDS - 2:
            for sender in slow_heads:
                sender.send(b"x")
            for sender in slow_bodies:
                sender.send(b" ")
            called = time.monotonic()
            granted = caller.acquire()
            assert granted.status == 201
            assert caller.release(granted.body["lease"]["id"]).status == 204
            took.append(time.monotonic() - called)
        assert statistics.median(took) < 1
        for sender in (*silent, *slow_heads):
            left = began + PATIENCE_SECONDS + SLACK_SECONDS - time.monotonic()
            assert sender.is_closed_within(max(left, 0.1))
        for sender in slow_bodies:
            status, headers, body = sender.read_answer()
            assert (status, body["code"]) == (400, "malformed")
            assert headers["connection"] == "close"
    open_now = "lessor_connections 1.0"
    wait_until(
        lambda: open_now in daemon.anonymous().call("GET", "/metrics").body,
        what="only the asking connection to be left",
    )


def test_connections_beyond_the_limit_are_told_to_come_back(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon("--max-connections", "20")
    daemon.start()
    with ExitStack() as stack:
        for _ in range(20):
            held = stack.enter_context(RawConnection(daemon.url))
            held.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert held.read_answer()[0] == 200
        refused = daemon.anonymous().call("GET", "/livez")
        assert (refused.status, refused.code) == (429, "rate_limited")
        assert refused.headers["Retry-After"] == "1"
        assert refused.headers["Lessor-Request-Id"]
    wait_until(
        lambda: daemon.anonymous().call("GET", "/livez").status == 200,
        what="the connections to be free again",
    )


def test_a_client_that_pipelines_gets_its_answers_in_order(daemon: DaemonProcess) -> None:
    with RawConnection(daemon.url) as connection:
        connection.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
        assert [connection.read_answer()[0] for _ in range(50)] == [200] * 50
