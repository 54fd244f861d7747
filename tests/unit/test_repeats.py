"""When a connection may take a renewal without aiohttp."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web
from lessor_daemon.http.limits import Connections
from lessor_daemon.http.repeats import RepeatingHandler, remember_head

if TYPE_CHECKING:
    from collections.abc import Callable

RENEWAL = b"POST /v1/leases/renew HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"


class _Repeats:
    """Knows every head that was learned, and never answers."""

    def __init__(self) -> None:
        self.learned: list[bytes] = []
        self.taken: list[bytes] = []

    def learn(self, _request: web.Request, arrived: bytes) -> bool:
        self.learned.append(arrived)
        return True

    def take(self, _connection: object, data: bytes) -> object | None:
        if data not in self.learned:
            return None
        self.taken.append(data)
        return object()

    def withdraw(self, _request: object) -> None:
        pass


class _Quick(_Repeats):
    """Answers each at once."""

    def take(self, connection: object, data: bytes) -> object | None:
        taken = super().take(connection, data)
        if taken is not None:
            reply = cast("RepeatingHandler", connection).reply
            asyncio.get_running_loop().call_soon(reply, b"HTTP/1.1 200 OK\r\n\r\n")
        return taken


class _Transport(asyncio.Transport):
    """A connection to a client that hears an answer before the turn that wrote it is over."""

    def __init__(self, on_answer: Callable[[], None]) -> None:
        super().__init__()
        self._on_answer = on_answer
        self.answers = 0
        self.is_read = True

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.answers += bytes(data).count(b"HTTP/1.1 200")
        asyncio.get_running_loop().call_soon(self._on_answer)

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass


async def _renew(request: web.BaseRequest) -> web.StreamResponse:
    await request.read()
    remember_head(cast("web.Request", request))
    return web.Response(text="{}")


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def _connection(repeats: _Repeats, on_answer: Callable[[], None]) -> RepeatingHandler:
    server = web.Server(_renew)
    connections = Connections(server, 1, None, cast("Any", None))
    handler = RepeatingHandler(connections, server, cast("Any", repeats))
    handler.connection_made(_Transport(on_answer))
    return handler


async def test_who_asks_again_before_aiohttp_has_turned_to_it_is_taken() -> None:
    repeats = _Repeats()
    handler = _connection(repeats, lambda: handler.data_received(RENEWAL))
    await _turns(2)
    handler.data_received(RENEWAL)
    await _turns(20)
    assert repeats.learned == [RENEWAL], "the first came the ordinary way"
    assert repeats.taken == [RENEWAL], "the second came before aiohttp looked"
    handler.connection_lost(None)


async def test_what_is_sent_ahead_goes_the_ordinary_way_and_is_answered() -> None:
    repeats = _Repeats()
    handler = _connection(repeats, lambda: None)
    await _turns(2)
    for _ in range(3):
        handler.data_received(RENEWAL)
    await _turns(40)
    transport = cast("_Transport", handler.transport)
    assert (transport.answers, repeats.taken) == (3, [])
    handler.connection_lost(None)


async def test_what_waits_when_the_connection_ends_is_forgotten() -> None:
    repeats = _Repeats()

    def ask_and_go() -> None:
        handler.data_received(RENEWAL)
        handler.connection_lost(None)

    handler = _connection(repeats, ask_and_go)
    await _turns(2)
    handler.data_received(RENEWAL)
    await _turns(20)
    assert (repeats.learned, repeats.taken) == ([RENEWAL], [])


async def test_the_first_request_of_a_connection_waits_for_nothing() -> None:
    repeats = _Repeats()
    handler = _connection(repeats, lambda: None)
    handler.data_received(RENEWAL)  # before aiohttp has begun to look for anything
    assert handler._request_count == 1
    await _turns(20)
    assert repeats.learned == [RENEWAL]
    handler.connection_lost(None)


async def test_who_does_not_take_the_answers_is_not_read_any_more() -> None:
    repeats = _Quick()
    handler = _connection(repeats, lambda: None)
    transport = cast("_Transport", handler.transport)
    await _turns(2)
    handler.data_received(RENEWAL)
    await _turns(20)
    handler.pause_writing()  # as the transport does when too much is unsent
    sent = 0
    while transport.is_read and sent < 1_000:
        handler.data_received(RENEWAL)
        sent += 1
        await _turns(20)
    assert not transport.is_read, "what is sent on fills our memory"
    assert repeats.taken == []
    assert transport.answers <= 2, "one more is on its way"
    handler.resume_writing()
    await _turns(20 * sent)
    assert transport.is_read
    assert transport.answers == 1 + sent
    handler.data_received(RENEWAL)
    await _turns(20)
    assert repeats.taken == [RENEWAL], "all is as before"
    assert transport.answers == 2 + sent
    handler.connection_lost(None)
