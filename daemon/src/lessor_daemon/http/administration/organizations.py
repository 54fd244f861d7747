"""``/v1/whoami`` and ``/v1/orgs``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessor_daemon import values
from lessor_daemon.directory.etags import etag_of
from lessor_daemon.http.auth import actor_of, authorize
from lessor_daemon.http.bodies import answer
from lessor_daemon.http.context import DIRECTORY
from lessor_daemon.http.paging import page

from .forms import dry_run, if_match, read_form

if TYPE_CHECKING:
    from aiohttp import web


async def whoami(request: web.Request) -> web.Response:
    """200 with the key's organization, scopes and default license."""
    caller = await authorize(request)
    return answer(request, await request.app[DIRECTORY].whoami(caller))


async def organizations(request: web.Request) -> web.Response:
    """200 with a page of those that the key may see."""
    caller = await authorize(request)
    items = await request.app[DIRECTORY].organizations.all(caller.org)
    return answer(request, page(request, items, lambda item: str(item["slug"])))


async def create(request: web.Request) -> web.Response:
    """201 with the organization and its first owner's key."""
    caller = await authorize(request)
    form = await read_form(request)
    slug = values.check_slug(form.fields.text("slug"), "slug")
    owner = form.fields.nested("owner")
    directory = request.app[DIRECTORY]
    made, key = await directory.organizations.create(
        actor_of(request, caller),
        slug,
        form.fields.text("name", default=slug),
        values.check_email(owner.text("email"), "owner.email"),
    )
    shown = directory.keys.to_wire(key.record) | {"secret": key.text}
    return answer(request, {"organization": made, "key": shown}, status=201)


async def organization(request: web.Request) -> web.Response:
    """200 with the organization."""
    await authorize(request)
    found = await request.app[DIRECTORY].organizations.get(request.match_info["org"])
    return answer(request, found, headers={"ETag": etag_of(found)})


async def change(request: web.Request) -> web.Response:
    """200 with the changed organization."""
    caller = await authorize(request)
    form = await read_form(request)
    changed = await request.app[DIRECTORY].organizations.rename(
        actor_of(request, caller),
        request.match_info["org"],
        form.fields.text("name"),
        if_match(request),
    )
    return answer(request, changed, headers={"ETag": etag_of(changed)})


async def remove(request: web.Request) -> web.Response:
    """200 when it is gone."""
    caller = await authorize(request)
    org = request.match_info["org"]
    only_say = dry_run(request)
    directory = request.app[DIRECTORY]
    await directory.organizations.remove(actor_of(request, caller), org, dry_run=only_say)
    directory.authentication.forget()
    return answer(request, {"removed": org, "dry_run": only_say})
