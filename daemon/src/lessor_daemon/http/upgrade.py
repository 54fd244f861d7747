"""``GET /v1/stream``: from an HTTP request to a stream.

aiohttp reads the request, and lets go of the connection once it is answered with 101: what it keeps
for each request, a task among it, is not kept for a stream that lives for hours (ADR 0010).
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, cast

from aiohttp import web
from aiohttp.http_websocket import WS_KEY
from lessor_protocol import frames
from lessor_protocol.errors import Problem

from .auth import api_key_of, authorize
from .context import SERVING, STREAM_CALLS
from .conversation import REQUEST_ID_HEADER, SERVER, request_id_of
from .stream import Opened, Stream

if TYPE_CHECKING:
    from .limits import BoundedHandler


async def open_stream(request: web.Request) -> web.StreamResponse:
    """101, and frames until either side has enough."""
    caller = await authorize(request)
    serving = request.app[SERVING]
    if serving.is_draining:
        raise Problem("draining", "this daemon is shutting down", retry_after=1)
    _check_subprotocol(request)
    if not _can_upgrade(request):
        raise Problem("malformed", "this path is a WebSocket: send an upgrade (RFC 6455)")
    response = web.StreamResponse(status=101, headers=_answer_of(request))
    try:
        await response.prepare(request)
    except ConnectionResetError:
        return response  # the client has gone meanwhile
    opened = Opened(
        api_key=api_key_of(request),
        org=caller.org or "",  # an operator, who has none, gets no stream
        source=request.remote or "",
        request_id=request_id_of(request),
    )
    connection = cast("BoundedHandler", request.protocol)
    if connection.transport is not None:  # the client may have gone meanwhile
        stream = Stream(opened, request.app[STREAM_CALLS], serving.streams)
        connection.hand_over(stream)
    return response


def _can_upgrade(request: web.Request) -> bool:
    try:
        return bool(web.WebSocketResponse(protocols=(frames.SUBPROTOCOL,)).can_prepare(request))
    except ValueError:
        # aiohttp decodes the key, and quotes headers that it cannot take: those may be no text.
        return False


def _answer_of(request: web.Request) -> dict[str, str]:
    key = request.headers["Sec-WebSocket-Key"].encode()
    accepted = base64.b64encode(hashlib.sha1(key + WS_KEY).digest())  # noqa: S324  # RFC 6455, 4.2.2
    headers = {
        "Upgrade": "websocket",
        "Connection": "upgrade",
        "Sec-WebSocket-Accept": accepted.decode(),
        REQUEST_ID_HEADER: request_id_of(request),
        "Server": SERVER,
    }
    if "Sec-WebSocket-Protocol" in request.headers:
        headers["Sec-WebSocket-Protocol"] = frames.SUBPROTOCOL
    return headers


def _check_subprotocol(request: web.Request) -> None:
    """None offered means the only one there is, as with ``Lessor-Protocol``."""
    offered = request.headers.getall("Sec-WebSocket-Protocol", [])
    names = {name.strip() for line in offered for name in line.split(",")}
    if names and frames.SUBPROTOCOL not in names:
        raise Problem(
            "unsupported_version",
            f"this server speaks the subprotocol {frames.SUBPROTOCOL}",
            data={"supported": [frames.SUBPROTOCOL]},
        )
