"""``/v1/whoami`` and ``/v1/orgs/{org}``: what a key is, and what its organization has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .auth import authorize
from .bodies import answer
from .context import DIRECTORY

if TYPE_CHECKING:
    from aiohttp import web


async def whoami(request: web.Request) -> web.Response:
    """200 with the key's organization, scopes and default license."""
    caller = await authorize(request)
    return answer(request, await request.app[DIRECTORY].whoami(caller))


async def organization(request: web.Request) -> web.Response:
    """200 with the organization."""
    await authorize(request)
    return answer(
        request, await request.app[DIRECTORY].organizations.get(request.match_info["org"])
    )


async def licenses(request: web.Request) -> web.Response:
    """200 with all licenses and what is free."""
    await authorize(request)
    items = await request.app[DIRECTORY].licenses.all(request.match_info["org"])
    return answer(request, {"items": items})
