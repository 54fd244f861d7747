"""Ways to a daemon: a listener that leaves nothing open, a reverse proxy that refuses and cuts."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

PASS, REFUSE, HANG, DROP = "pass", "refuse", "hang", "drop"


@asynccontextmanager
async def listening(
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[int]:
    """A port whose connections ``handle`` serves; the end cuts those that are left."""
    serving: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving[task] = writer
        try:
            with suppress(ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
                await handle(reader, writer)
        finally:
            del serving[task]
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in serving.values():
            writer.transport.abort()
        await asyncio.gather(*serving, return_exceptions=True)


async def join(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: tuple[str, int]
) -> None:
    """Pass bytes on, both ways, until both sides have ended."""
    ahead_reader, ahead_writer = await asyncio.open_connection(*target)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_pass_on(reader, ahead_writer))
            group.create_task(_pass_on(ahead_reader, writer))
    finally:
        ahead_writer.transport.abort()


class Relay:
    """Listens while it is entered. ``upgrades`` says what becomes of upgrades from now on."""

    def __init__(self, url: str, upgrades: str = PASS) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "", parts.port or 80)
        self._writers: set[asyncio.StreamWriter] = set()
        self.upgrades = upgrades
        self.seen_upgrades = 0
        self.url = ""

    async def __aenter__(self) -> Self:
        self._open = AsyncExitStack()
        port = await self._open.enter_async_context(listening(self._handle))
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    def cut(self) -> None:
        """Reset every connection there is."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ahead_reader, ahead_writer = await asyncio.open_connection(*self._target)
        both = {writer, ahead_writer}
        self._writers |= both
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass_requests(reader, writer, ahead_writer))
                group.create_task(_pass_on(ahead_reader, writer))
        finally:
            self._writers -= both
            ahead_writer.transport.abort()

    async def _pass_requests(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        ahead_writer: asyncio.StreamWriter,
    ) -> None:
        """The client's bytes; a kept connection may bring an upgrade at any time."""
        with suppress(ConnectionError, ssl.SSLError):
            while data := await reader.read(1 << 16):
                if b"upgrade: websocket" in data.lower():
                    self.seen_upgrades += 1
                    if self.upgrades == HANG:
                        continue
                    if self.upgrades == REFUSE:
                        writer.write(b"HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\n\r\n")
                        continue
                    if self.upgrades == DROP:
                        writer.transport.abort()
                        continue
                ahead_writer.write(data)
                await ahead_writer.drain()
        ahead_writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, ssl.SSLError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()
