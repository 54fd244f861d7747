"""Giving a seat back, over whatever transport the call came."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .auth import actor_of
from .context import DIRECTORY, LEASING

if TYPE_CHECKING:
    from aiohttp import web

    from lessor_daemon.directory.callers import Caller


async def release(request: web.Request, caller: Caller, lease_id: bytes) -> None:
    """Release a lease, or leave the line.

    An admin who releases what somebody else holds ends that session, as ``sessions/{id}/end`` does:
    the seat is free when the holder reports its process dead, or at the lease's deadline.
    """
    if not await request.app[LEASING].release(caller, lease_id):
        await request.app[DIRECTORY].sessions.end(
            actor_of(request, caller), caller, caller.org or "", lease_id, ""
        )
