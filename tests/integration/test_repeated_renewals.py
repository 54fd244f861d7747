"""Renewals that repeat themselves byte for byte mean what they mean the first time."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from support.raw import RawConnection
from support.repeating import ask, known, renewal, until_known, was_taken_apart

if TYPE_CHECKING:
    from support.daemon import DaemonProcess


@pytest.fixture
def lease(daemon: DaemonProcess) -> str:
    granted: str = daemon.caller().acquire().body["lease"]["id"]
    return granted


def test_the_answer_is_the_same_but_for_its_request_id(daemon: DaemonProcess, lease: str) -> None:
    request = renewal(daemon.key(), lease, Never=uuid.uuid4().hex)
    with RawConnection(daemon.url) as connection:
        first, again = ask(connection, request), until_known(connection, request)
    assert was_taken_apart(first)
    assert (first[0], first[2]) == (again[0], again[2])
    ids = {answer[1].pop("lessor-request-id") for answer in (first, again)}
    assert len(ids) == 2
    for answer in (first, again):
        answer[1].pop("date")
    assert first[1] == again[1]


def test_a_head_is_known_on_every_connection_and_with_another_lease(
    daemon: DaemonProcess, lease: str
) -> None:
    other = daemon.caller().acquire().body["lease"]["id"]
    with known(daemon, renewal(daemon.key(), lease)), RawConnection(daemon.url) as connection:
        answer = until_known(connection, renewal(daemon.key(), other))
    assert answer[2]["renewed"] == [other]


def test_a_lease_that_is_lost_is_said_to_be_lost(daemon: DaemonProcess, lease: str) -> None:
    request = renewal(daemon.key(), lease)
    with known(daemon, request) as connection:
        daemon.caller().release(lease)
        lost = ask(connection, request)
        assert lost[2]["lost"][0]["code"] == "lease_ended"
        assert ask(connection, request)[2]["lost"][0]["id"] == lease


def test_a_bad_body_under_a_known_head_is_refused_with_its_path(
    daemon: DaemonProcess, lease: str
) -> None:
    good = renewal(daemon.key(), lease)
    bad = good.replace(lease.encode(), b"x" * len(lease))
    with known(daemon, good) as connection:
        status, _, body = ask(connection, bad)
        assert (status, body["code"], body["field"]) == (422, "invalid", "leases[0]")
        assert ask(connection, good)[2]["renewed"] == [lease]


def test_requests_sent_ahead_are_answered_in_order(daemon: DaemonProcess, lease: str) -> None:
    request = renewal(daemon.key(), lease)
    with known(daemon, request) as connection:
        for _ in range(20):
            connection.send(request)
        connection.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert [connection.read_answer()[2]["renewed"] for _ in range(20)] == [[lease]] * 20
        assert connection.read_answer()[2] == {"status": "alive"}


def test_a_known_head_inside_another_request_is_no_request(
    daemon: DaemonProcess, lease: str
) -> None:
    """The beginning came before and on its own: what follows belongs to it."""
    request = renewal(daemon.key(), lease)
    with known(daemon, request) as connection:
        # The head of a request whose last header swallows the first line of what follows.
        connection.send(b"GET /livez HTTP/1.1\r\nX-Rest: ")
        connection.send(request)
        assert connection.read_answer()[2] == {"status": "alive"}
    with known(daemon, request) as connection:
        connection.send(request + b"POST /v1/leases/renew HTTP/1.1\r\nX-Rest: ")
        assert connection.read_answer()[2]["renewed"] == [lease]
        assert ask(connection, request)[0] == 200


@pytest.mark.parametrize("at", [1, 30, -40, -1])
def test_a_request_sent_in_two_pieces_is_answered_once(
    daemon: DaemonProcess, lease: str, at: int
) -> None:
    request = renewal(daemon.key(), lease)
    with known(daemon, request) as connection:
        connection.send(request[:at])
        connection.send(request[at:])
        assert connection.read_answer()[2]["renewed"] == [lease]
        assert ask(connection, request)[2]["renewed"] == [lease]


def test_who_leaves_while_its_renewal_is_under_way_holds_nobody_up(
    own_daemon: DaemonProcess,
) -> None:
    held = own_daemon.caller().acquire().body["lease"]["id"]
    request = renewal(own_daemon.key(), held)
    with known(own_daemon, request) as stays:
        for _ in range(50):
            with RawConnection(own_daemon.url) as leaves:
                leaves.send(request)
        assert ask(stays, request)[2]["renewed"] == [held]
    assert own_daemon.stop() == 0  # no call counts as under way any more


def test_a_body_of_another_length_is_taken_apart(daemon: DaemonProcess, lease: str) -> None:
    other = daemon.caller().acquire().body["lease"]["id"]
    with known(daemon, renewal(daemon.key(), lease)) as connection:
        answer = ask(connection, renewal(daemon.key(), lease, other))
    assert was_taken_apart(answer)
    assert answer[2]["renewed"] == [lease, other]
