"""What a new connection to the store costs before the first command is on its way."""

from __future__ import annotations

import asyncio

from lessor_daemon.store.topology.clients import close_client, make_client


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
