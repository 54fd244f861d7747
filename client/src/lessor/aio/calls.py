"""The calls of the protocol, over whatever transport the link has.

Every method takes a time-out for the whole call, and raises ``lessor_protocol.errors.Problem`` when
the server refused, ``NoAnswer`` when no answer came that could be understood.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_protocol import frames
from lessor_protocol.errors import HOLDING_KEEPS_ON, Problem
from lessor_protocol.fields import Reader
from lessor_protocol.messages import Lease, RenewAnswer, RenewRequest
from lessor_protocol.queued import Queued
from lessor_protocol.watch import WatchAnswer, WatchRequest

from lessor.errors import NoAnswer

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from lessor_protocol.messages import AcquireRequest, Renewal
    from lessor_protocol.watch import Watched

    from .link import Link

    T = TypeVar("T")

_PROVE = HOLDING_KEEPS_ON | {"rate_limited"}


class Calls:
    """One method per call."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def acquire(self, request: AcquireRequest, timeout_ms: int) -> Lease | Queued:
        """Ask for a seat; the same request again gets the same answer."""
        status, body = await self._call(frames.ACQUIRE, request.to_wire(), timeout_ms)
        if status == 202:
            return _understood(Queued.from_wire, body)
        return _understood(lambda value: Lease.from_wire(_member(value, "lease")), body)

    async def renew(self, renewals: list[Renewal], timeout_ms: int) -> RenewAnswer:
        """Keep leases.

        Certificates are sent only where the server wants them, for they are long; and beside the
        word that a seat is idle, which nobody else may say.
        """
        if self._link.is_stream:
            bare = RenewRequest(
                [one if one.idle_ms is not None else type(one)(one.lease_id) for one in renewals]
            )
            try:
                answer = await self._renew(bare, timeout_ms)
            except Problem as problem:
                if problem.code not in _PROVE:
                    raise
            else:
                if not any(lost.code == "not_found" for lost in answer.lost):
                    return answer
        return await self._renew(RenewRequest(renewals), timeout_ms)

    async def release(self, lease_id: bytes, timeout_ms: int) -> None:
        """Give a seat, or a place in the line, back. May be repeated."""
        await self._call(frames.RELEASE, frames.release_body(lease_id), timeout_ms)

    async def watch(self, watched: list[Watched], wait_ms: int, timeout_ms: int) -> WatchAnswer:
        """What is new about these leases, held for ``wait_ms``; mostly nothing."""
        body = WatchRequest(watched, wait_ms).to_wire()
        status, answer = await self._link.watch(body, timeout_ms)
        return _understood(WatchAnswer.from_wire, _checked(status, answer))

    async def default_license(self, timeout_ms: int) -> str | None:
        """The only floating license of the organization."""
        status, body = await self._link.request("GET", "/v1/whoami", timeout_ms)
        found = _understood(lambda value: _member(value, "default_license"), _checked(status, body))
        return found if isinstance(found, str) and found else None

    async def _renew(self, request: RenewRequest, timeout_ms: int) -> RenewAnswer:
        _, body = await self._call(frames.RENEW, request.to_wire(), timeout_ms)
        return _understood(RenewAnswer.from_wire, body)

    async def _call(self, op: str, body: dict[str, object], timeout_ms: int) -> tuple[int, object]:
        status, answer = await self._link.call(op, body, timeout_ms)
        return status, _checked(status, answer)


def _checked(status: int, body: object) -> object:
    if status >= 400:
        raise Problem.from_wire(body, status)
    return body


def _understood(read: Callable[[object], T], answer: object) -> T:
    try:
        return read(answer)
    except Problem as problem:
        raise NoAnswer(f"the server's answer cannot be understood: {problem.detail}") from None


def _member(value: object, name: str) -> object:
    Reader(value, "the answer")
    return value.get(name) if isinstance(value, dict) else None
