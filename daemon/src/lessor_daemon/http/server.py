"""Listening sockets, and serving an application on one until it is told to drain."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING

from aiohttp import web

from lessor_daemon.errors import ConfigurationError

from .context import REPEATS
from .limits import BoundedHandler, Connections

if TYPE_CHECKING:
    from prometheus_client import Gauge

    from lessor_daemon.settings import Address

BACKLOG = 1024
"""Connections that wait to be accepted: clients reconnect all at once after a restart."""


async def listen(address: Address, setting: str) -> socket.socket:
    """A listening socket. Raises ``ConfigurationError`` naming ``setting``.

    No ``SO_REUSEPORT``: with it a second daemon would silently share the port.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror as error:
        raise ConfigurationError(setting, f"{address}: {error.strerror}") from None
    family, kind, protocol, _, name = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        # Only against connections that linger after a restart; a live listener still keeps the
        # port to itself.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        listener.bind(name)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        why = f"{address} cannot be used: {error.strerror}"
        if error.errno == errno.EADDRINUSE:
            why = f"{address} is taken; another program, or another Lessor, listens there"
        raise ConfigurationError(setting, why) from None
    return listener


def url_of(listener: socket.socket) -> str:
    """The URL that reaches ``listener`` from this machine."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # compared, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def urls_of(listener: socket.socket, ops_listener: socket.socket | None) -> dict[str, str]:
    """As the log names them: ``url``, and ``ops_url`` where operations have a port of their own."""
    urls = {"url": url_of(listener)}
    if ops_listener is not None:
        urls["ops_url"] = url_of(ops_listener)
    return urls


LEAST_STOP_SECONDS = 0.02
"""aiohttp takes 0 for "without limit"."""


class HttpServer:
    """Serves one application on one listening socket."""

    def __init__(self, app: web.Application, most_connections: int, gauge: Gauge | None) -> None:
        self._runner = web.AppRunner(app, shutdown_timeout=LEAST_STOP_SECONDS)
        self._most_connections = most_connections
        repeats = app.get(REPEATS)
        self._make = BoundedHandler if repeats is None else repeats.connection
        self._gauge = gauge
        self._server: asyncio.Server | None = None

    async def start(self, listener: socket.socket) -> None:
        """Take connections from now on."""
        await self._runner.setup()
        server = self._runner.server
        if server is None:
            raise RuntimeError("the application was set up but there is no server")
        connections = Connections(server, self._most_connections, self._gauge, self._make)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(connections, sock=listener, backlog=BACKLOG)

    async def stop(self, seconds: float) -> None:
        """Close the socket and idle connections; give calls under way ``seconds`` to finish."""
        if self._server is not None:
            self._server.close()
        server = self._runner.server
        if server is not None:
            # One turn of the loop: a request that has just arrived still counts as under way.
            await asyncio.sleep(0)
            server.pre_shutdown()
            await server.shutdown(max(seconds, LEAST_STOP_SECONDS))
        await self._runner.cleanup()
