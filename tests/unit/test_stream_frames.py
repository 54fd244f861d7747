"""What a stream makes of bytes, and of silence. What it needs of aiohttp is said here, too."""

from __future__ import annotations

import asyncio
import gc
import weakref
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import pytest
from aiohttp import WSMsgType, web
from hypothesis import given
from hypothesis import strategies as st
from lessor_daemon.http import socket_frames
from lessor_daemon.http.limits import BoundedHandler
from lessor_daemon.http.server import HttpServer, listen, url_of
from lessor_daemon.http.socket_frames import FrameReader
from lessor_daemon.http.stream import PIECE_BYTES, Opened, Stream
from lessor_daemon.settings import Address
from lessor_protocol.errors import Problem
from support.waiting import wait_until_async

from bench.wire import socket_frame

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST = 4096


def read(pieces: Sequence[bytes]) -> list[tuple[Any, ...]]:
    """All that a reader finds in ``pieces``."""

    async def feed() -> list[tuple[Any, ...]]:
        reader = FrameReader(MOST)
        return [tuple(one) for piece in pieces for one in reader.feed(piece)]

    return asyncio.run(feed())


@given(
    st.lists(st.binary(max_size=300), max_size=6),
    st.lists(st.integers(min_value=0, max_value=2000), max_size=8),
)
def test_messages_are_the_same_however_their_bytes_are_cut(
    payloads: list[bytes], cuts: list[int]
) -> None:
    data = b"".join(socket_frame(payload) for payload in payloads)
    ends = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(ends)]
    found = read(pieces)
    assert [(kind, bytes(payload)) for kind, payload, _ in found] == [
        (WSMsgType.BINARY, payload) for payload in payloads
    ]


def test_what_came_before_a_broken_frame_is_still_read() -> None:
    found = read([socket_frame(b"good") + b"\xff\xff\xff\xff", b"more"])
    assert [one[0] for one in found[:2]] == [WSMsgType.BINARY, WSMsgType.ERROR]
    assert found[1][1] == 1002


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (socket_frame(bytes(MOST + 1)), 1009),
        (b"\x82\xff" + bytes(4) + b"\x7f" + bytes(11), 1009),
        (b"\x02\x81" + bytes(4) + b"a" + socket_frame(b"b"), 1002),  # a new message within another
        (b"\x80\x81" + bytes(4) + b"a", 1002),  # the end of a message that never began
        (b"\x09\x80" + bytes(4), 1002),  # a ping in fragments
        (b"\x89\xfe\x00\x80" + bytes(4) + bytes(128), 1002),  # a ping that is too long
        (b"\xc2\x81" + bytes(4) + b"a", 1002),  # compressed, which was not agreed
        (b"\x83\x81" + bytes(4) + b"a", 1002),  # an opcode that does not exist
        (b"\x88\x82" + bytes(4) + b"\x03\xed", 1002),  # a close code that must not be sent
    ],
)
def test_what_breaks_the_protocol_is_told_by_a_code(data: bytes, code: int) -> None:
    (error,) = read([data])
    assert error[:2] == (WSMsgType.ERROR, code)


class _Calls:
    """In place of what answers: keeps the requests."""

    def __init__(self) -> None:
        self.begun = 0
        self.asked: list[bytes] = []

    def stream_begins(self) -> None:
        self.begun += 1

    def stream_ends(self) -> None:
        self.begun -= 1

    def digest(self, key: str) -> bytes:
        return key.encode()

    def answer(self, stream: Stream, data: bytes) -> None:
        if data == b"\xc1":
            raise Problem("malformed", "no frame")
        stream.under_way += 1
        self.asked.append(data)


class _Streams:
    def add(self, stream: Stream) -> None: ...
    def discard(self, stream: Stream) -> None: ...


class _Transport:
    """Keeps what is done to it."""

    def __init__(self) -> None:
        self.written = b""
        self.done: list[str] = []

    def set_write_buffer_limits(self, high: int) -> None: ...

    def write(self, data: bytes) -> None:
        self.written += data

    def __getattr__(self, name: str) -> object:
        return lambda: self.done.append(name)


class _Connections:
    def closed(self) -> None: ...


def a_stream() -> tuple[Stream, _Calls, _Transport]:
    calls, transport = _Calls(), _Transport()
    opened = Opened("key", "acme", "127.0.0.1", "id")
    stream = Stream(opened, cast("Any", calls), cast("Any", _Streams()))
    stream.begin(cast("Any", transport), cast("Any", _Connections()))
    return stream, calls, transport


async def test_silence_is_asked_about_once_and_then_taken_for_the_end() -> None:
    stream, _, transport = a_stream()
    for _ in range(3):
        stream.looked_at(3, 5)
    assert transport.written == socket_frames.PING
    stream.data_received(socket_frame(b"", 10))  # a pong
    for _ in range(4):
        stream.looked_at(3, 5)
    assert transport.done == []
    assert transport.written == 2 * socket_frames.PING
    stream.looked_at(3, 5)
    assert transport.done == ["abort"]


async def test_whoever_reaches_a_bound_is_read_on_from_when_there_is_room() -> None:
    stream, calls, transport = a_stream()
    one = socket_frame(b"\x93\x01\xa5renew\xc0")
    count = 2000
    stream.data_received(one * count)
    assert transport.done == ["pause_reading"]
    assert len(calls.asked) <= 1024 + PIECE_BYTES // len(one)
    stream.data_received(one)  # some may still come
    while stream.under_way:
        stream.done(1)
        assert stream.under_way <= 1024 + PIECE_BYTES // len(one)
    assert transport.done[-1] == "resume_reading"
    assert len(calls.asked) == count + 1


async def test_a_slow_reader_is_not_read_from_and_told_nothing_unasked() -> None:
    stream, calls, transport = a_stream()
    stream.pause_writing()
    stream.data_received(socket_frame(b"\x93\x01\xa5renew\xc0") * 2)
    written = transport.written
    stream.tell_notice({"id": "x"})
    assert (transport.done, transport.written) == (["pause_reading"], written)
    asked = len(calls.asked)
    stream.resume_writing()
    assert transport.done == ["pause_reading", "resume_reading"]
    assert len(calls.asked) == 2 >= asked
    stream.tell_notice({"id": "x"})
    assert transport.written != written


async def test_a_stream_that_has_ended_does_nothing_more() -> None:
    stream, calls, transport = a_stream()
    assert calls.begun == 1
    stream.data_received(socket_frame(b"\xc1") + socket_frame(b"\x93\x01\xa5renew\xc0"))
    assert transport.written == socket_frames.close(1007)
    stream.data_received(socket_frame(b"\x93\x01\xa5renew\xc0"))
    assert calls.asked == []
    stream.connection_lost(None)
    stream.reply(1, 200, {})
    assert (calls.begun, transport.written) == (0, socket_frames.close(1007))


async def test_aiohttp_keeps_nothing_of_a_connection_that_was_handed_over() -> None:
    handlers: list[weakref.ref[object]] = []
    streams: list[Stream] = []

    async def upgrade(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=101, headers={"Connection": "upgrade"})
        await response.prepare(request)
        calls, opened = _Calls(), Opened("key", "acme", "", "id")
        streams.append(Stream(opened, cast("Any", calls), cast("Any", _Streams())))
        assert isinstance(request.protocol, BoundedHandler)
        handlers.append(weakref.ref(request))
        request.protocol.hand_over(streams[0])
        return response

    app = web.Application()
    app.router.add_get("/up", upgrade)
    listener = await listen(Address("127.0.0.1", 0), "listen")
    server = HttpServer(app, most_connections=10, gauge=None)
    await server.start(listener)
    host, _, port = url_of(listener).removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = "GET /up HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    writer.write(head.encode() + socket_frame(b"ping", 9))
    answer = await reader.readuntil(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"chunked" not in answer.lower()
    assert await reader.readexactly(6) == socket_frames.pong(b"ping")
    while handlers[0]() is not None:  # what aiohttp made for the request goes with its task
        await asyncio.sleep(0)
        gc.collect()
    assert streams[0].is_open
    writer.write(socket_frame(b"still", 9))
    assert await reader.readexactly(7) == socket_frames.pong(b"still")
    writer.close()
    await writer.wait_closed()

    async def is_over() -> bool:
        return not streams[0].is_open

    await wait_until_async(is_over, what="the end to be seen")
    await server.stop(0)
