"""A place in the line, whichever way one waits: asking again, held calls, or the stream."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from support.calls import Caller
from support.pair import pair_of_daemons
from support.streaming import StreamCaller
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.calls import Answer
    from support.daemon import DaemonProcess

KEY = "lsr_ci_aSecretOfTheTests"
BOOTSTRAP = f"""
[[organization]]
slug = "acme"
[[organization.license]]
name = "kre"
seats = 1
ttl = "60s"
[[organization.key]]
name = "ci"
scopes = ["run", "read"]
secret = "{KEY}"
"""
AGAIN, HELD, STREAM = "asking again", "held calls", "the stream"
SHORT_HOLD, LONG_HOLD = 0.2, 8
GONE_SECONDS = 10.0


class Waiter:
    """Waits for a seat at one daemon, which it may leave for another."""

    def __init__(self, way: str) -> None:
        self.id = str(uuid.uuid4())
        self._way = way
        self._caller: Caller | StreamCaller | None = None
        self._url = ""

    def ask(self, daemon: DaemonProcess) -> Answer:
        """Ask there, over the connection of the time before if it was there too."""
        return self._connected(daemon).acquire(**self._wish(SHORT_HOLD))

    def position(self, daemon: DaemonProcess) -> int:
        """Its place as it is told there."""
        answer = self.ask(daemon)
        assert answer.status == 202, answer.body
        return int(answer.body["position"])

    def ask_and_die(self, daemon: DaemonProcess) -> None:
        """Ask, and be gone without a word: where calls are held, in the middle of one."""
        if self._way == AGAIN:
            self.ask(daemon)
        elif self._way == HELD:
            connection = Caller(daemon.url, KEY).connect()
            body = {"license": "kre", **self._wish(LONG_HOLD), **_PROCESS}
            _post(connection, body)
            connection.close()
        else:
            stream = self._connected(daemon)
            assert isinstance(stream, StreamCaller)
            stream.begin("acquire", {"license": "kre", **self._wish(LONG_HOLD), **_PROCESS})
        self.drop()

    def drop(self) -> None:
        """Lose the connection."""
        if isinstance(self._caller, StreamCaller):
            self._caller.close()
        self._caller = None

    def _connected(self, daemon: DaemonProcess) -> Caller | StreamCaller:
        if self._caller is None or self._url != daemon.url:
            self.drop()
            self._url = daemon.url
            make = StreamCaller if self._way == STREAM else Caller
            self._caller = make(daemon.url, KEY)
        return self._caller

    def _wish(self, hold: float) -> dict[str, Any]:
        held = {} if self._way == AGAIN else {"hold": hold}
        return {"id": self.id, "wait": 300, **held}


_PROCESS = {
    "machine": {"id": "machine-1"},
    "process": {"pid": 4711, "command": "pytest", "user": "ada"},
}


def _post(connection: Any, body: dict[str, Any]) -> None:  # noqa: ANN401  # http.client's
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    connection.request("POST", "/v1/leases", json.dumps(body).encode(), headers)


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[tuple[DaemonProcess, ...]]:
    """Two, on one store, with one seat."""
    with pair_of_daemons(tmp_path, BOOTSTRAP) as pair:
        yield pair


@pytest.fixture(params=[AGAIN, HELD, STREAM])
def way(request: pytest.FixtureRequest) -> str:
    """How to wait."""
    return str(request.param)


@pytest.fixture
def comes() -> Iterator[Callable[[str], Waiter]]:
    """Makes waiters, whose connections are dropped with the test."""
    made: list[Waiter] = []

    def come(way: str) -> Waiter:
        made.append(Waiter(way))
        return made[-1]

    yield come
    for waiter in made:
        waiter.drop()


def take_the_seat(daemon: DaemonProcess) -> str:
    """The lease's id."""
    granted = Caller(daemon.url, KEY).acquire()
    assert granted.status == 201
    return str(granted.body["lease"]["id"])


def test_a_place_survives_a_new_connection_a_restart_and_a_change_of_daemon(
    daemons: tuple[DaemonProcess, ...], way: str, comes: Callable[[str], Waiter]
) -> None:
    here, there = daemons
    holder = take_the_seat(there)
    first, second = comes(way), comes(way)
    assert [first.position(here), second.position(here)] == [1, 2]
    first.drop()
    assert first.position(here) == 1
    first.drop()
    second.drop()
    here.restart()
    assert [second.position(here), first.position(here)] == [2, 1]
    assert [second.position(here), first.position(there)] == [2, 1]
    Caller(there.url, KEY).release(holder)
    assert second.position(here) == 1, "the seat is kept for who came first"
    assert first.ask(there).status == 201


def test_who_dies_in_line_leaves_it_within_seconds(
    daemons: tuple[DaemonProcess, ...], way: str, comes: Callable[[str], Waiter]
) -> None:
    here, there = daemons
    take_the_seat(there)
    dead, alive = comes(way), comes(AGAIN)
    assert dead.position(here) == 1
    assert alive.position(there) == 2
    dead.ask_and_die(here)
    died = time.monotonic()
    wait_until(lambda: alive.position(there) == 1, 25, "the dead to have left the line")
    assert time.monotonic() - died < GONE_SECONDS + 4


def test_an_offer_missed_while_its_daemon_restarts_does_not_cost_the_place(
    daemons: tuple[DaemonProcess, ...], way: str, comes: Callable[[str], Waiter]
) -> None:
    here, there = daemons
    ci = Caller(there.url, KEY)
    holder = take_the_seat(there)
    first, second, third = comes(way), comes(AGAIN), comes(AGAIN)
    assert first.position(here) == 1
    assert [second.position(there), third.position(there)] == [2, 3]
    first.drop()
    here.kill()
    ci.release(holder)  # offered to the first, whose daemon is away

    def goes_to_the_next() -> bool:
        third.position(there)
        return second.ask(there).status == 201

    wait_until(goes_to_the_next, 10, "the offer to lapse")
    here.start()
    assert first.position(here) == 1
    assert third.position(there) == 2
    ci.release(second.id)
    assert third.position(there) == 1
    assert first.ask(here).status == 201
