"""``/v1/orgs/{org}/machines``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lessor_protocol.errors import Problem
from lessor_protocol.fields import invalid

from lessor_daemon import values
from lessor_daemon.directory.machines import MachineFilter
from lessor_daemon.http.auth import actor_of, authorize
from lessor_daemon.http.bodies import answer
from lessor_daemon.http.context import DIRECTORY
from lessor_daemon.http.paging import page

from .forms import dry_run, query_flag, query_license, query_seconds, read_form

if TYPE_CHECKING:
    from aiohttp import web

    from .forms import Form


async def machines(request: web.Request) -> web.Response:
    """200 with a page of them."""
    caller = await authorize(request)
    wanted = MachineFilter(
        license=caller.narrowed(query_license(request)),
        ephemeral=query_flag(request, "ephemeral"),
        idle=query_flag(request, "idle"),
        unseen_for=query_seconds(request, "unseen_for"),
    )
    items = await request.app[DIRECTORY].machines.all(request.match_info["org"], wanted)
    return answer(request, page(request, items, lambda item: str(item["id"])))


async def machine(request: web.Request) -> web.Response:
    """200 with one."""
    caller = await authorize(request)
    found = await request.app[DIRECTORY].machines.get(
        request.match_info["org"], request.match_info["id"], caller.license
    )
    return answer(request, found)


async def remove(request: web.Request) -> web.Response:
    """200 with how many sessions end."""
    caller = await authorize(request)
    machine_id = request.match_info["id"]
    removed = await request.app[DIRECTORY].machines.remove(
        actor_of(request, caller),
        request.match_info["org"],
        MachineFilter(ids=frozenset({machine_id}), license=query_license(request)),
        "",
        dry_run=dry_run(request),
    )
    if not removed["machines"]:
        raise Problem("not_found", f"no registered machine {machine_id!r}")
    return answer(request, removed)


async def remove_many(request: web.Request) -> web.Response:
    """200 with what was removed; an empty filter is refused."""
    caller = await authorize(request)
    form = await read_form(request)
    wanted = _filter(form)
    if wanted.is_open:
        raise invalid("ids", "or another filter is required: nothing removes all machines")
    removed = await request.app[DIRECTORY].machines.remove(
        actor_of(request, caller),
        request.match_info["org"],
        wanted,
        form.fields.text("reason", default="", longest=values.MAX_REASON, empty=True),
        dry_run=form.fields.flag("dry_run", default=False),
    )
    return answer(request, removed)


def _filter(form: Form) -> MachineFilter:
    fields = form.fields
    unseen_for = None
    if form.is_given("unseen_for"):
        unseen_for = math.ceil(fields.seconds_as_ms("unseen_for") / 1000)
    return MachineFilter(
        ids=form.texts("ids", most=values.MOST_AT_ONCE),
        license=fields.text("license") if form.is_given("license") else None,
        ephemeral=form.optional_flag("ephemeral"),
        idle=form.optional_flag("idle"),
        unseen_for=unseen_for,
    )
