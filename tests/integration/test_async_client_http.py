"""Calls of ``lessor.AsyncClient`` by HTTP, answered in pieces, late, or too long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest
from lessor.aio.transport import HttpTransport
from lessor.aio.way import Way
from lessor.errors import NoAnswer
from lessor_protocol import codec
from support.raw_server import RawServer, answer, read_request

if TYPE_CHECKING:
    import socket

PIECES = 4


def head(length: int) -> bytes:
    return (
        f"HTTP/1.1 200 OK\r\nContent-Type: {codec.MSGPACK}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


async def ask(server: RawServer) -> tuple[int, object]:
    """One request, as where no stream can be had."""
    async with aiohttp.ClientSession() as session:
        way = Way(server.url, "it", {}, None, tls=True)
        return await HttpTransport(session, way).request("GET", "/v1/whoami")


async def test_an_answer_that_comes_in_pieces_is_read_to_its_end() -> None:
    """As that of a renewal of hundreds of leases does."""
    said = {"organization": "acme" * 1_000}
    body = codec.encode(said, codec.MSGPACK)
    size = len(body) // PIECES

    def in_pieces(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(head(len(body)))
        for begin in range(0, len(body), size):
            server.over.wait(0.05)
            connection.sendall(body[begin : begin + size])

    with RawServer(in_pieces) as server:
        assert await ask(server) == (200, said)


async def test_an_answer_without_end_is_read_no_further_than_the_most_that_is_allowed() -> None:
    def endless(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: {codec.MSGPACK}\r\n\r\n".encode())
        while True:
            connection.sendall(b"\xc0" * 65_536)

    too_large = pytest.raises(NoAnswer, match="a message has at most 1048576 bytes")
    with RawServer(endless) as server, too_large:
        await ask(server)


async def test_an_answer_that_breaks_off_is_none() -> None:
    with RawServer(answer(head(100) + b"\x80")) as server, pytest.raises(NoAnswer):
        await ask(server)
