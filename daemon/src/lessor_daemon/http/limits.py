"""Bounds on connections: how many, and how long one may take to say what it wants.

A sender that opens a connection and says nothing, or a byte now and then, must cost no more than a
file descriptor for ten seconds. aiohttp bounds idle time between requests but not the time in
which the head of a request arrives.
"""

from __future__ import annotations

import asyncio
import resource
import socket
from typing import TYPE_CHECKING, cast

from aiohttp import web
from lessor_protocol import codec
from lessor_protocol.errors import Problem

from lessor_daemon import logs

from .bodies import problem_answer
from .conversation import REQUEST_ID_HEADER, SERVER, internal_problem, new_request_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.http_websocket import WebSocketReader
    from prometheus_client import Gauge

    from .stream import Stream

HEAD_SECONDS = 10.0
KEEP_ALIVE_SECONDS = 75.0
LINGER_SECONDS = 5.0
"""How long the rest of a refused body is read, so that its sender comes to see the answer."""
LONGEST_HEAD_LINE = 8190
UNSENT_SECONDS = 30.0
"""A client that does not take its answer for so long is cut off."""
RESERVED_FILES = 200
"""File descriptors for the store's connections, the log, the listening sockets and the like."""
MOST_CONNECTIONS = 50_000

_log = logs.get_logger("lessor.http")


def default_max_connections() -> int:
    """As many as the open-file limit allows, after raising it as far as it may go."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + RESERVED_FILES
    top = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    if soft != resource.RLIM_INFINITY and soft < top:
        resource.setrlimit(resource.RLIMIT_NOFILE, (top, hard))
        soft = top
    allowed = wanted if soft == resource.RLIM_INFINITY else min(soft, wanted)
    return max(allowed - RESERVED_FILES, allowed // 2)


class Connections:
    """Makes the protocol of each new connection with ``make``; refuses those beyond ``most``."""

    def __init__(
        self,
        server: web.Server,
        most: int,
        gauge: Gauge | None,
        make: Callable[[Connections, web.Server], BoundedHandler],
    ) -> None:
        self._server = server
        self._make = make
        self._most = most
        self._gauge = gauge
        self._open = 0

    def __call__(self) -> asyncio.Protocol:
        """For ``loop.create_server``."""
        if self._open >= self._most:
            return Refusal()
        return self._make(self, self._server)

    def opened(self) -> None:
        """Count a connection in."""
        self._open += 1
        self._show()

    def closed(self) -> None:
        """Count a connection out."""
        self._open -= 1
        self._show()

    def _show(self) -> None:
        if self._gauge is not None:
            self._gauge.set(self._open)


class BoundedHandler(web.RequestHandler):
    """aiohttp's connection, cut off when the head of a request does not arrive in time."""

    __slots__ = ("_connections", "_head_timer", "on_lost")

    def __init__(self, connections: Connections, server: web.Server) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            lingering_time=LINGER_SECONDS,
            max_line_size=LONGEST_HEAD_LINE,
            max_field_size=LONGEST_HEAD_LINE,
            # Bodies are taken as they are: no decompression, no bombs.
            auto_decompress=False,
            access_log=None,  # type: ignore[arg-type]  # None is handled, and means none
        )
        self._connections = connections
        self._head_timer: asyncio.TimerHandle | None = None
        self.on_lost: Callable[[], None] | None = None
        """Called when the connection ends, for a call that is held on it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connections.opened()
        _bound_unsent(transport)
        self._start_head_timer()

    def hand_over(self, stream: Stream) -> None:
        """Let ``stream`` go on with the connection. For aiohttp, which is told so, it has ended."""
        transport = cast("asyncio.Transport", self.transport)
        early = _Early()
        self.set_parser(cast("WebSocketReader", early))
        self.transport = None  # or it would be closed
        super().connection_lost(None)
        transport.set_protocol(stream)
        stream.begin(transport, self._connections)
        if early.data:
            stream.data_received(early.data)

    def data_received(self, data: bytes) -> None:
        heads_before = self._request_count
        super().data_received(data)
        if self._request_count > heads_before:
            self.head_is_whole()
            self._fail_unfinished_body()
        elif self._head_timer is None and self._waiter is not None:
            # Idle until now, and the head that begins here is not whole yet.
            self._start_head_timer()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.head_is_whole()
        self._connections.closed()
        if self.on_lost is not None:
            self.on_lost()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What aiohttp answers to bytes that are not HTTP, in our own form."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun and cannot be taken back")
        request_id = new_request_id()
        # To refuse an ``Expect`` aiohttp quotes it, and fails at one that is no text.
        if status < 500 or isinstance(exc, UnicodeEncodeError):
            problem = Problem("malformed", "this is not an HTTP/1.1 request that can be read")
            _log.debug("malformed_http", request=request_id, reason=str(message or exc))
        else:
            problem = internal_problem()
            _log.error("internal_error", request=request_id, exc_info=exc)
        return _last_answer(request, problem, request_id)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer; one that aiohttp made without asking ``converse``, in our own form.

        That is how it refuses an ``Expect`` that it cannot meet.
        """
        if isinstance(resp, web.HTTPException):
            problem = Problem("malformed", f"this cannot be answered: {resp.reason}")
            resp = _last_answer(request, problem, new_request_id())
        return await super().finish_response(request, resp, start_time)

    def _fail_unfinished_body(self) -> None:
        """End the wait for a body that is badly framed.

        aiohttp queues the error as the next message, and the call under way would wait for the rest
        of its body until that times out. A message cannot begin before the body ahead has ended.
        """
        request = self._current_request
        if request is not None and not request.content.is_eof():
            request.content.set_exception(web.RequestPayloadError("badly framed"))
            # It has ended, so that nobody reads on for the rest; and so does the connection.
            request.content.feed_eof()
            self.close()

    def _start_head_timer(self) -> None:
        loop = asyncio.get_running_loop()
        self._head_timer = loop.call_later(HEAD_SECONDS, self._give_up)

    def head_is_whole(self) -> None:
        """Stop the clock that runs while a head arrives."""
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        if self.transport is not None:
            self.transport.abort()


def _last_answer(request: web.BaseRequest, problem: Problem, request_id: str) -> web.StreamResponse:
    """What ends a connection that ``converse`` has not come to see."""
    response = problem_answer(request, problem)
    response.headers[REQUEST_ID_HEADER] = request_id
    response.headers["Server"] = SERVER
    response.force_close()
    return response


class _Early:
    """In place of a parser of WebSockets: keeps what a client sent before it was answered."""

    def __init__(self) -> None:
        self.data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """As aiohttp calls it."""
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        """Likewise."""


class Refusal(asyncio.Protocol):
    """Tells a connection beyond the limit to come back, and closes it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        problem = Problem("rate_limited", "too many connections are open", retry_after=1)
        body = codec.encode(problem.to_wire(), codec.JSON)
        head = (
            "HTTP/1.1 429 Too Many Requests\r\n"
            f"Content-Type: {codec.PROBLEM_JSON}\r\nContent-Length: {len(body)}\r\n"
            f"Retry-After: 1\r\n{REQUEST_ID_HEADER}: {new_request_id()}\r\n"
            "Connection: close\r\n\r\n"
        )
        # By name: uvloop's transports are nobody's subclasses.
        cast("asyncio.Transport", transport).write(head.encode() + body)
        transport.close()


def _bound_unsent(transport: asyncio.BaseTransport) -> None:
    connection = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux has it
    if connection is not None and option is not None and connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.IPPROTO_TCP, option, round(UNSENT_SECONDS * 1000))
