"""Renewals whose head has come before, answered without taking it apart again.

An agent renews every few seconds for hours, always with the same head, byte for byte: the path, the
host, its key, the media types, the length. The first time aiohttp reads it and ``leases.renew``
answers. What the bytes said is remembered, and when the same bytes come again, with a body of that
length and nothing after it, it is known what they say. That is all this does: there is no second
reading of HTTP here, and whatever is unusual goes the ordinary way (ADR 0009).
"""

from __future__ import annotations

import time
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from aiohttp import HttpVersion11
from lessor_protocol import codec, frames
from lessor_protocol.errors import Problem
from lessor_protocol.messages import RenewRequest

from lessor_daemon.directory import permissions
from lessor_daemon.leasing.answers import renewed_wire

from .auth import api_key_of
from .bodies import answer_type, problem_parts
from .conversation import REQUEST_ID_HEADER, SERVER, new_request_id
from .limits import KEEP_ALIVE_SECONDS, BoundedHandler

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web
    from lessor_protocol.messages import Renewal

    from lessor_daemon.directory.service import Directory
    from lessor_daemon.leasing.renewals import Request, Result
    from lessor_daemon.leasing.service import Leasing
    from lessor_daemon.metrics import Metrics

    from .context import Serving
    from .limits import Connections

RENEW = "renew"
"""The name of the one route whose requests are remembered."""
BEGINNING = b"POST /v1/leases/renew "
MOST_HEADS = 4_096
"""Heads differ by key, by the client's settings, and by how many leases it has."""
LONGEST_HEAD = 2_048
MOST_KEPT_BACK = 64 * 1024
"""Bytes of requests sent before the one ahead was answered; then nothing more is read."""
_END_OF_HEAD = b"\r\n\r\n"


class Head(NamedTuple):
    """What the bytes of a head said."""

    api_key: str
    body_type: str
    body_bytes: int
    answer_type: str
    accept: str


class Repeats:
    """The heads of renewals that were answered, and the answering of those that come again."""

    def __init__(
        self, serving: Serving, directory: Directory, leasing: Leasing, metrics: Metrics
    ) -> None:
        self._serving = serving
        self._recall = directory.authentication.recall
        self._leasing = leasing
        self._observe = metrics.request_seconds.labels(RENEW).observe
        self._heads: dict[bytes, Head] = {}
        self._date = _Date()

    def connection(self, connections: Connections, server: web.Server) -> BoundedHandler:
        """A connection on which renewals may repeat themselves."""
        return RepeatingHandler(connections, server, self)

    def learn(self, request: web.Request, arrived: bytes) -> bool:
        """Remember the head of a request that was answered with 200.

        Answers whether ``arrived`` is the whole of it and nothing else. The number of lines shows
        that nothing was there before.
        """
        head, end, body = arrived.partition(_END_OF_HEAD)
        is_whole = (
            end
            and head.startswith(BEGINNING)
            and head.count(b"\r\n") == len(request.raw_headers)
            and len(body) == request.content_length
        )
        if not is_whole:
            return False
        may_repeat = (
            len(head) <= LONGEST_HEAD
            and request.version == HttpVersion11
            and request.keep_alive
            and "Expect" not in request.headers
        )
        if may_repeat and head not in self._heads:
            if len(self._heads) >= MOST_HEADS:
                self._heads.clear()
            self._heads[head] = Head(
                api_key_of(request),
                request.content_type,
                len(body),
                answer_type(request),
                request.headers.get("Accept", ""),
            )
        return True

    def take(self, connection: RepeatingHandler, data: bytes) -> Request | None:
        """Answer ``data`` later, if it is a whole renewal whose head is known; else None."""
        end = data.find(_END_OF_HEAD)
        head = self._heads.get(data[:end])
        if head is None or len(data) - end - len(_END_OF_HEAD) != head.body_bytes:
            return None
        if not self._serving.is_ready or self._serving.is_draining:
            return None
        caller = self._recall(head.api_key)
        if caller is None:
            return None
        began = time.perf_counter()
        try:
            permissions.check(caller, RENEW, None)
            renewals = _renewals(data[end + len(_END_OF_HEAD) :], head.body_type)
            if not renewals:
                return None

            def answered(outcome: list[Result] | Exception) -> None:
                self._serving.call_ends()
                self._observe(time.perf_counter() - began)
                self._answer(connection, data, head, renewals, outcome)

            request = self._leasing.submit_renewals(caller, renewals, answered)
        except Problem:
            return None
        self._serving.call_begins()
        return request

    def withdraw(self, request: Request) -> None:
        """Nobody waits any more for the answer to what was taken."""
        request.withdraw()
        self._serving.call_ends()

    def _answer(
        self,
        connection: RepeatingHandler,
        data: bytes,
        head: Head,
        renewals: list[Renewal],
        outcome: list[Result] | Exception,
    ) -> None:
        if isinstance(outcome, Problem):
            headers, body = problem_parts(head.accept, outcome)
            connection.reply(self._written(outcome.status, headers, body))
            return
        wire = None if isinstance(outcome, Exception) else renewed_wire(renewals, outcome)
        if wire is None:  # a lease is lost, or somebody asks to finish: there is more to say
            connection.go_the_ordinary_way(data)
            return
        body = codec.encode(wire, head.answer_type)
        connection.reply(self._written(200, {"Content-Type": head.answer_type}, body))

    def _written(self, status: int, headers: Mapping[str, str], body: bytes) -> bytes:
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        text = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{lines}"
            f"Content-Length: {len(body)}\r\nDate: {self._date.now()}\r\nServer: {SERVER}\r\n"
            f"{REQUEST_ID_HEADER}: {new_request_id()}\r\n\r\n"
        )
        return text.encode("latin-1") + body


class RepeatingHandler(BoundedHandler):
    """A connection whose repeated renewals do not reach aiohttp."""

    __slots__ = ("_arrived", "_is_between_requests", "_kept_back", "_repeats", "_taken")

    def __init__(self, connections: Connections, server: web.Server, repeats: Repeats) -> None:
        super().__init__(connections, server)
        self._repeats = repeats
        self._taken: Request | None = None
        self._kept_back = b""
        self._arrived = b""
        """What aiohttp got last, if that may be a whole renewal."""
        self._is_between_requests = True
        """Whether it is certain that aiohttp holds no part of a request."""

    def data_received(self, data: bytes) -> None:
        if not data:  # aiohttp itself, to go on with what it holds
            super().data_received(data)
            return
        if self._taken is not None or self._kept_back:
            self._keep_back(data)
        elif self._is_between_requests and self._request_count and self._waiter is None:
            # aiohttp looks for the next request a turn of the loop after it has answered, and a
            # quick client has sent that by then.
            self._keep_back(data)
            self._loop.call_soon(self._take_kept_back)
        else:
            self._take_or_pass_on(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._kept_back = b""
        if self._taken is not None:
            self._repeats.withdraw(self._taken)
            self._taken = None
        super().connection_lost(exc)

    def learn(self, request: web.Request) -> None:
        """Have the head of ``request`` remembered, which was answered with 200."""
        arrived, self._arrived = self._arrived, b""
        if self._repeats.learn(request, arrived):
            self._is_between_requests = True

    def reply(self, answer: bytes) -> None:
        """Answer what was taken."""
        self._taken = None
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        transport.write(answer)
        # aiohttp closes what it has not heard of for so long.
        self._next_keepalive_close_time = self._loop.time() + KEEP_ALIVE_SECONDS
        self._take_kept_back()

    def go_the_ordinary_way(self, data: bytes) -> None:
        """Have aiohttp read what was taken."""
        self._taken = None
        self._pass_on(data)
        self._take_kept_back()

    def _take_or_pass_on(self, data: bytes) -> None:
        # While answers are unsent it is aiohttp's: that waits until there is room for the next one,
        # and reads no more meanwhile.
        is_idle = self._is_between_requests and not self.writing_paused
        if is_idle and self._waiter is not None and not self._waiter.done():
            self._taken = self._repeats.take(self, data)
            if self._taken is not None:
                self.head_is_whole()
                return
        self._pass_on(data)

    def _pass_on(self, data: bytes) -> None:
        self._is_between_requests = False
        self._arrived = data if data.startswith(BEGINNING) else b""
        super().data_received(data)

    def _keep_back(self, data: bytes) -> None:
        """Who sends the next request before this one is answered gets the answers in order."""
        self._kept_back += data
        if len(self._kept_back) > MOST_KEPT_BACK and self.transport is not None:
            self.transport.pause_reading()

    def _take_kept_back(self) -> None:
        data, self._kept_back = self._kept_back, b""
        if len(data) > MOST_KEPT_BACK and self.transport is not None:
            self.transport.resume_reading()
        if data:
            self._take_or_pass_on(data)


def remember_head(request: web.Request) -> None:
    """When the same head comes again on any connection, it need not be taken apart."""
    if isinstance(request.protocol, RepeatingHandler):
        request.protocol.learn(request)


def _renewals(body: bytes, media_type: str) -> list[Renewal]:
    """Raises ``Problem``."""
    if media_type != codec.MSGPACK:
        return RenewRequest.from_wire(codec.decode(body, media_type)).renewals
    return frames.renewals(codec.unpack(body))


class _Date:
    """The ``Date`` of answers, written once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._text = ""

    def now(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second, self._text = second, formatdate(second, usegmt=True)
        return self._text
