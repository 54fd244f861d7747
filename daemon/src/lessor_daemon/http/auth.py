"""Who calls: the API key in ``Authorization: Bearer``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_protocol.errors import Problem

from lessor_daemon import logs

from .context import DIRECTORY, SERVING

if TYPE_CHECKING:
    from aiohttp import web

    from lessor_daemon.directory.callers import Caller


async def authenticate(request: web.Request) -> Caller:
    """The caller. Raises ``Problem``: ``unauthenticated``, ``revoked``, ``store_unavailable``."""
    request.app[SERVING].require_ready()
    scheme, _, api_key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not api_key.strip():
        raise Problem("unauthenticated", "send the API key as 'Authorization: Bearer lsr_…'")
    caller = await request.app[DIRECTORY].authenticate(api_key.strip())
    logs.bind(org=caller.org, key=caller.key_id)
    return caller


async def authorize(request: web.Request, *scopes: str) -> Caller:
    """The caller, if its key has one of ``scopes`` in an organization, else ``forbidden``."""
    caller = await authenticate(request)
    caller.require(*scopes)
    return caller
