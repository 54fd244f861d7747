"""A reverse proxy on the way to a daemon: passes bytes on, refuses WebSockets, cuts connections."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit

PASS, REFUSE, HANG, DROP = "pass", "refuse", "hang", "drop"


class Relay:
    """Listens while it is entered. ``upgrades`` says what becomes of upgrades from now on."""

    def __init__(self, url: str, upgrades: str = PASS) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "", parts.port or 80)
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.upgrades = upgrades
        self.seen_upgrades = 0
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Reset every connection there is."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._handle(reader, writer)
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.transport.abort()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ahead_reader, ahead_writer = await asyncio.open_connection(*self._target)
        self._writers.add(ahead_writer)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass_requests(reader, writer, ahead_writer))
                group.create_task(_pass_on(ahead_reader, writer))
        finally:
            self._writers.discard(ahead_writer)
            ahead_writer.transport.abort()

    async def _pass_requests(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        ahead_writer: asyncio.StreamWriter,
    ) -> None:
        """The client's bytes; a kept connection may bring an upgrade at any time."""
        with suppress(ConnectionError):
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
    with suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()
