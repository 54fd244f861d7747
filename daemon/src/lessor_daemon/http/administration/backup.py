"""``/v1/backup`` and ``/v1/restore``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_protocol import codec
from lessor_protocol.fields import invalid

from lessor_daemon.directory.backup import VERSION
from lessor_daemon.http.auth import actor_of, authorize
from lessor_daemon.http.bodies import answer
from lessor_daemon.http.context import DIRECTORY

from .forms import Form, dry_run, read_form

if TYPE_CHECKING:
    from aiohttp import web

MOST_ORGANIZATIONS = 1_000


async def backup(request: web.Request) -> web.Response:
    """200 with the document."""
    await authorize(request)
    # The hashes of secrets are nobody's to keep on the way.
    headers = {"Cache-Control": "no-store"}
    return answer(request, await request.app[DIRECTORY].backup.read(), headers=headers)


async def restore(request: web.Request) -> web.Response:
    """200 with the slugs of what was made; a body of many may come in several calls."""
    caller = await authorize(request)
    form = await read_form(request)
    if form.fields.integer("version") != VERSION:
        raise invalid("version", f"must be {VERSION}, which this daemon writes and reads")
    packed = []
    for path, item in form.fields.array("organizations", most=MOST_ORGANIZATIONS):
        field = f"{path}.data"
        packed.append((field, Form(item, path).lines("data", longest=codec.MAX_BYTES)))
    only_say = dry_run(request)
    slugs = await request.app[DIRECTORY].backup.restore(
        actor_of(request, caller), packed, dry_run=only_say
    )
    return answer(request, {"organizations": slugs, "dry_run": only_say})
