"""The two ways to call a server: frames on a stream, and one HTTP request per call.

Both take an operation and its body and return status and body of the answer. They raise
``NoAnswer`` when there is none, and set ``over`` when they are of no more use. The time-out is the
caller's.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Protocol

import aiohttp
from lessor_protocol import codec, frames
from lessor_protocol.errors import Problem

from lessor.errors import NoAnswer
from lessor.server import NOT_FOUND, no_lessor_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from .way import Way

    OnUnasked = Callable[[str, object], None]
    """Called with the op and body of what the server says of its own accord."""

_MEDIA_TYPES = {
    codec.MSGPACK: codec.MSGPACK,
    codec.PROBLEM_MSGPACK: codec.MSGPACK,
    codec.JSON: codec.JSON,
    codec.PROBLEM_JSON: codec.JSON,
}

_CALLERS = aiohttp.ClientTimeout(total=None)


class Transport(Protocol):
    """A way to call one server."""

    over: asyncio.Event
    name: str

    async def call(self, op: str, body: dict[str, object]) -> tuple[int, object]:
        """Status and body of the answer. Raises ``NoAnswer``."""
        ...

    def retire(self) -> None:
        """No new calls: close when those under way are finished."""
        ...


class StreamTransport:
    """One WebSocket. ``read`` must run in a task as long as it is used."""

    def __init__(
        self, socket: aiohttp.ClientWebSocketResponse, name: str, on_unasked: OnUnasked
    ) -> None:
        self.name = name
        self.over = asyncio.Event()
        self._socket = socket
        self._on_unasked = on_unasked
        self._seqs = itertools.count(1)
        self._under_way: dict[int, asyncio.Future[tuple[int, object]]] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    async def read(self) -> None:
        """Take in replies until the connection ends or, once retired, nothing is under way."""
        try:
            await self._read()
        finally:
            self.over.set()
            for reply in self._under_way.values():
                if not reply.done():
                    reply.set_exception(NoAnswer(f"{self.name} closed the connection"))
            await self._socket.close()

    async def linger(self, seconds: float) -> None:
        """Close when nothing is under way any more, at latest after ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            pass  # those calls are repeated on another connection
        finally:
            await self._socket.close()

    def retire(self) -> None:
        """The owner lets it ``linger``."""
        self.over.set()

    async def call(self, op: str, body: dict[str, object]) -> tuple[int, object]:
        """Send a frame and wait for the reply of its seq."""
        seq = next(self._seqs)
        reply: asyncio.Future[tuple[int, object]] = asyncio.get_running_loop().create_future()
        self._under_way[seq] = reply
        self._idle.clear()
        try:
            await self._socket.send_bytes(frames.encode(seq, op, body))
            return await reply
        except (aiohttp.ClientError, ConnectionError) as error:
            self.over.set()
            raise NoAnswer(f"{self.name} closed the connection") from error
        finally:
            del self._under_way[seq]
            if not self._under_way:
                self._idle.set()

    async def _read(self) -> None:
        async for message in self._socket:
            if message.type is not aiohttp.WSMsgType.BINARY:
                return
            try:
                seq, what, body = frames.decode_from_server(message.data)
            except Problem:
                return  # what follows cannot be told apart any more
            if isinstance(what, str):
                self._on_unasked(what, body)
                continue
            reply = self._under_way.get(seq)
            if reply is not None and not reply.done():
                reply.set_result((what, body))


class HttpTransport:
    """One HTTP request per call, for where no stream can be had."""

    def __init__(self, session: aiohttp.ClientSession, way: Way) -> None:
        self.name = way.name
        self.over = asyncio.Event()
        self._session = session
        self._way = way

    def retire(self) -> None:
        """Requests need no connection of their own."""
        self.over.set()

    async def call(self, op: str, body: dict[str, object]) -> tuple[int, object]:
        """Make one request."""
        method, path, data = "POST", "/v1/leases", codec.encode(body, codec.MSGPACK)
        if op == frames.RENEW:
            path = "/v1/leases/renew"
        elif op == frames.RELEASE:
            method, path, data = "DELETE", f"/v1/leases/{body['id']}", b""
        return await self.request(method, path, data)

    async def request(self, method: str, path: str, data: bytes = b"") -> tuple[int, object]:
        """Any request. Raises ``NoAnswer``, also when a stranger answers.

        All that are made here but a release, which may name a lease that nobody knows, are served
        by every Lessor: where one is not found there is no Lessor.
        """
        headers = (
            {**self._way.headers, "Content-Type": codec.MSGPACK} if data else self._way.headers
        )
        try:
            async with self._session.request(
                method,
                self._way.url + path,
                data=data or None,
                headers=headers,
                proxy=self._way.proxy,
                ssl=self._way.tls,
                allow_redirects=False,
                timeout=_CALLERS,
            ) as response:
                content = await _read(response.content)
        except (aiohttp.ClientError, OSError) as error:
            self.over.set()
            raise NoAnswer(f"{self.name}: {str(error) or type(error).__name__}") from error
        if response.status == 204:
            return 204, None
        body = self._decode(response.status, response.content_type, content)
        if body.get("code") == NOT_FOUND and method != "DELETE":
            self.over.set()
            raise no_lessor_at(self._way.url)
        return response.status, body

    def _decode(self, status: int, content_type: str, content: bytes) -> dict[str, object]:
        media_type = _MEDIA_TYPES.get(content_type)
        value: object = None
        if media_type is not None:
            try:
                value = codec.decode(content, media_type)
            except Problem as problem:
                raise NoAnswer(f"{self.name} sent nonsense: {problem.detail}") from None
        if isinstance(value, dict) and (status < 300 or isinstance(value.get("code"), str)):
            return value
        raise NoAnswer(
            f"{self.name} answered {status}, but not as a Lessor server does: "
            "does the URL point at another service, or is a proxy in between?"
        )


async def _read(stream: aiohttp.StreamReader) -> bytes:
    """The whole body; of one that is too large no more than shows it.

    One ``read`` returns what has arrived so far, be it only the beginning.
    """
    content = bytearray()
    while part := await stream.read(codec.MAX_BYTES + 1 - len(content)):
        content += part
    return bytes(content)
