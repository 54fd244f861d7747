"""``POST /v1/leases/watch``: a request that is held until there is something to tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from lessor_protocol.watch import WatchRequest

from lessor_daemon.leasing.news import Turn

from .auth import authorize
from .bodies import answer, read_message
from .context import LEASING

if TYPE_CHECKING:
    from aiohttp import web

    from .limits import BoundedHandler


async def watch(request: web.Request) -> web.Response:
    """200 with what is lost and what is asked: at once, when it comes, or empty after a while."""
    caller = await authorize(request)
    wanted = WatchRequest.from_wire(await read_message(request))
    turn = Turn()
    # A client that cannot wait any longer drops its connection; nothing of it may stay here.
    connection = cast("BoundedHandler", request.protocol)
    connection.on_lost = turn.end
    try:
        told = await request.app[LEASING].news.watch(caller, wanted, turn)
    finally:
        connection.on_lost = None
    return answer(request, told.to_wire())
