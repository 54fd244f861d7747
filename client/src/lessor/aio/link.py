"""The way to the servers, kept open: a stream where one can be had, else HTTP.

One task connects and keeps connected; callers wait for it within their own time. A new connection
is made before the old one is given up where the server says that it will go (``drain``), and after
a pause with spread where it has gone: a thousand clients must not come back at the same moment.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING

import aiohttp
from lessor_protocol import codec, frames

from lessor.errors import NoAnswer
from lessor.server import IN_TROUBLE

from .transport import HttpTransport, StreamTransport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .transport import OnUnasked, Transport
    from .way import Way

CONNECT_SECONDS = 5.0
"""For all until the upgrade is answered."""
REACH_SECONDS = 3.5
"""For the connection alone, TLS included: less, so that who is not there can be told from who does
not answer an upgrade."""
HEARTBEAT_SECONDS = 20.0
CLOSE_SECONDS = 1.0
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 1.0
SPREAD_SECONDS = 0.25
"""After a connection broke, the next is made within so long: not all clients at once."""
CLING_SECONDS = 2.0
"""How long another server is sought while one that drains still answers; then it may go."""
LINGER_SECONDS = 15.0
"""How long calls under way keep an old connection open: longer than any may be held back."""
STREAM_AGAIN_SECONDS = 30.0
"""How long calls go by HTTP before the stream is tried once more."""
STREAM_SOON_SECONDS = 1.0
"""The same where the server itself said that it is not ready, or does not know the key."""
_NOT_FOUND = 404
_PASSING = frozenset({401, 403, 429, 500, 502, 503, 504})

_log = logging.getLogger("lessor")


class Link:
    """Calls the servers of ``ways``, tried in turn. ``keep`` must run as long as it is used."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        ways: Sequence[Way],
        on_unasked: OnUnasked,
    ) -> None:
        self._session = session
        self._ways = ways
        self._tell = on_unasked
        self._tasks = asyncio.TaskGroup()
        self._next = 0
        self._transport: Transport | None = None
        self._waiting: set[asyncio.Future[Transport]] = set()
        self._drains = asyncio.Event()
        self.by_http = asyncio.Event()
        """Set while there is no stream, and so nobody says anything unasked."""
        self._stream_again_seconds = STREAM_AGAIN_SECONDS
        self._has_told = False
        self._way_by_http = ways[0]

    @property
    def is_stream(self) -> bool:
        """Whether calls go over a stream now."""
        return isinstance(self._transport, StreamTransport)

    async def call(self, op: str, body: dict[str, object], timeout_ms: int) -> tuple[int, object]:
        """Status and body of the answer. Raises ``NoAnswer``."""
        transport: Transport | None = None
        until = asyncio.get_running_loop().time() + timeout_ms / 1000
        try:
            async with asyncio.timeout_at(until):
                transport = await self._connected()
                answer = await transport.call(op, body)
                if _is_in_trouble(*answer):
                    answer = await self._of_others(transport, op, body, until) or answer
                return answer
        except TimeoutError:
            if transport is None:
                raise NoAnswer("no server could be reached in time") from None
            # It may have died silently; a retry on it would only wait for it again.
            transport.retire()
            raise NoAnswer(f"{transport.name} did not answer in time") from None

    async def _of_others(
        self, transport: Transport, op: str, body: dict[str, object], until: float
    ) -> tuple[int, object] | None:
        """The answer of another server that is well, which is taken from now on.

        Where all share a store, they may all be in trouble.
        """
        loop = asyncio.get_running_loop()
        for number, way in enumerate(self._ways):
            if way.name == transport.name:
                continue
            by_http = HttpTransport(self._session, way)
            try:
                async with asyncio.timeout((until - loop.time()) / 2):
                    answer = await by_http.call(op, body)
            except (NoAnswer, TimeoutError):
                continue
            if not _is_in_trouble(*answer):
                self._next, self._way_by_http = number, way
                if not self.is_stream:
                    self._use(by_http)
                transport.retire()
                return answer
        return None

    async def watch(self, body: dict[str, object], timeout_ms: int) -> tuple[int, object]:
        """A request that is held, on a connection of its own. Raises ``NoAnswer``."""
        way = self._way_by_http
        data = codec.encode(body, codec.MSGPACK)
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                apart = HttpTransport(self._session, way)  # its failure says nothing about calls
                return await apart.request("POST", "/v1/leases/watch", data)
        except TimeoutError:
            raise NoAnswer(f"{way.name} did not answer in time") from None

    async def request(self, method: str, path: str, timeout_ms: int) -> tuple[int, object]:
        """A look that only HTTP has; each server has its share of the time. Raises ``NoAnswer``."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_ms / 1000
        # Not ``_next`` itself: whoever connects meanwhile goes by it.
        ways = [*self._ways[self._next :], *self._ways[: self._next]]
        troubles: list[str] = []
        for tried, way in enumerate(ways):
            share = (until - loop.time()) / (len(ways) - tried)
            try:
                async with asyncio.timeout(share):
                    return await HttpTransport(self._session, way).request(method, path)
            except NoAnswer as error:
                troubles.append(str(error))
            except TimeoutError:
                troubles.append(f"{way.name} did not answer in time")
        raise NoAnswer("; ".join(troubles))

    async def keep(self) -> None:
        """Connect, and connect anew when the connection ends, for ever."""
        found: Transport | None = None
        # Ending this ends the streams, too: they are read by tasks of this group.
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            while True:
                if found is None:
                    found = await self._connect_patiently()
                self._use(found)
                found = await self._outlast(found)

    async def _connected(self) -> Transport:
        if self._transport is not None and not self._transport.over.is_set():
            return self._transport
        if isinstance(self._transport, HttpTransport):
            # Whether there are streams now is found out meanwhile: it takes seconds where upgrades
            # hang.
            self._use(by_http := self._next_by_http())
            return by_http
        waiting: asyncio.Future[Transport] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            return await waiting
        finally:
            self._waiting.discard(waiting)

    def _use(self, transport: Transport) -> None:
        self._transport = transport
        if self.is_stream:
            self.by_http.clear()
        else:
            self.by_http.set()
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(transport)

    def _fail_waiting(self, error: NoAnswer) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(NoAnswer(str(error)))

    async def _connect_patiently(self) -> Transport:
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return await self._connect()
            except NoAnswer as error:
                self._fail_waiting(error)
            await asyncio.sleep(_spread(pause))
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _connect(self) -> Transport:
        """A stream to the first server that gives one, else HTTP to the first that is there."""
        refusals: list[tuple[Way, _StreamRefused]] = []
        troubles: list[str] = []
        for _ in self._ways:
            way = self._ways[self._next]
            try:
                return await self._open_stream(way)
            except _StreamRefused as refused:
                refusals.append((way, refused))
                troubles.append(str(refused))
            except NoAnswer as error:
                troubles.append(str(error))
            self._next = (self._next + 1) % len(self._ways)
        if not refusals:
            raise NoAnswer("; ".join(troubles))
        # First who surely is there and will do without a stream: who says nothing may be frozen.
        by_http, refusal = min(refusals, key=lambda one: one[1].rank)
        self._plan_stream(by_http, refusal)
        self._way_by_http = by_http
        return HttpTransport(self._session, by_http)

    def _next_by_http(self) -> HttpTransport:
        """To the next server, without asking it for a stream."""
        number = self._ways.index(self._way_by_http) + 1
        self._way_by_http = self._ways[number % len(self._ways)]
        return HttpTransport(self._session, self._way_by_http)

    def _plan_stream(self, way: Way, refused: _StreamRefused) -> None:
        self._stream_again_seconds = STREAM_SOON_SECONDS
        if refused.status not in _PASSING:
            self._stream_again_seconds = STREAM_AGAIN_SECONDS
            if not self._has_told:
                self._has_told = True
                _log.warning("no stream to %s (%s): calls go by HTTP", way.name, refused)

    async def _open_stream(self, way: Way) -> StreamTransport:
        """Raises ``NoAnswer`` where nobody is, ``_StreamRefused`` where somebody says no."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                socket = await self._session.ws_connect(
                    f"{way.url}/v1/stream",
                    protocols=(frames.SUBPROTOCOL,),
                    headers=way.headers,
                    proxy=way.proxy,
                    ssl=way.tls,
                    heartbeat=HEARTBEAT_SECONDS,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS),
                    max_msg_size=frames.MAX_FRAME_BYTES,
                    compress=0,
                )
        except aiohttp.WSServerHandshakeError as error:
            why = f"the upgrade was answered {error.status}"
            raise _StreamRefused(why, error.status) from error
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NoAnswer(f"{way.name}: {error}") from error
        except TimeoutError:
            raise _StreamRefused("the upgrade was not answered in time", 0) from None
        except (aiohttp.ClientError, OSError) as error:
            why = f"the upgrade failed: {str(error) or type(error).__name__}"
            raise _StreamRefused(why, 0) from error
        if socket.protocol != frames.SUBPROTOCOL:
            await socket.close()
            raise _StreamRefused("another service answered", 0)
        drains = self._drains = asyncio.Event()

        def heard(op: str, body: object) -> None:
            if op == frames.DRAIN:
                drains.set()
            else:
                self._tell(op, body)

        stream = StreamTransport(socket, way.name, heard)
        self._tasks.create_task(stream.read(), name=f"stream of {way.name}")
        return stream

    async def _outlast(self, transport: Transport) -> Transport | None:
        """Return when ``transport`` is to be replaced; by what, if that is found already."""
        if not isinstance(transport, StreamTransport):
            try:
                async with asyncio.timeout(self._stream_again_seconds):
                    await transport.over.wait()
            except TimeoutError:
                pass  # the stream's turn again
            return None
        await _first(transport.over, self._drains)
        found: Transport | None = None
        if transport.over.is_set():
            await asyncio.sleep(SPREAD_SECONDS * random.random())  # noqa: S311 - spread, no secret
        else:
            found = await self._find_other(transport)
        transport.retire()
        self._tasks.create_task(transport.linger(LINGER_SECONDS), name="old stream")
        return found

    async def _find_other(self, old: StreamTransport) -> StreamTransport | None:
        """Another stream while the old one, whose server drains, still serves."""
        loop = asyncio.get_running_loop()
        until = loop.time() + CLING_SECONDS
        while loop.time() < until and not old.over.is_set():
            self._next = (self._next + 1) % len(self._ways)
            try:
                return await self._open_stream(self._ways[self._next])
            except (NoAnswer, _StreamRefused):
                await asyncio.sleep(_spread(FIRST_PAUSE_SECONDS))
        return None


class _StreamRefused(Exception):
    """There is somebody, but no stream to be had; ``status`` 0 where none came."""

    def __init__(self, why: str, status: int) -> None:
        super().__init__(why)
        self.status = status

    @property
    def rank(self) -> int:
        """The lower, the likelier it is that calls are served by HTTP.

        First who says that there are no streams, rather than none now; last who does not know the
        path, for the URL may lead to no Lessor.
        """
        if self.status == _NOT_FOUND:
            return 2
        return 0 if self.status != 0 and self.status not in _PASSING else 1


def _is_in_trouble(status: int, body: object) -> bool:
    """Whether another server may be well."""
    return status >= 400 and isinstance(body, dict) and body.get("code") in IN_TROUBLE


def session_timeout() -> aiohttp.ClientTimeout:
    """For the session that streams are opened on. Calls have time-outs that count everything."""
    return aiohttp.ClientTimeout(total=None, connect=REACH_SECONDS)


async def _first(*events: asyncio.Event) -> None:
    """Return when one of ``events`` is set."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def _spread(seconds: float) -> float:
    return seconds * (0.5 + random.random() / 2)  # noqa: S311 - spread, no secret
