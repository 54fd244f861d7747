"""``/v1/whoami`` and ``/v1/orgs/{org}``: what a key is, and what its organization has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_protocol.errors import Problem

from lessor_daemon.directory.callers import READ, RUN

from .auth import authenticate, authorize
from .bodies import answer
from .context import DIRECTORY

if TYPE_CHECKING:
    from aiohttp import web


async def whoami(request: web.Request) -> web.Response:
    """200 with the key's organization, scopes and default license."""
    caller = await authenticate(request)
    return answer(request, await request.app[DIRECTORY].whoami(caller))


async def organization(request: web.Request) -> web.Response:
    """200 with the organization."""
    org = await _own_organization(request)
    return answer(request, await request.app[DIRECTORY].organization(org))


async def licenses(request: web.Request) -> web.Response:
    """200 with all licenses and what is free."""
    org = await _own_organization(request)
    return answer(request, {"items": await request.app[DIRECTORY].licenses(org)})


async def _own_organization(request: web.Request) -> str:
    """The organization in the path. Another one's existence is not confirmed: ``not_found``."""
    caller = await authorize(request, READ, RUN)
    org = request.match_info["org"]
    if caller.org != org:
        raise Problem("not_found", "no such organization for this key")
    return org
