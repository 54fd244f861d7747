"""``GET /v1/orgs/{org}/licenses/{name}/queue``: who waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_protocol.fields import invalid

from lessor_daemon.http.auth import authorize
from lessor_daemon.http.bodies import answer
from lessor_daemon.http.context import DIRECTORY, LEASING
from lessor_daemon.http.paging import cursor_of, cursor_text, limit_of

if TYPE_CHECKING:
    from aiohttp import web


async def queue(request: web.Request) -> web.Response:
    """200 with a page of the line, in order."""
    caller = await authorize(request)
    org, name = request.match_info["org"], request.match_info["name"]
    mark = cursor_of(request) or "0"
    if not (mark.isascii() and mark.isdigit() and len(mark) <= 9):
        raise invalid("cursor", "must be the `next` of an earlier page")
    items, following = await request.app[DIRECTORY].lines.page(
        caller, org, name, int(mark), limit_of(request)
    )
    for item in items:
        position = item["position"]
        if isinstance(position, int):
            found = await request.app[LEASING].estimates.of(org, name, position)
            item["estimate"] = None if found is None else found.to_wire()
    shown: dict[str, object] = {"items": items}
    if following is not None:
        shown["next"] = cursor_text(str(following))
    return answer(request, shown)
