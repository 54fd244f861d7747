"""``/v1/backup`` and ``/v1/restore``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_protocol import codec
from lessor_protocol.errors import Problem
from lessor_protocol.fields import invalid

from lessor_daemon.directory.backup import VERSION
from lessor_daemon.directory.backup_document import read_part
from lessor_daemon.http.auth import actor_of, authorize
from lessor_daemon.http.bodies import answer
from lessor_daemon.http.context import DIRECTORY
from lessor_daemon.http.paging import cursor_of, cursor_text

from .forms import Form, dry_run, read_form

if TYPE_CHECKING:
    from aiohttp import web

MOST_ORGANIZATIONS = 1_000


async def backup(request: web.Request) -> web.Response:
    """200 with the document, or a page of it."""
    await authorize(request)
    # The hashes of secrets are nobody's to keep on the way.
    headers = {"Cache-Control": "no-store"}
    cursor = cursor_of(request)
    try:
        found = await request.app[DIRECTORY].backup.read(cursor)
    except Problem as problem:
        if "cursor" in problem.data:
            problem.data["cursor"] = cursor_text(str(problem.data["cursor"]))
        raise
    if "next" in found:
        found["next"] = cursor_text(str(found["next"]))
    return answer(request, found, headers=headers)


async def restore(request: web.Request) -> web.Response:
    """200 with the slugs of what was made; a body of many may come in several calls."""
    caller = await authorize(request)
    form = await read_form(request)
    if form.fields.integer("version") != VERSION:
        raise invalid("version", f"must be {VERSION}, which this daemon writes and reads")
    parts = []
    for path, item in form.fields.array("organizations", most=MOST_ORGANIZATIONS):
        one = Form(item, path)
        number = one.fields.integer("part", default=1, least=1)
        of = one.fields.integer("parts", default=1, least=1)
        parts.append(read_part(one.lines("data", longest=codec.MAX_BYTES), number, of, path))
    only_say = dry_run(request)
    slugs = await request.app[DIRECTORY].backup.restore(
        actor_of(request, caller), parts, dry_run=only_say
    )
    return answer(request, {"organizations": slugs, "dry_run": only_say})
