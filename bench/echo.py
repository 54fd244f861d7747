"""The peer: the same aiohttp stack on the same event loop, which only sends back what it gets.

``python -m bench.echo`` says ``http://HOST:PORT`` on stdout and serves until it is ended.
"""

from __future__ import annotations

import asyncio

from aiohttp import web
from lessor_daemon import loops
from lessor_daemon.http.server import HttpServer, listen, url_of
from lessor_daemon.settings import Address
from lessor_protocol import frames


async def echo_frames(request: web.Request) -> web.WebSocketResponse:
    """A WebSocket with the stream's settings."""
    stream = web.WebSocketResponse(protocols=(frames.SUBPROTOCOL,), heartbeat=30.0, compress=False)
    await stream.prepare(request)
    async for message in stream:
        await stream.send_bytes(message.data)
    return stream


async def echo_body(request: web.Request) -> web.Response:
    """200 with the body and its type."""
    return web.Response(body=await request.read(), content_type=request.content_type)


async def serve() -> None:
    """Serve for ever."""
    app = web.Application()
    app.router.add_get("/v1/stream", echo_frames)
    app.router.add_post("/v1/leases/renew", echo_body)
    listener = await listen(Address("127.0.0.1", 0), "listen")
    server = HttpServer(app, most_connections=20_000, gauge=None)
    await server.start(listener)
    print(url_of(listener), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    loops.run(serve())
