"""``/v1/orgs/{org}/sessions``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_protocol.fields import invalid
from lessor_protocol.messages import read_lease_id

from lessor_daemon import values
from lessor_daemon.directory.sessions import SessionFilter, visible_to
from lessor_daemon.http.auth import actor_of, authorize
from lessor_daemon.http.bodies import answer
from lessor_daemon.http.context import DIRECTORY
from lessor_daemon.http.exports import JSON, export, wanted_format
from lessor_daemon.http.paging import cursor_of, cursor_text, limit_of
from lessor_daemon.store.leases import is_cursor
from lessor_daemon.store.sessions import is_entry_id

from .forms import query_license, query_moment, query_text, read_optional_form

if TYPE_CHECKING:
    from aiohttp import web

COLUMNS = (
    "id",
    "license",
    "state",
    "user",
    "member",
    "machine.id",
    "machine.name",
    "process.command",
    "process.pid",
    "labels",
    "started",
    "ended",
    "duration",
    "reason",
    "text",
)
LIVE, PAST = "live", "past"


async def sessions(request: web.Request) -> web.Response:
    """200 with a page of live or past sessions."""
    caller = await authorize(request)
    state = request.query.get("state", LIVE)
    if state not in (LIVE, PAST):
        raise invalid("state", "must be live or past")
    wanted = SessionFilter(
        license=query_license(request),
        user=query_text(request, "user"),
        machine=query_text(request, "machine"),
        reason=query_text(request, "reason"),
        since=query_moment(request, "since"),
        until=query_moment(request, "until"),
    )
    wanted = visible_to(caller, wanted, past=state == PAST)
    kind = wanted_format(request)
    items, following = await _page(request, wanted, is_past=state == PAST)
    if kind != JSON:
        return export(kind, items, COLUMNS, following)
    shown: dict[str, object] = {"items": items}
    if following is not None:
        shown["next"] = following
    return answer(request, shown)


async def session(request: web.Request) -> web.Response:
    """200 with a live one."""
    caller = await authorize(request)
    found = await request.app[DIRECTORY].sessions.get(
        caller, request.match_info["org"], _id(request)
    )
    return answer(request, found)


async def end(request: web.Request) -> web.Response:
    """200 with the session, which is ending."""
    caller = await authorize(request)
    form = await read_optional_form(request)
    text = form.fields.text("reason", default="", longest=values.MAX_REASON, empty=True)
    ending = await request.app[DIRECTORY].sessions.end(
        actor_of(request, caller), caller, request.match_info["org"], _id(request), text
    )
    return answer(request, ending)


async def finish(request: web.Request) -> web.Response:
    """202 with the session, which is asked to finish and goes on until it does."""
    caller = await authorize(request)
    form = await read_optional_form(request)
    text = form.fields.text("text", default="", longest=values.MAX_REASON, empty=True)
    asked = await request.app[DIRECTORY].sessions.finish(
        actor_of(request, caller), caller, request.match_info["org"], _id(request), text
    )
    return answer(request, asked, status=202)


async def _page(
    request: web.Request, wanted: SessionFilter, *, is_past: bool
) -> tuple[list[dict[str, object]], str | None]:
    found = request.app[DIRECTORY].sessions
    org, limit, mark = request.match_info["org"], limit_of(request), cursor_of(request)
    if is_past:
        if mark is not None and not is_entry_id(mark):
            raise invalid("cursor", "must be the `next` of an earlier page")
        items, after = await found.past(org, wanted, mark, limit)
        return items, cursor_text(after) if after else None
    if mark is not None and not is_cursor(mark):
        raise invalid("cursor", "must be the `next` of an earlier page")
    items, number = await found.live(org, wanted, int(mark or 0), limit)
    return items, cursor_text(str(number)) if number else None


def _id(request: web.Request) -> bytes:
    return read_lease_id(request.match_info["id"], "id")
