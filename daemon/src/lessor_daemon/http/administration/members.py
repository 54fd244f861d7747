"""``/v1/orgs/{org}/members`` and the registered users of a license."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_daemon import values
from lessor_daemon.directory.etags import etag_of
from lessor_daemon.http.auth import actor_of, authorize
from lessor_daemon.http.bodies import answer
from lessor_daemon.http.context import DIRECTORY
from lessor_daemon.http.paging import page

from .forms import dry_run, if_match, query_flag, read_form

if TYPE_CHECKING:
    from aiohttp import web


def _settings(member: dict[str, object]) -> dict[str, object]:
    return {"email": member["email"], "role": member["role"]}


async def members(request: web.Request) -> web.Response:
    """200 with a page of them."""
    await authorize(request)
    items = await request.app[DIRECTORY].members.all(request.match_info["org"])
    return answer(request, page(request, items, lambda item: str(item["email"])))


async def add(request: web.Request) -> web.Response:
    """201 with the new member."""
    caller = await authorize(request)
    form = await read_form(request)
    made = await request.app[DIRECTORY].members.add(
        actor_of(request, caller),
        caller,
        request.match_info["org"],
        values.check_email(form.fields.text("email"), "email"),
        form.choice("role", values.ROLES, "member"),
    )
    return answer(request, made, status=201, headers={"ETag": etag_of(_settings(made))})


async def member(request: web.Request) -> web.Response:
    """200 with one."""
    await authorize(request)
    found = await request.app[DIRECTORY].members.get(request.match_info["org"], _email(request))
    return answer(request, found, headers={"ETag": etag_of(_settings(found))})


async def change(request: web.Request) -> web.Response:
    """200 with the member in the new role."""
    caller = await authorize(request)
    form = await read_form(request)
    changed = await request.app[DIRECTORY].members.change(
        actor_of(request, caller),
        caller,
        request.match_info["org"],
        _email(request),
        role=form.choice("role", values.ROLES),
        if_match=if_match(request),
    )
    return answer(request, changed, headers={"ETag": etag_of(_settings(changed))})


async def remove(request: web.Request) -> web.Response:
    """200 with what went with the member."""
    caller = await authorize(request)
    directory = request.app[DIRECTORY]
    removed = await directory.members.remove(
        actor_of(request, caller),
        caller,
        request.match_info["org"],
        _email(request),
        end_sessions=query_flag(request, "end_sessions") or False,
        dry_run=dry_run(request),
        if_match=if_match(request),
    )
    directory.authentication.forget()
    return answer(request, removed)


async def registered_users(request: web.Request) -> web.Response:
    """200 with a page of them, and who is online."""
    await authorize(request)
    org, license = request.match_info["org"], request.match_info["name"]
    items = await request.app[DIRECTORY].users.all(org, license)
    return answer(request, page(request, items, lambda item: str(item["email"])))


async def assign(request: web.Request) -> web.Response:
    """201 with the new registered user, 200 when it was one already."""
    caller = await authorize(request)
    form = await read_form(request)
    user, is_new = await request.app[DIRECTORY].users.assign(
        actor_of(request, caller),
        request.match_info["org"],
        request.match_info["name"],
        values.check_email(form.fields.text("email"), "email"),
    )
    return answer(request, user, status=201 if is_new else 200)


async def withdraw(request: web.Request) -> web.Response:
    """200 with how many sessions end."""
    caller = await authorize(request)
    only_say = dry_run(request)
    email = _email(request)
    ending = await request.app[DIRECTORY].users.withdraw(
        actor_of(request, caller),
        request.match_info["org"],
        request.match_info["name"],
        email,
        dry_run=only_say,
    )
    shown = {"removed": email, "dry_run": only_say, "sessions_ended": 0 if only_say else ending}
    return answer(request, shown)


async def transfer(request: web.Request) -> web.Response:
    """200 with the member who has it now."""
    caller = await authorize(request)
    form = await read_form(request)
    user = await request.app[DIRECTORY].users.transfer(
        actor_of(request, caller),
        request.match_info["org"],
        request.match_info["name"],
        _email(request),
        values.check_email(form.fields.text("to"), "to"),
    )
    return answer(request, user)


def _email(request: web.Request) -> str:
    return request.match_info["email"].lower()
