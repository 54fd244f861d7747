"""A stream: one WebSocket that carries the calls of many leases, as a connection.

It is the protocol of its connection, without a task that waits for what arrives: bytes are taken
apart as they come, and each frame is answered, or begun to be (``stream_calls.py``), on the spot.

What a client may cost is bounded: requests under way, and bytes it has not taken. Whoever reaches a
bound is not read from until it is below again; who stays there is cut off. Others never wait.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from aiohttp import WSMsgType
from lessor_protocol import frames
from lessor_protocol.errors import Problem

from lessor_daemon import logs

from . import socket_frames
from .socket_frames import FrameReader

if TYPE_CHECKING:
    from lessor_protocol.messages import Lost

    from .limits import Connections
    from .repeated_frames import Repeated
    from .socket_frames import Message
    from .stream_calls import StreamCalls
    from .streams import Streams

MOST_UNDER_WAY = 1_024
"""Requests under way on one connection, in leases; then it is not read from."""
PIECE_BYTES = 8 * 1024
"""Bounds are looked at after so many bytes: what fits into them may be begun in excess."""
MOST_UNSENT_BYTES = 256 * 1024
"""With more than this unsent, no further request of the connection is read."""
SLOW_SECONDS = 10.0
"""A client that has taken too little for so long is cut off."""
CLOSE_SECONDS = 1.0
"""How long a client may take to answer a close."""

_log = logs.get_logger("lessor.stream")


class Opened(NamedTuple):
    """What the request said that opened a stream."""

    api_key: str
    org: str
    source: str
    request_id: str


class Stream(asyncio.Protocol):
    """One connection: reads frames, has them answered, and keeps within bounds."""

    # There are ten thousands of them, and most are idle.
    __slots__ = (
        "__weakref__",
        "_calls",
        "_connections",
        "_is_full",
        "_is_paused",
        "_looks",
        "_reader",
        "_streams",
        "_timer",
        "_transport",
        "_unread",
        "held",
        "key_digest",
        "opened",
        "repeated",
        "under_way",
        "waits_for_key",
    )

    def __init__(self, opened: Opened, calls: StreamCalls, streams: Streams) -> None:
        self.opened = opened
        self._calls = calls
        self._streams = streams
        self._connections: Connections | None = None
        self._transport: asyncio.Transport | None = None
        """None once nothing more can be sent."""
        self._reader = FrameReader(frames.MAX_FRAME_BYTES)
        self._looks = 0
        self._unread = b""
        self._is_paused = False
        self._is_full = False
        self._timer: asyncio.TimerHandle | None = None
        """Cuts off who is slow, or who does not end a connection that is over."""
        self.under_way = 0
        self.repeated: Repeated | None = None
        """What it renewed last."""
        self.waits_for_key: list[bytes] | None = None
        """Requests that came while the record of their key is read, in order."""
        self.held: set[asyncio.Task[None]] | None = None
        """Calls that end with the connection."""
        self.key_digest = calls.digest(opened.api_key)

    @property
    def org(self) -> str:
        """The organization whose leases it carries."""
        return self.opened.org

    @property
    def is_open(self) -> bool:
        """Whether an answer can still be sent."""
        return self._transport is not None

    def begin(self, transport: asyncio.Transport, connections: Connections) -> None:
        """The connection is this stream's from now on."""
        self._transport = transport
        self._connections = connections
        transport.set_write_buffer_limits(high=MOST_UNSENT_BYTES)
        self._streams.add(self)
        self._calls.stream_begins()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        self._transport = None
        self._unread = b""
        if self._timer is not None:
            self._timer.cancel()
        for task in self.held or ():
            task.cancel()
        self._streams.discard(self)
        self._calls.stream_ends()
        if self._connections is not None:
            self._connections.closed()

    def data_received(self, data: bytes) -> None:
        self._looks = 0
        if self._is_paused:  # some may still come
            self._unread += data
        else:
            self._read(data)

    def pause_writing(self) -> None:
        """Too much is unsent."""
        self._is_full = True
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(SLOW_SECONDS, self._cut_off)

    def resume_writing(self) -> None:
        """There is room again."""
        self._is_full = False
        if self._timer is not None and self._transport is not None:
            self._timer.cancel()
            self._timer = None
        self.go_on()

    def reply(self, seq: int, status: int, body: object) -> None:
        """Answer a request."""
        self._send(seq, status, body)

    def send(self, frame: bytes) -> None:
        """Send a frame that is ready-made."""
        if self._transport is not None:
            self._transport.write(socket_frames.binary(frame))

    def refuse(self, seq: int, problem: Problem) -> None:
        """Answer a request with what is wrong."""
        self.reply(seq, problem.status, problem.to_wire())

    def push(self, op: str, body: object) -> None:
        """Say something unasked."""
        self._send(frames.UNASKED, op, body)

    def tell_lost(self, lost: Lost) -> None:
        """A lease that it carries was ended by somebody else."""
        self._tell(frames.LOST, lost.to_wire())

    def tell_notice(self, notice: dict[str, object]) -> None:
        """The holder of a lease that it carries is asked something."""
        self._tell(frames.NOTICE, notice)

    def _send(self, first: int, second: int | str, body: object) -> None:
        if self._transport is not None:
            self.send(frames.encode(first, second, body))

    def _tell(self, op: str, body: object) -> None:
        # Who does not read learns it with a renewal, and must not fill our memory.
        if not self._is_full:
            self.push(op, body)

    def close(self, code: int) -> None:
        """Send what is unsent, then the close code, and end the connection."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.write(socket_frames.close(code))
            transport.close()

    def looked_at(self, ping_after: int, gone_after: int) -> None:
        """Called every few seconds: who says nothing for long is asked, then given up."""
        self._looks += 1
        if self._transport is None:
            return
        if self._looks == ping_after:
            self._transport.write(socket_frames.PING)
        elif self._looks >= gone_after and not self._is_paused:
            self._transport.abort()

    def done(self, cost: int) -> None:
        """A request is not under way any more."""
        self.under_way -= cost
        if self._is_paused:
            self.go_on()

    def go_on(self) -> None:
        """Read on if all is below its bounds again."""
        transport = self._transport
        if not self._is_paused or self._is_stuffed or transport is None:
            return
        self._is_paused = False
        transport.resume_reading()
        unread, self._unread = self._unread, b""
        self._read(unread)

    @property
    def _is_stuffed(self) -> bool:
        return self.under_way >= MOST_UNDER_WAY or self._is_full or self.waits_for_key is not None

    def _read(self, data: bytes) -> None:
        if len(data) <= PIECE_BYTES:
            self._take(data)
            data = b""
        while data and not self._is_stuffed and self._transport is not None:
            self._take(data[:PIECE_BYTES])
            data = data[PIECE_BYTES:]
        if self._is_stuffed and self._transport is not None:
            self._unread = data
            self._is_paused = True
            self._transport.pause_reading()

    def _take(self, data: bytes) -> None:
        for message in self._reader.feed(data):
            if self._transport is None:  # nothing after a close means anything
                return
            if message[0] is WSMsgType.BINARY:
                self._request(message[1])
            else:
                self._control(self._transport, message)

    def _request(self, data: bytes) -> None:
        if self.waits_for_key is not None:
            self.waits_for_key.append(data)
            return
        try:
            self._calls.answer(self, data)
        except Problem as problem:
            self.end_unreadable(problem)

    def end_unreadable(self, problem: Problem) -> None:
        """A frame was none: what follows cannot be told apart any more."""
        if self.is_open:
            _log.info("unreadable_frame", request=self.opened.request_id, reason=problem.detail)
            self._end(frames.CLOSE_UNREADABLE)

    def _control(self, transport: asyncio.Transport, message: Message) -> None:
        kind, data, _ = message
        if kind is WSMsgType.PING:
            if not self._is_full:
                transport.write(socket_frames.pong(bytes(data)))
        elif kind is WSMsgType.CLOSE:
            self.close(data or frames.CLOSE_NORMAL)
        elif kind is WSMsgType.TEXT:
            self._end(frames.CLOSE_NOT_BINARY)
        elif kind is WSMsgType.ERROR:
            self._end(data)

    def _end(self, code: int) -> None:
        """Say why, and give the client a moment to read it."""
        transport, self._transport = self._transport, None
        if transport is None:
            return
        transport.write(socket_frames.close(code))
        if self._timer is not None:
            self._timer.cancel()
        # Closed at once, with bytes of the client's still unread, the kernel would take the close
        # frame back. They are read, and lead to nothing.
        self._timer = asyncio.get_running_loop().call_later(CLOSE_SECONDS, transport.close)

    def _cut_off(self) -> None:
        transport = self._transport
        if transport is not None:
            unsent = transport.get_write_buffer_size()
            _log.info("slow_reader", request=self.opened.request_id, unsent=unsent)
            self.close(frames.CLOSE_SLOW_READER)
