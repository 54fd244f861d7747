"""One protocol, two transports: each test here runs over both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest
from support.calls import Caller
from support.streaming import StreamCaller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.calls import Answer
    from support.daemon import DaemonProcess


class Calls(Protocol):
    """What both transports can do."""

    def acquire(self, license: str = "kre", **fields: object) -> Answer: ...
    def renew(self, *ids: str) -> Answer: ...
    def release(self, lease_id: str) -> Answer: ...
    def call_op(self, op: str, body: object) -> Answer: ...


class OverHttp(Caller):
    """Each call a request of its own."""

    def call_op(self, op: str, body: object) -> Answer:
        """Any body for an operation that has one."""
        path = {"acquire": "/v1/leases", "renew": "/v1/leases/renew"}[op]
        return self.call("POST", path, body)


class OverStream(StreamCaller):
    """All calls on one WebSocket."""

    def call_op(self, op: str, body: object) -> Answer:
        """Any body for any operation."""
        return self.call(op, body)


@pytest.fixture(params=["http", "stream"])
def connect(
    request: pytest.FixtureRequest, daemon: DaemonProcess
) -> Iterator[Callable[..., Calls]]:
    """Makes callers over the transport at hand, by the name of a key."""
    opened: list[OverStream] = []

    def over_transport(key: str = "ci") -> Calls:
        if request.param == "http":
            return OverHttp(daemon.url, daemon.key(key))
        opened.append(OverStream(daemon.url, daemon.key(key)))
        return opened[-1]

    yield over_transport
    for one in opened:
        one.close()


@pytest.fixture
def caller(connect: Callable[..., Calls]) -> Calls:
    """A caller with the key ``ci``."""
    return connect()
