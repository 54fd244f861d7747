"""``/v1/orgs/{org}/offline`` and the keys that sign."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lessor_protocol import offline as files
from lessor_protocol.errors import Problem
from lessor_protocol.fields import invalid

from lessor_daemon import times, values
from lessor_daemon.directory.offline import Wanted
from lessor_daemon.http.auth import actor_of, authorize
from lessor_daemon.http.bodies import answer
from lessor_daemon.http.context import DIRECTORY
from lessor_daemon.http.paging import page

from .forms import query_license, query_text, read_form

if TYPE_CHECKING:
    from aiohttp import web

    from .forms import Form


async def licenses(request: web.Request) -> web.Response:
    """200 with a page of them."""
    caller = await authorize(request)
    items = await request.app[DIRECTORY].offline.all(
        request.match_info["org"],
        caller.narrowed(query_license(request)),
        query_text(request, "machine"),
    )
    return answer(request, page(request, items, lambda item: f"{item['issued']} {item['serial']}"))


async def issue(request: web.Request) -> web.Response:
    """201 with the record and the signed file."""
    caller = await authorize(request)
    wanted = _wanted(await read_form(request))
    record, file = await request.app[DIRECTORY].offline.issue(
        actor_of(request, caller), request.match_info["org"], wanted
    )
    # The file holds the seed of its return key.
    headers = {"Cache-Control": "no-store"}
    return answer(request, {"offline": record, "file": file}, status=201, headers=headers)


async def license(request: web.Request) -> web.Response:
    """200 with one."""
    caller = await authorize(request)
    serial = request.match_info["serial"]
    found = await request.app[DIRECTORY].offline.get(request.match_info["org"], serial)
    if not caller.reaches(str(found["license"])):
        raise Problem("not_found", f"no offline license {serial!r}")
    return answer(request, found)


async def give_back(request: web.Request) -> web.Response:
    """200 with the record, which is returned."""
    caller = await authorize(request)
    form = await read_form(request)
    if not form.is_text("receipt"):
        raise invalid("receipt", "must be the text of a receipt")
    returned = await request.app[DIRECTORY].offline.give_back(
        actor_of(request, caller),
        request.match_info["org"],
        request.match_info["serial"],
        form.lines("receipt", longest=values.MAX_ARMOURED),
    )
    return answer(request, returned)


async def signing_keys(request: web.Request) -> web.Response:
    """200 with the public halves."""
    await authorize(request)
    return answer(request, {"items": await request.app[DIRECTORY].signing_keys.all()})


async def rotate_signing_keys(request: web.Request) -> web.Response:
    """201 with the new key's public half."""
    caller = await authorize(request)
    directory = request.app[DIRECTORY]
    made = await directory.signing_keys.rotate()
    await directory.operator_audit.record(actor_of(request, caller), "offline.rotate", made.key_id)
    items = await directory.signing_keys.all()
    shown = next(one for one in items if one["id"] == made.key_id)
    return answer(request, shown, status=201)


def _wanted(form: Form) -> Wanted:
    """From a request file or field by field; fields that are given win over the file's."""
    fields = form.fields
    asked = files.OfflineRequest(machine="")
    if form.is_given("request"):
        try:
            asked = files.read_request(form.lines("request", longest=values.MAX_ARMOURED))
        except files.BadFile as error:
            raise invalid("request", f"cannot be read: {error}") from None
    return Wanted(
        license=fields.text("license", default=asked.license or None),
        machine=fields.text("machine", default=asked.machine or None),
        seats=fields.integer("seats", default=asked.seats, least=1, most=values.MOST_SEATS),
        expires=_expiry(form),
    )


def _expiry(form: Form) -> int:
    if form.is_given("expires") == form.is_given("duration"):
        raise invalid("expires", "or duration is required, and not both")
    if form.is_given("duration"):
        most = values.LONGEST_OFFLINE_SECONDS
        ms = form.fields.seconds_as_ms("duration", most=most)
        return times.wall_ms() // 1000 + math.ceil(ms / 1000)
    return form.moment("expires") or 0
