"""``/v1/orgs/{org}/keys``. The only answers that hold a secret are those that made it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lessor_daemon import values
from lessor_daemon.directory.callers import RUN
from lessor_daemon.directory.etags import etag_of
from lessor_daemon.http.auth import actor_of, authorize
from lessor_daemon.http.bodies import answer
from lessor_daemon.http.context import DIRECTORY
from lessor_daemon.http.paging import page

from .forms import dry_run, if_match, query_flag, read_form, read_optional_form

if TYPE_CHECKING:
    from aiohttp import web

    from lessor_daemon.directory.api_keys import MadeKey

_LIVE = frozenset({"last_used", "old_secret_until"})


async def keys(request: web.Request) -> web.Response:
    """200 with a page of those that the caller may see."""
    caller = await authorize(request)
    member = request.query.get("member")
    items = await request.app[DIRECTORY].keys.all(
        caller,
        request.match_info["org"],
        None if member is None else values.check_email(member, "member"),
    )
    # A zero byte sorts before all that a name may hold: "a" comes before "a b", whatever the ids.
    return answer(request, page(request, items, lambda item: f"{item['name']}\0{item['id']}"))


async def make(request: web.Request) -> web.Response:
    """201 with the new key and its secret."""
    caller = await authorize(request)
    form = await read_form(request)
    directory = request.app[DIRECTORY]
    org = request.match_info["org"]
    member = form.fields.text("member") if form.is_given("member") else None
    license = form.fields.text("license") if form.is_given("license") else None
    draft = directory.keys.draft(
        org,
        form.fields.text("name"),
        form.choices("scopes", values.SCOPES) or frozenset({RUN}),
        member=values.check_email(member, "member") if member else None,
        license=values.check_license_name(license, "license") if license else None,
        expires_wall_seconds=form.moment("expires") or 0,
    )
    made = await directory.keys.make(actor_of(request, caller), caller, org, draft)
    return _secret_answer(request, made, status=201)


async def key(request: web.Request) -> web.Response:
    """200 with one."""
    caller = await authorize(request)
    found = await request.app[DIRECTORY].keys.get(
        caller, request.match_info["org"], request.match_info["id"]
    )
    return answer(request, found, headers={"ETag": _etag(found)})


async def change(request: web.Request) -> web.Response:
    """200 with the changed key."""
    caller = await authorize(request)
    form = await read_form(request)
    directory = request.app[DIRECTORY]
    key_id = request.match_info["id"]
    changed = await directory.keys.change(
        actor_of(request, caller),
        caller,
        request.match_info["org"],
        key_id,
        scopes=form.choices("scopes", values.SCOPES),
        expires_wall_seconds=form.moment("expires"),
        if_match=if_match(request),
    )
    directory.authentication.forget([key_id])
    return answer(request, changed, headers={"ETag": _etag(changed)})


async def rotate(request: web.Request) -> web.Response:
    """200 with the key and its new secret."""
    caller = await authorize(request)
    form = await read_optional_form(request)
    directory = request.app[DIRECTORY]
    key_id = request.match_info["id"]
    overlap_ms = form.fields.seconds_as_ms(
        "overlap", default=0, most=values.LONGEST_OVERLAP_SECONDS
    )
    made = await directory.keys.rotate(
        actor_of(request, caller),
        caller,
        request.match_info["org"],
        key_id,
        overlap_seconds=math.ceil(overlap_ms / 1000),
        if_match=if_match(request),
    )
    directory.authentication.forget([key_id])
    return _secret_answer(request, made, status=200)


async def revoke(request: web.Request) -> web.Response:
    """200 with how many sessions end."""
    caller = await authorize(request)
    directory = request.app[DIRECTORY]
    org, key_id = request.match_info["org"], request.match_info["id"]
    end_sessions = query_flag(request, "end_sessions") or False
    only_say = dry_run(request)
    actor = actor_of(request, caller)
    await directory.keys.revoke(
        actor,
        caller,
        org,
        key_id,
        end_sessions=end_sessions,
        dry_run=only_say,
        if_match=if_match(request),
    )
    directory.authentication.forget([key_id])
    ended = 0
    if end_sessions and not only_say:
        ended = await directory.sessions.end_of_key(actor, org, key_id)
    return answer(request, {"removed": key_id, "dry_run": only_say, "sessions_ended": ended})


def _secret_answer(request: web.Request, made: MadeKey, *, status: int) -> web.Response:
    shown = request.app[DIRECTORY].keys.to_wire(made.record)
    # No cache on the way may keep it.
    headers = {"ETag": _etag(shown), "Cache-Control": "no-store"}
    return answer(request, shown | {"secret": made.text}, status=status, headers=headers)


def _etag(shown: dict[str, object]) -> str:
    return etag_of({name: value for name, value in shown.items() if name not in _LIVE})
