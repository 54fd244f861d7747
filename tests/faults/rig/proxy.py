"""A TCP proxy that can be told to lose, delay or repeat what passes. All run in one thread.

What was lost on a connection is never followed by more on the same connection: TCP has no holes. A
connection is broken by its ends, or when the trouble is over.
"""

from __future__ import annotations

import asyncio
import random
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from .history import now
from .tap import Splitter, Tap, describe

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from .history import Asked
    from .tap import Message

CHUNK = 65536
DUPLICATE_AFTER_SECONDS = (0.0, 2.0)
LATE_ANSWER_SECONDS = 5.0
UP, DOWN = "up", "down"


@dataclass
class Trouble:
    """What happens to what passes: ``lose`` names directions, ``repeat`` is a share of requests.

    ``delay`` is in seconds, for each direction in ``slow``; with ``is_uneven`` it is the longest.
    """

    lose: frozenset[str] = frozenset()
    slow: frozenset[str] = frozenset()
    delay: float = 0.0
    repeat: float = 0.0
    is_uneven: bool = False


WELL = Trouble()


class Proxies:
    """The thread that all proxies run in. ``records`` are the lease calls that passed."""

    def __init__(self) -> None:
        self.records: list[Asked] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._made: list[FaultProxy] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for proxy in self._made:
            self.run(proxy.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def open(self, host: str, port: int, *, client: str = "", seed: int = 0) -> FaultProxy:
        """A proxy in front of ``port``. With ``client``, HTTP is read and recorded by this name."""
        proxy = FaultProxy(port, self.records if client else None, client, random.Random(seed))
        self.run(proxy.listen(host))
        self._made.append(proxy)
        return proxy

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run something in the proxies' thread, and wait for it."""
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    def reset(self, proxy: FaultProxy) -> None:
        """Break all connections of one proxy."""
        self._loop.call_soon_threadsafe(proxy.reset)


class FaultProxy:
    """One of them. ``trouble`` may be set from any thread."""

    def __init__(
        self, target: int, records: list[Asked] | None, client: str, chance: random.Random
    ) -> None:
        self.target = target
        self.port = 0
        self.trouble = WELL
        self._records = records
        self._client = client
        self._chance = chance
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def listen(self, host: str) -> None:
        """Take a free port."""
        self._server = await asyncio.start_server(self._connected, host, 0, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]

    def reset(self) -> None:
        """Break every connection at once. Only in the proxies' thread."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def close(self) -> None:
        """Break everything and free the port."""
        if self._server is not None:
            self._server.close()
        self.reset()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._writers.add(writer)
        tap = Tap(self._client) if self._records is not None else None
        server_writer: asyncio.StreamWriter | None = None
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target)
            self._writers.add(server_writer)
            pumps = [
                asyncio.create_task(self._pump(UP, reader, server_writer, tap)),
                asyncio.create_task(self._pump(DOWN, server_reader, writer, tap)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            pass  # nobody listens: the client sees its connection closed
        finally:
            for one in (writer, server_writer):
                if one is not None:
                    self._writers.discard(one)
                    one.transport.abort()
            if tap is not None and self._records is not None:
                self._records += tap.close()

    async def _pump(
        self,
        direction: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        tap: Tap | None,
    ) -> None:
        is_broken = False
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                if tap is not None and direction == UP:
                    for message in tap.request(data, now()):
                        self._repeat(message)
                trouble = self.trouble
                if direction in trouble.slow:
                    share = self._chance.random() if trouble.is_uneven else 1.0
                    await asyncio.sleep(share * trouble.delay)
                is_broken = is_broken or direction in self.trouble.lose
                if is_broken:
                    continue
                writer.write(data)
                await writer.drain()
                if tap is not None and direction == DOWN and self._records is not None:
                    self._records += tap.response(data, now())

    def _repeat(self, message: Message) -> None:
        if self.trouble.repeat <= self._chance.random():
            return
        task = asyncio.create_task(self._send_again(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_again(self, message: Message) -> None:
        """The same bytes once more on another connection, later. Nobody waits for the answer."""
        await asyncio.sleep(self._chance.uniform(*DUPLICATE_AFTER_SECONDS))
        writer = None
        message = replace(message, at=now())  # the first one keeps its own time
        answers: list[Message] = []
        try:
            async with asyncio.timeout(LATE_ANSWER_SECONDS):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.target)
                writer.write(message.raw)
                splitter = Splitter()
                while not answers and (data := await reader.read(CHUNK)):
                    answers = splitter.feed(data, now())
        except (OSError, TimeoutError):
            pass
        finally:
            if writer is not None:
                writer.transport.abort()
        if self._records is not None:
            answer = answers[0] if answers else None
            self._records += describe(self._client, message, answer, late=True)
