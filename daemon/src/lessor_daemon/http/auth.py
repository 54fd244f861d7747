"""Who calls, and whether they may: the API key in ``Authorization: Bearer``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_protocol.errors import Problem

from lessor_daemon import logs
from lessor_daemon.directory import permissions
from lessor_daemon.directory.callers import Actor

from .context import DIRECTORY, SERVING

if TYPE_CHECKING:
    from aiohttp import web

    from lessor_daemon.directory.callers import Caller


async def authorize(request: web.Request) -> Caller:
    """The caller, if the table of permissions lets them do what this route is for.

    Raises ``Problem``: ``unauthenticated``, ``revoked``, ``forbidden``, ``not_found`` for another
    organization, ``rate_limited``, ``store_unavailable``.
    """
    operation = request.match_info.route.name or ""
    api_key = api_key_of(request)
    directory = request.app[DIRECTORY]
    caller = directory.authentication.recall(api_key)
    if caller is None:
        caller = await directory.authenticate(api_key, operation, request.remote or "")
    logs.bind(org=caller.org, key=caller.key_id)
    named = request.match_info
    permissions.check(caller, operation, named.get("org"), license=named.get("name"))
    return caller


def api_key_of(request: web.Request) -> str:
    """The key that came with the request. Raises ``Problem`` ``unauthenticated`` without one."""
    request.app[SERVING].require_ready()
    scheme, _, api_key = request.headers.get("Authorization", "").partition(" ")
    # Bytes that are no text come as halves of surrogate pairs, which nothing can encode.
    if scheme.lower() != "bearer" or not api_key.strip() or not api_key.isascii():
        raise Problem("unauthenticated", "send the API key as 'Authorization: Bearer lsr_…'")
    return api_key.strip()


def actor_of(request: web.Request, caller: Caller) -> Actor:
    """The caller, as the audit keeps it."""
    request_id = logs.bound().get("request", "")
    return Actor.of(caller, request.remote or "", str(request_id))
