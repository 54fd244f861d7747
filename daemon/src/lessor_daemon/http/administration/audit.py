"""``/v1/orgs/{org}/audit``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_protocol.fields import invalid

from lessor_daemon.directory.audit import AuditFilter
from lessor_daemon.http.auth import authorize
from lessor_daemon.http.bodies import answer
from lessor_daemon.http.context import DIRECTORY
from lessor_daemon.http.exports import JSON, export, wanted_format
from lessor_daemon.http.paging import cursor_of, cursor_text, limit_of
from lessor_daemon.store.sessions import is_entry_id

from .forms import query_moment, query_text

if TYPE_CHECKING:
    from aiohttp import web

COLUMNS = (
    "id",
    "at",
    "action",
    "target",
    "actor.key",
    "actor.name",
    "actor.member",
    "source",
    "request",
    "before",
    "after",
)


async def audit(request: web.Request) -> web.Response:
    """200 with a page of entries, the newest first."""
    await authorize(request)
    mark = cursor_of(request)
    if mark is not None and not is_entry_id(mark):
        raise invalid("cursor", "must be the `next` of an earlier page")
    wanted = AuditFilter(
        action=query_text(request, "action"),
        actor=query_text(request, "actor"),
        target=query_text(request, "target"),
        since=query_moment(request, "since"),
        until=query_moment(request, "until"),
    )
    kind = wanted_format(request)
    items, after = await request.app[DIRECTORY].audit.page(
        request.match_info["org"], wanted, mark, limit_of(request)
    )
    following = cursor_text(after) if after else None
    if kind != JSON:
        return export(kind, items, COLUMNS, following)
    shown: dict[str, object] = {"items": items}
    if following is not None:
        shown["next"] = following
    return answer(request, shown)
