"""A connection to the store: what it costs before the first command, and when it is broken."""

from __future__ import annotations

import asyncio

import pytest
import uvloop
from lessor_daemon.store.topology.clients import close_client, make_client
from redis.exceptions import ConnectionError as RedisConnectionError


async def test_it_says_who_it_is_and_asks_for_nothing() -> None:
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while header := await reader.readline():
            words = []
            for _ in range(int(header[1:])):
                size = int((await reader.readline())[1:])
                words.append((await reader.readexactly(size + 2))[:-2])
            heard.append(b" ".join(words[:3]))
            writer.write(b"+OK\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = make_client(f"redis://127.0.0.1:{port}", connections=1, answer_seconds=5)
    await client.set("one", "1")
    await close_client(client)
    server.close()
    assert heard == [b"CLIENT SETINFO LIB-NAME", b"CLIENT SETINFO LIB-VER", b"SET one 1"]


def test_one_that_the_server_has_closed_is_a_broken_connection_on_either_loop() -> None:
    async def close(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def send() -> None:
        server = await asyncio.start_server(close, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        client = make_client(f"redis://127.0.0.1:{port}", connections=1, answer_seconds=5)
        connection = client.connection_pool.make_connection()  # type: ignore[no-untyped-call]  # redis'
        await connection._connect()
        connection._writer.transport.abort()
        await connection._writer.wait_closed()
        try:
            with pytest.raises(RedisConnectionError):
                await connection.send_command("PING")
        finally:
            await connection.disconnect()
            await close_client(client)
            server.close()

    for new_loop in (asyncio.new_event_loop, uvloop.new_event_loop):
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(send())
