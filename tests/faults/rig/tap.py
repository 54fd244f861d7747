"""Reads the lease calls that pass through a proxy: HTTP/1.1 with msgpack, as clients speak it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import msgpack

from .history import (
    ABSENT,
    ACQUIRE,
    GRANTED,
    LOOK,
    LOST,
    PRESENT,
    QUEUED,
    RELEASE,
    RELEASED,
    RENEW,
    RENEWED,
    UNANSWERED,
    Asked,
)

LARGEST_RECORDED = 20
"""Leases of one renewal. Who renews more at once writes its own history (``fleet.py``)."""


@dataclass
class Message:
    """One request or response. ``raw`` is all of it, ``at`` when its last byte had come."""

    first_line: str
    body: bytes
    raw: bytes
    at: float

    @property
    def content(self) -> dict[str, Any]:
        """The decoded body; empty when it is none of ours."""
        try:
            found = msgpack.unpackb(self.body)
        except (ValueError, msgpack.UnpackException):
            return {}
        return found if isinstance(found, dict) else {}


class Splitter:
    """Splits one direction of a connection into messages."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes, at: float) -> list[Message]:
        """The messages that are whole now."""
        self._data += data
        found = []
        while (message := self._next(at)) is not None:
            found.append(message)
        return found

    def _next(self, at: float) -> Message | None:
        head, blank, rest = self._data.partition(b"\r\n\r\n")
        if not blank:
            return None
        first_line, *fields = head.decode("latin-1").split("\r\n")
        length = 0
        for one in fields:
            name, _, value = one.partition(":")
            if name.lower() == "content-length":
                length = int(value)
        if len(rest) < length:
            return None
        size = len(head) + 4 + length
        raw, self._data = self._data[:size], self._data[size:]
        return Message(first_line, rest[:length], raw, at)


class Tap:
    """Pairs the requests and responses of one connection, in order, until it becomes a stream."""

    def __init__(self, client: str) -> None:
        self._client = client
        self._requests = Splitter()
        self._responses = Splitter()
        self._waiting: deque[Message] = deque()
        self._is_stream = False

    def request(self, data: bytes, at: float) -> list[Message]:
        """Bytes towards the server."""
        self._is_stream = self._is_stream or data.startswith(b"GET /v1/stream ")
        if self._is_stream:
            return []
        found = self._requests.feed(data, at)
        self._waiting.extend(found)
        return found

    def response(self, data: bytes, at: float) -> list[Asked]:
        """Bytes towards the client, once they are handed over to it."""
        found: list[Asked] = []
        if self._is_stream:
            return found
        for message in self._responses.feed(data, at):
            if self._waiting:
                found += describe(self._client, self._waiting.popleft(), message)
        return found

    def close(self) -> list[Asked]:
        """What was never answered."""
        return [one for request in self._waiting for one in describe(self._client, request, None)]


def describe(
    client: str, request: Message, response: Message | None, *, late: bool = False
) -> list[Asked]:
    """One ``Asked`` for each lease that the request names."""
    method, _, path = request.first_line.partition(" ")
    path = path.partition(" ")[0]
    if path == "/v1/leases" and method == "POST":
        return [_acquire(client, request, response, late=late)]
    if path == "/v1/leases/renew":
        return _renewals(client, request, response, late=late)
    if path.startswith("/v1/leases/") and method in ("DELETE", "GET"):
        lease = path.rpartition("/")[2]
        verb = RELEASE if method == "DELETE" else LOOK
        outcome = _code(response)
        if response is not None:
            good = {204: RELEASED, 200: PRESENT}.get(_status(response))
            # A release of an id never seen, or seen no more, spends it: nothing is left either way.
            outcome = good or (
                (RELEASED if verb == RELEASE else ABSENT) if _is_404(response) else outcome
            )
        answered = response.at if response else None
        return [Asked(client, verb, lease, "", "", request.at, answered, outcome, late=late)]
    return []


def _acquire(client: str, request: Message, response: Message | None, *, late: bool) -> Asked:
    wanted = request.content
    answer = response.content if response else {}
    status = _status(response) if response else 0
    lease = answer.get("lease", {}) if status in (200, 201) else {}
    outcome = GRANTED if lease else QUEUED if status == 202 else _code(response)
    return Asked(
        client,
        ACQUIRE,
        str(wanted.get("id", "")),
        str(wanted.get("license", "")),
        str(wanted.get("machine", {}).get("id", "")),
        request.at,
        response.at if response else None,
        outcome,
        token=lease.get("token", 0),
        ttl=lease.get("ttl", 0.0),
        blocked_by=str(answer.get("blocked_by", "")),
        reason=str(answer.get("reason", "")),
        late=late,
    )


def _renewals(
    client: str, request: Message, response: Message | None, *, late: bool
) -> list[Asked]:
    wanted_leases = request.content.get("leases", ())
    if len(wanted_leases) > LARGEST_RECORDED:
        return []
    answer = response.content if response else {}
    renewed = set(answer.get("renewed", ()))
    lost = {one["id"]: one for one in answer.get("lost", ())}
    found = []
    for wanted in wanted_leases:
        lease = wanted if isinstance(wanted, str) else str(wanted.get("id", ""))
        outcome, reason, ttl = _code(response), "", 0.0
        if lease in renewed:
            outcome, ttl = RENEWED, float(answer.get("ttl", 0.0))
        elif lease in lost:
            outcome, reason = lost_outcome(lost[lease]["code"], lost[lease]["reason"])
        answered = response.at if response else None
        found.append(
            Asked(
                *(client, RENEW, lease, "", "", request.at, answered, outcome),
                ttl=ttl,
                reason=reason,
                late=late,
            )
        )
    return found


def lost_outcome(code: str, text: str) -> tuple[str, str]:
    """Outcome and reason. A lease that the store does not know has not ended for sure."""
    if code != "lease_ended":
        return code, text
    return LOST, "lapsed" if text == "it was not renewed in time" else text


def _status(response: Message) -> int:
    return int(response.first_line.split(" ")[1])


def _is_404(response: Message) -> bool:
    return _status(response) == 404


def _code(response: Message | None) -> str:
    if response is None:
        return UNANSWERED
    return str(response.content.get("code", f"status {_status(response)}"))
