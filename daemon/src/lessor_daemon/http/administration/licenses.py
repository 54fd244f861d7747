"""``/v1/orgs/{org}/licenses``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lessor_protocol.fields import invalid

from lessor_daemon import values
from lessor_daemon.directory.etags import etag_of
from lessor_daemon.directory.policy import MOST_GROUPS, pack_policy, read_policy
from lessor_daemon.http.auth import actor_of, authorize
from lessor_daemon.http.bodies import answer
from lessor_daemon.http.context import DIRECTORY
from lessor_daemon.http.paging import page
from lessor_daemon.store.changes import AS_SEATS, UNLIMITED

from .forms import dry_run, if_match, read_form

if TYPE_CHECKING:
    from aiohttp import web

    from lessor_daemon.directory.licenses import Fields

    from .forms import Form

_LIVE = frozenset(
    {
        "offline_seats",
        "leases",
        "available",
        "machines",
        "registered_users",
        "queue_length",
        "expires_in_days",
        "reminder",
    }
)
"""What changes by itself, and so is not in the ETag."""


async def licenses(request: web.Request) -> web.Response:
    """200 with a page of them, and what is free."""
    caller = await authorize(request)
    items = await request.app[DIRECTORY].licenses.all(request.match_info["org"])
    items = [item for item in items if caller.reaches(str(item["name"]))]
    return answer(request, page(request, items, lambda item: str(item["name"])))


async def add(request: web.Request) -> web.Response:
    """201 with the new license."""
    caller = await authorize(request)
    form = await read_form(request)
    fields = _settings(form)
    if "seats" not in fields:
        raise invalid("seats", "is required")
    fields["kind"] = form.choice("kind", values.KINDS, values.KINDS[0])
    made = await request.app[DIRECTORY].licenses.add(
        actor_of(request, caller),
        request.match_info["org"],
        values.check_license_name(form.fields.text("name"), "name"),
        fields,
    )
    return _answer(request, made, status=201)


async def license(request: web.Request) -> web.Response:
    """200 with one."""
    await authorize(request)
    found = await request.app[DIRECTORY].licenses.get(
        request.match_info["org"], request.match_info["name"]
    )
    return _answer(request, found)


async def change(request: web.Request) -> web.Response:
    """200 with the changed license."""
    caller = await authorize(request)
    form = await read_form(request)
    changed = await request.app[DIRECTORY].licenses.change(
        actor_of(request, caller),
        request.match_info["org"],
        request.match_info["name"],
        _settings(form),
        force=form.fields.flag("force", default=False),
        if_match=if_match(request),
    )
    return _answer(request, changed)


async def remove(request: web.Request) -> web.Response:
    """200 when it is gone."""
    caller = await authorize(request)
    name = request.match_info["name"]
    only_say = dry_run(request)
    await request.app[DIRECTORY].licenses.remove(
        actor_of(request, caller),
        request.match_info["org"],
        name,
        dry_run=only_say,
        if_match=if_match(request),
    )
    return answer(request, {"removed": name, "dry_run": only_say})


def _settings(form: Form) -> Fields:
    """The settings that the body names, as they are stored."""
    found: Fields = {}
    fields = form.fields
    if form.is_given("product"):
        found["product"] = fields.text("product")
    if form.is_given("seats"):
        found["seats"] = fields.integer("seats", most=values.MOST_SEATS)
    found |= _machine_settings(form) | _time_settings(form)
    if form.is_given("offline_allowed"):
        found["offline_allowed"] = int(fields.flag("offline_allowed", default=True))
    if form.is_given("drained"):
        found["drained"] = int(fields.flag("drained", default=False))
    if form.is_null("policy"):
        found["policy"] = b""
    elif form.is_given("policy"):
        found["policy"] = pack_policy(read_policy(fields.array("policy", most=MOST_GROUPS)))
    return found


def _time_settings(form: Form) -> Fields:
    found: Fields = {}
    if form.is_given("ttl"):
        found["ttl"] = form.fields.seconds_as_ms("ttl", most=600)
    for name in ("starts", "expires"):
        seconds = form.moment(name)
        if seconds is not None:
            found[name] = seconds
    if form.is_null("idle_timeout"):
        found["idle"] = 0
    elif form.is_given("idle_timeout"):
        least, most = values.IDLE_TIMEOUT_SECONDS
        ms = form.fields.seconds_as_ms("idle_timeout", most=most)
        if ms < least * 1000:
            raise invalid("idle_timeout", f"must be at least {least} seconds, or null for none")
        found["idle"] = ms // 1000
    return found


def _machine_settings(form: Form) -> Fields:
    found: Fields = {}
    if form.is_null("machines"):
        found["machines"] = AS_SEATS
    elif form.is_given("machines"):
        found["machines"] = _machines(form)
    if form.is_null("machine_retention"):
        found["retention"] = UNLIMITED
    elif form.is_given("machine_retention"):
        most = values.LONGEST_RETENTION_SECONDS
        ms = form.fields.seconds_as_ms("machine_retention", most=most)
        found["retention"] = math.ceil(ms / 1000)
    return found


def _machines(form: Form) -> int:
    if form.is_text("machines"):
        if form.fields.text("machines") != "unlimited":
            raise invalid("machines", 'must be a whole number or "unlimited"')
        return UNLIMITED
    return form.fields.integer("machines", most=values.MOST_SEATS)


def _answer(request: web.Request, found: dict[str, object], status: int = 200) -> web.Response:
    settings = {name: value for name, value in found.items() if name not in _LIVE}
    return answer(request, found, status=status, headers={"ETag": etag_of(settings)})
